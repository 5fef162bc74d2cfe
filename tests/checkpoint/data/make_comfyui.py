# SPDX-License-Identifier: Apache-2.0
"""Files as ComfyUI keeps them: layers that say their format, and the older scaled_fp8.

Run with comfy-kitchen 0.2.40, whose functions quantise and dequantise in ComfyUI. The file around
them is written here by the rules of ComfyUI's QUANTIZATION.md and comfy/ops.py.
"""

from __future__ import annotations

import json

import comfy_kitchen as ck
import torch
from comfy_kitchen.tensor import TensorWiseINT8Layout
from safetensors.torch import save_file
from tiny import HERE, activations, fresh, keep

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
NAMES = ("blocks.0.attn.qkv", "blocks.0.mlp.fc1")
SHAPES = ((48, 32), (64, 32))


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return {name: torch.randn(shape) * 0.1 for name, shape in zip(NAMES, SHAPES, strict=True)}


def said(format: str, **more: object) -> torch.Tensor:
    return torch.tensor(list(json.dumps({"format": format, **more}).encode()), dtype=torch.uint8)


def fp8(weight: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    scale = weight.abs().amax() / torch.finfo(dtype).max
    codes = ck.quantize_per_tensor_fp8(weight, scale, dtype)
    return codes, scale, ck.dequantize_per_tensor_fp8(codes, scale, torch.float32)


def store(name: str, tensors: dict, expected: dict, metadata: dict | None = None) -> None:
    folder = fresh(f"comfyui-{name}")
    tensors["norm.weight"] = torch.ones(32)
    save_file(tensors, folder / "model.safetensors", metadata=metadata)
    keep(folder.name, expected, "comfy-kitchen")


def main() -> None:
    tensors, expected = {}, {}
    for prefix, weight in weights().items():
        codes, scale, back = fp8(weight, E4M3)
        tensors |= {f"{prefix}.weight": codes, f"{prefix}.scale_weight": scale}
        expected[f"{prefix}.weight"] = back
    store("scaled-fp8", tensors | {"scaled_fp8": torch.tensor([], dtype=E4M3)}, expected)

    tensors, expected = {}, {}
    for (prefix, weight), dtype, name in zip(
        weights().items(), (E4M3, E5M2), ("float8_e4m3fn", "float8_e5m2"), strict=True
    ):
        codes, scale, back = fp8(weight, dtype)
        tensors |= {f"{prefix}.weight": codes, f"{prefix}.weight_scale": scale}
        tensors[f"{prefix}.comfy_quant"] = said(name)
        expected[f"{prefix}.weight"] = back
    x = activations(32)
    tensors[f"{NAMES[0]}.input_scale"] = x.abs().amax() / 448
    quantized = ck.quantize_per_tensor_fp8(x, tensors[f"{NAMES[0]}.input_scale"], E4M3)
    expected[f"{NAMES[0]}.x"] = x
    expected[f"{NAMES[0]}.x_quantised"] = ck.dequantize_per_tensor_fp8(
        quantized, tensors[f"{NAMES[0]}.input_scale"], torch.float32
    )
    store("fp8", tensors, expected)

    tensors, expected = {}, {}
    for (prefix, weight), rows in zip(weights().items(), (False, True), strict=True):
        codes, params = TensorWiseINT8Layout.quantize(weight, per_channel=rows)
        tensors |= {f"{prefix}.weight": codes, f"{prefix}.weight_scale": params.scale}
        tensors[f"{prefix}.comfy_quant"] = said("int8_tensorwise")
        expected[f"{prefix}.weight"] = TensorWiseINT8Layout.dequantize(codes, params)
    store("int8", tensors, expected)

    tensors, expected, layers = {}, {}, {}
    for prefix, weight in weights().items():  # a container of bytes; the format is in the metadata
        codes, scale, back = fp8(weight, E4M3)
        tensors |= {f"{prefix}.weight": codes.view(torch.uint8), f"{prefix}.weight_scale": scale}
        expected[f"{prefix}.weight"] = back
        layers[prefix] = {"format": "float8_e4m3fn"}
    metadata = {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}
    store("metadata-u8", tensors, expected, metadata)

    tensors, expected = {}, {}  # weights in another basis: what a reader has to notice
    for prefix, weight in weights().items():
        codes, params = TensorWiseINT8Layout.quantize(
            weight, per_channel=True, convrot=True, convrot_groupsize=16
        )
        tensors |= {f"{prefix}.weight": codes, f"{prefix}.weight_scale": params.scale}
        tensors[f"{prefix}.comfy_quant"] = said("int8_tensorwise", convrot=True, convrot_groupsize=16)
        expected[f"{prefix}.weight"] = TensorWiseINT8Layout.dequantize(codes, params)
    store("int8-rotated", tensors, expected)


if __name__ == "__main__":
    main()
