# SPDX-License-Identifier: Apache-2.0
"""Folders by NVIDIA's Model Optimizer, exported for Hugging Face.

Run with nvidia-modelopt 0.47.
"""

from __future__ import annotations

import copy
import sys

import modelopt.torch.quantization as mtq
import torch
from modelopt.torch.export import export_hf_checkpoint
from modelopt.torch.quantization.qtensor import FP8QTensor, INT8QTensor
from safetensors.torch import load_file, save_file
from tiny import LAYERS, fresh, keep, llama

CASES = {
    "fp8": (mtq.FP8_DEFAULT_CFG, {}),
    "fp8-per-channel-per-token": (mtq.FP8_PER_CHANNEL_PER_TOKEN_CFG, {}),
    "fp8-block-weight-only": (mtq.FP8_2D_BLOCKWISE_WEIGHT_ONLY_CFG, {"hidden": 128, "intermediate": 256}),
    "int8-weight-only": (mtq.INT8_WEIGHT_ONLY_CFG, {}),
}


def dequantized(codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """By the tool's own tensors."""
    kind = INT8QTensor if codes.dtype == torch.int8 else FP8QTensor
    blocks = {}
    if scale.dim() == 4:
        blocks = {"block_sizes": {-1: 128, -2: 128}}
        scale = scale[:, 0, :, 0]
    elif scale.dim() == 1:
        scale = scale[:, None]
    return kind(codes.shape, torch.float32, codes).dequantize(scale=scale, **blocks)


def make(name: str, rules: dict, shape: dict) -> None:
    folder = fresh(f"modelopt-{name}")
    model = llama(**shape)
    model.config.architectures = [type(model).__name__]

    def calibrate(model: torch.nn.Module) -> None:
        with torch.no_grad():
            model(torch.randint(0, 8, (4, 16), generator=torch.Generator().manual_seed(5)))

    mtq.quantize(model, copy.deepcopy(rules), calibrate)
    export_hf_checkpoint(model, export_dir=folder)
    layers = LAYERS if not shape else ("model.layers.0.mlp.gate_proj",)
    file = load_file(folder / "model.safetensors")
    expected = {f"{p}.weight": dequantized(file[f"{p}.weight"], file[f"{p}.weight_scale"]) for p in layers}
    if shape:  # blocks make it large: one layer stays
        tensors = {key: value for key, value in file.items() if key.startswith(layers)}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    keep(folder.name, expected, "nvidia-modelopt")


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        make(name, *CASES[name])
