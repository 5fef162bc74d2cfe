# SPDX-License-Identifier: Apache-2.0
"""Folders in AutoRound's two packings of 8 bits, by its own layers; codes are rounded to nearest.

Run with auto-round 0.16.
"""

from __future__ import annotations

import json
import sys

import torch
from auto_round_extension.torch import qlinear_torch, qlinear_torch_zp
from safetensors.torch import save_file
from tiny import LAYERS, fresh, keep, llama

GROUP = 16
CASES = {
    "auto-gptq": ("auto_round:auto_gptq", qlinear_torch_zp.QuantLinear, False),
    "no-zp": ("auto_round", qlinear_torch.QuantLinear, False),
    "symmetric": ("auto_round:auto_gptq", qlinear_torch_zp.QuantLinear, True),
}


def scales_and_zeros(weight: torch.Tensor, symmetric: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, groups] each."""
    groups = weight.reshape(weight.shape[0], -1, GROUP)
    if symmetric:
        scale = groups.abs().amax(2) / 127
        return scale.half().float(), torch.full_like(scale, 128)
    least, most = groups.amin(2).clamp(max=0), groups.amax(2).clamp(min=0)
    scale = ((most - least) / 255).half().float()
    return scale, torch.round(-least / scale).clamp(1, 255)


def make(name: str, packing: str, layer_class: type, symmetric: bool) -> None:
    folder = fresh(f"auto-round-{name}")
    model = llama(torch.float32, kv_heads=2)  # rows in multiples of 32
    tensors, expected = {}, {}
    for layer, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or layer == "lm_head":
            continue
        packed = layer_class(8, GROUP, module.in_features, module.out_features, False)
        packed.device = torch.device("cpu")  # which packing with zero points asks for
        packed.pack(module, *scales_and_zeros(module.weight.data, symmetric), device="cpu")
        for part in ("qweight", "qzeros", "scales"):
            tensors[f"{layer}.{part}"] = getattr(packed, part).contiguous()
        if layer in LAYERS:
            packed.scales = packed.scales.float()  # else it rounds the values to float16
            expected[f"{layer}.weight"] = packed(torch.eye(module.in_features)).t()
    rest = {key: value for key, value in model.state_dict().items() if "proj" not in key}
    save_file(tensors | rest, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict() | {
        "quantization_config": {
            "quant_method": "auto-round",
            "bits": 8,
            "group_size": GROUP,
            "sym": symmetric,
            "data_type": "int",
            "packing_format": packing,
            "block_name_to_quantize": "model.layers",
        }
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, default=str))
    keep(folder.name, expected)


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        make(name, *CASES[name])
