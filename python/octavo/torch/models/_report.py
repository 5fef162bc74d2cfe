# SPDX-License-Identifier: Apache-2.0
"""What quantising did to a model's weights, layer by layer."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from ..._html import ShownAsText
from ..._octavo import LayerReport
from ._linear_modules import LeftLayer


class LayerError(NamedTuple):
    """What quantising did to one layer's weight."""

    name: str
    shape: tuple[int, ...]  # (out_features, in_features); of experts with their number before
    sqnr_db: float  # 10 log10(sum w^2 / sum (w - w')^2)
    max_error: float  # largest |w - w'|
    saturated: int  # codes at the type's largest magnitude
    scheme: str = ""


class Report(ShownAsText, list[LayerError]):
    """The layers that were quantised, each a LayerError; prints as a table, worst first.

    left: the products that stay in float, each an octavo.torch.LeftLayer with its reason.
    """

    def __init__(self, rows: Iterable[LayerError] = (), left: Iterable[LeftLayer] = ()) -> None:
        super().__init__(rows)
        self.left = list(left)

    def __str__(self) -> str:
        rows = [f"{'layer':<48} {'shape':>14} {'SQNR, dB':>9} {'max error':>10} {'saturated':>9}"]
        for row in sorted(self, key=lambda row: row.sqnr_db):
            rows.append(f"{row.name:<48} {_shape(row.shape):>14} {row.sqnr_db:>9.2f} {row.max_error:>10.3g} "
                        f"{row.saturated:>9}")
        rows.extend(f"{row.name:<48} {_shape(row.shape):>14} stays in float: {row.reason}" for row in self.left)
        return "\n".join(rows)


def experts_error(name: str, experts: list[tuple[float, LayerReport]], scheme: str) -> LayerError:
    """One row of a layer's experts: sums of squares of their weights, and each one's report."""
    signal = sum(squares for squares, _ in experts)
    noise = sum(squares * 10 ** (-report.sqnr_db / 10) for squares, report in experts)
    sqnr = 10 * math.log10(signal / noise) if noise > 0 and signal > 0 else math.inf
    _, first = experts[0]
    return LayerError(name, (len(experts), first.n, first.k), sqnr, max(report.max_error for _, report in experts),
                      sum(report.saturated for _, report in experts), scheme)


def _shape(shape):
    return "x".join(map(str, shape))
