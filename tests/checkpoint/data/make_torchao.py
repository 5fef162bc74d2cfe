# SPDX-License-Identifier: Apache-2.0
"""Folders by torchao through transformers: tensor subclasses, flattened into safetensors.

Run with torchao 0.18 and transformers 5.23.
"""

from __future__ import annotations

import tempfile

import torch
from safetensors import safe_open
from tiny import LAYERS, activations, fresh, keep, llama
from torchao.prototype.safetensors.safetensors_support import unflatten_tensor_state_dict
from torchao.quantization import (
    Float8DynamicActivationFloat8WeightConfig,
    Float8WeightOnlyConfig,
    Int8DynamicActivationInt8WeightConfig,
    Int8WeightOnlyConfig,
    IntxWeightOnlyConfig,
    PerGroup,
    PerRow,
    PerTensor,
)
from torchao.quantization import quant_api
from torchao.quantization.quant_primitives import MappingType
from torchao.quantization.quantize_.common import _choose_quant_func_and_quantize_tensor
from transformers import AutoModelForCausalLM, TorchAoConfig

CASES = {
    "int8-weight-only": Int8WeightOnlyConfig(version=2),
    "int8-dynamic": Int8DynamicActivationInt8WeightConfig(version=2),
    "float8-weight-only": Float8WeightOnlyConfig(version=2),
    "float8-dynamic-row": Float8DynamicActivationFloat8WeightConfig(granularity=PerRow(), version=2),
    "float8-dynamic-tensor": Float8DynamicActivationFloat8WeightConfig(granularity=PerTensor(), version=2),
    "intx-int8-group": IntxWeightOnlyConfig(
        weight_dtype=torch.int8, granularity=PerGroup(32), mapping_type=MappingType.ASYMMETRIC, version=2
    ),
}

# Dynamic float8 asks for a GPU. Its weights are quantised as well without.
quant_api._check_hardware_support = lambda granularity: None


def make(name: str, config: object) -> None:
    folder = fresh(f"torchao-{name}")
    with tempfile.TemporaryDirectory() as original:
        llama().save_pretrained(original)
        model = AutoModelForCausalLM.from_pretrained(
            original, quantization_config=TorchAoConfig(config), dtype=torch.bfloat16
        )
        model.save_pretrained(folder)
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        weights, _ = unflatten_tensor_state_dict(
            {key: file.get_tensor(key) for key in file.keys()}, file.metadata()
        )
    expected = {}
    for prefix in LAYERS:
        weight = weights[f"{prefix}.weight"]
        expected[f"{prefix}.weight"] = weight.dequantize()
        rule = getattr(weight, "act_quant_kwargs", None)
        if rule is not None:
            x = activations(weight.shape[1])
            expected[f"{prefix}.x"] = x
            expected[f"{prefix}.x_quantised"] = _choose_quant_func_and_quantize_tensor(x, rule).dequantize(
                torch.float32
            )
    keep(folder.name, expected, "torchao", "transformers")


if __name__ == "__main__":
    for name, config in CASES.items():
        make(name, config)
