# SPDX-License-Identifier: Apache-2.0
"""Folders by optimum-quanto: flattened tensor subclasses and quanto_qmap.json.

Run with optimum-quanto 0.2.7.
"""

from __future__ import annotations

import torch
from optimum.quanto import Calibration, QuantizedModelForCausalLM, freeze, qfloat8, qint8
from tiny import LAYERS, fresh, keep, llama

CASES = {
    "int8": {"weights": qint8},
    "float8": {"weights": qfloat8},
    "int8-activations": {"weights": qint8, "activations": qint8},
}


def make(name: str, types: dict) -> None:
    folder = fresh(f"quanto-{name}")
    model = llama()
    wrapped = QuantizedModelForCausalLM.quantize(model, **types, exclude="lm_head")
    if "activations" in types:
        with Calibration(), torch.no_grad():
            model(torch.randint(0, 8, (4, 16), generator=torch.Generator().manual_seed(5)))
    freeze(model)
    wrapped.save_pretrained(folder)
    expected = {f"{p}.weight": model.get_submodule(p).weight.dequantize() for p in LAYERS}
    keep(folder.name, expected, "optimum-quanto")


if __name__ == "__main__":
    for name, types in CASES.items():
        make(name, types)
