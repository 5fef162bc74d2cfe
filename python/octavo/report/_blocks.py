# SPDX-License-Identifier: Apache-2.0
"""Layers of a deep model by block and kind: model.layers.17.mlp.up_proj is mlp.up_proj of block 17."""

import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

# More rows than this do not fit on a screen.
MANY = 48
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


class Blocks(NamedTuple):
    """A table of layers, a row for each kind and a column for each block."""

    kinds: list[str]
    columns: list[str]  # numbers of blocks; "-": layers outside of blocks
    cells: dict[tuple[int, int], list[int]]  # numbers of the layers; several: experts of a block

    def values(self, of_layers: Sequence[float | None], worst: Callable[[list[float]], float]) -> list[list[float]]:
        """The worst value of each cell's layers; NaN where nothing is known."""
        table = [[float("nan")] * len(self.columns) for _ in self.kinds]
        for (row, column), layers in self.cells.items():
            known = [value for layer in layers if (value := of_layers[layer]) is not None]
            if known:
                table[row][column] = worst(known)
        return table


def blocks(names: Sequence[str]) -> Blocks:
    """The first number of a name is its block's; further ones (experts') are a star."""
    places = []
    for name in names:
        numbers = _NUMBER.findall(name)
        places.append((_NUMBER.sub("*", name), int(numbers[0]) if numbers else None))
    kinds = list(dict.fromkeys(kind for kind, _ in places))
    found = sorted({block for _, block in places if block is not None})
    outside = any(block is None for _, block in places)
    column = {block: i for i, block in enumerate([*found, *([None] if outside else [])])}
    cells: dict[tuple[int, int], list[int]] = {}
    for i, (kind, block) in enumerate(places):
        cells.setdefault((kinds.index(kind), column[block]), []).append(i)
    shared = os.path.commonprefix([kind for kind in kinds if "*" in kind])
    cut = shared.rfind(".") + 1
    shown = [kind[cut:] if "*" in kind else kind for kind in kinds]
    return Blocks(shown, ["-" if block is None else str(block) for block in column], cells)
