# SPDX-License-Identifier: Apache-2.0
"""Which of compressed-tensors' config_groups counts, by its own matcher: `config-groups.expected.txt`.

A line is a configuration: the groups' targets as numbers of TARGETS ("0,3|2": two groups), then for each of LAYERS the
number of its group, "-" where no group takes it.

Run with compressed-tensors 0.20.
"""

from __future__ import annotations

import itertools

import torch
from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme
from compressed_tensors.quantization.lifecycle.apply import _scheme_from_targets
from compressed_tensors.utils.match import match_targets
from tiny import HERE

LAYERS = ("model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj")
TARGETS = (
    "model.layers.0.mlp.down_proj",
    "re:.*down_proj$",
    "re:.*layers\\.0.*",
    "Linear",
    "Module",
    "Embedding",
    "LlamaAttention",
)


def winner(groups: tuple[tuple[int, ...], ...], layer: str) -> str:
    named = {str(i): QuantizationScheme(targets=[TARGETS[t] for t in group]) for i, group in enumerate(groups)}
    config = QuantizationConfig(config_groups=named)
    schemes = {target: scheme for scheme in config.config_groups.values() for target in scheme.targets}
    found = match_targets(layer, torch.nn.Linear(1, 1), schemes)
    if not found:
        return "-"
    scheme = _scheme_from_targets(schemes, found, layer)
    return next(name for name, each in config.config_groups.items() if each is scheme)


def cases() -> list[tuple[tuple[int, ...], ...]]:
    every = range(len(TARGETS))
    single = [order for size in (1, 2, 3) for order in itertools.permutations(every, size)]
    alone = [tuple((target,) for target in order) for order in single]
    twice = [((a, b), (a,)) for a, b in itertools.permutations(every, 2)]
    return alone + twice


if __name__ == "__main__":
    lines = []
    for groups in cases():
        text = "|".join(",".join(map(str, group)) for group in groups)
        lines.append(f"{text} {' '.join(winner(groups, layer) for layer in LAYERS)}\n")
    (HERE / "config-groups.expected.txt").write_text("".join(lines))
