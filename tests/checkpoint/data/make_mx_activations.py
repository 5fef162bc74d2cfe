# SPDX-License-Identifier: Apache-2.0
"""MXFP8 activations by each tool's own function: `mx-activations.expected.safetensors`.

`x`, and for each tool `TOOL.x_quantised`: the values that its codes and scales stand for.
The largest magnitudes of the groups lie on both sides of 448 times a power of two.

Run with compressed-tensors 0.20 and nvidia-modelopt 0.47.
"""

from __future__ import annotations

import importlib.metadata

import torch
from compressed_tensors.quantization import preset_name_to_scheme
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from compressed_tensors.quantization.utils import compute_dynamic_scales_and_zp
from modelopt.torch.quantization.qtensor.mxfp8_tensor import MXFP8QTensor
from safetensors.torch import save_file
from tiny import HERE

GROUP = 32


def inputs() -> torch.Tensor:
    generator = torch.Generator().manual_seed(23)
    x = torch.randn(24, 2 * GROUP, generator=generator)
    groups = (x * torch.exp(2 * torch.randn(24, 1, generator=generator))).reshape(-1, GROUP)
    largest = 2.0 ** torch.arange(-4, 4) * 448
    for row, factor in enumerate((1 - 2**-10, 1, 1 + 2**-10, 511 / 448)):
        groups[8 * row : 8 * row + 8, 3] = largest * factor
        groups[8 * row : 8 * row + 8] = groups[8 * row : 8 * row + 8].clamp(-largest[:, None], largest[:, None] * factor)
    groups[-1] = 0
    return groups.reshape(24, 2 * GROUP).contiguous()


def by_compressed_tensors(x: torch.Tensor) -> torch.Tensor:
    rule = preset_name_to_scheme("MXFP8", ["Linear"]).input_activations
    scale, zero = compute_dynamic_scales_and_zp(value=x[None], args=rule, module=torch.nn.Module())
    return fake_quantize(x[None], scale, zero, rule)[0]


def by_modelopt(x: torch.Tensor) -> torch.Tensor:
    codes, scale = MXFP8QTensor.quantize(x)
    return codes.dequantize(dtype=torch.float32, scale=scale)


if __name__ == "__main__":
    x = inputs()
    versions = {name: importlib.metadata.version(name) for name in ("compressed-tensors", "torch")}
    save_file(
        {
            "x": x,
            "compressed-tensors.x_quantised": by_compressed_tensors(x).contiguous(),
            "modelopt.x_quantised": by_modelopt(x).contiguous(),
        },
        HERE / "mx-activations.expected.safetensors",
        metadata={**versions, "nvidia-modelopt": "0.47.0"},
    )
