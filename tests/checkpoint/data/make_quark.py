# SPDX-License-Identifier: Apache-2.0
"""Folders by AMD Quark, exported for Hugging Face in its own format.

Run with amd-quark 0.13.
"""

from __future__ import annotations

import sys

import torch
from quark.torch import ModelQuantizer, export_safetensors
from quark.torch.quantization.config.config import (
    FP8E4M3PerChannelSpec,
    FP8E4M3PerTensorSpec,
    Int8PerChannelSpec,
    QConfig,
    QLayerConfig,
)
from tiny import LAYERS, activations, fresh, keep, llama

TENSOR = FP8E4M3PerTensorSpec(observer_method="min_max", is_dynamic=False)
ROWS = FP8E4M3PerChannelSpec(is_dynamic=False, ch_axis=0)
TOKENS = FP8E4M3PerChannelSpec(is_dynamic=True, ch_axis=1)
INT8_ROWS = Int8PerChannelSpec(symmetric=True, scale_type="float", round_method="half_even", ch_axis=0, is_dynamic=False)

CASES = {
    "fp8": (TENSOR, TENSOR),
    "fp8-rows-tokens": (ROWS, TOKENS),
    "int8-weight-only": (INT8_ROWS, None),
}


def quantized(weight: object, inputs: object | None) -> torch.nn.Module:
    rule = QLayerConfig(
        weight=weight.to_quantization_spec(),
        input_tensors=inputs.to_quantization_spec() if inputs else None,
    )
    torch.manual_seed(5)
    tokens = torch.randint(0, 8, (4, 16))
    quantizer = ModelQuantizer(QConfig(global_quant_config=rule, exclude=["lm_head"]))
    return quantizer.freeze(quantizer.quantize_model(llama(), [row[None] for row in tokens]))


def make(name: str, weight: object, inputs: object | None) -> None:
    folder = fresh(f"quark-{name}")
    expected = {}
    with torch.no_grad():
        model = quantized(weight, inputs)
        for layer in LAYERS:
            module = model.get_submodule(layer)
            expected[f"{layer}.weight"] = module._weight_quantizer(module.weight)
            if inputs is TENSOR:
                x = activations(module.in_features)  # in bfloat16 the tool rounds quotients twice
                expected[f"{layer}.x"] = x
                expected[f"{layer}.x_quantised"] = module._input_quantizer(x)
        export_safetensors(model, folder)
    keep(folder.name, expected, "amd-quark")


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        make(name, *CASES[name])
