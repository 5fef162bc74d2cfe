# SPDX-License-Identifier: Apache-2.0
"""GPTQ's files with 8 bits, packed by auto-gptq's own layer; and the second form of its zero points.

Run with auto-gptq 0.7.1, whose layer is taken from its file: the package itself wants a transformers
of its day. Codes and groups are made here: packing is what the format is about.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json

import torch
from safetensors.torch import save_file
from tiny import LAYERS, fresh, keep, llama

CASES = {
    "groups": {"group_size": 16, "desc_act": False, "sym": True},
    "one-group-asymmetric": {"group_size": -1, "desc_act": False, "sym": False},
    "act-order": {"group_size": 16, "desc_act": True, "sym": False},
    "v2-act-order": {"group_size": 16, "desc_act": True, "sym": False, "checkpoint_format": "gptq_v2"},
}


def layer_class() -> type:
    path = importlib.metadata.distribution("auto-gptq").locate_file(
        "auto_gptq/nn_modules/qlinear/qlinear_cuda.py"
    )
    spec = importlib.util.spec_from_file_location("qlinear_cuda", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.QuantLinear


def quantized(weight: torch.Tensor, rule: dict) -> tuple[torch.Tensor, ...]:
    """Scales and zero points [N, groups], the group of each column, and the weight on that grid."""
    n, k = weight.shape
    size = k if rule["group_size"] == -1 else rule["group_size"]
    order = torch.argsort(weight.abs().sum(0), descending=True) if rule["desc_act"] else torch.arange(k)
    groups = torch.empty(k, dtype=torch.int32)
    groups[order] = torch.arange(k, dtype=torch.int32) // size
    scale = torch.empty(n, k // size)
    zero = torch.empty(n, k // size)
    rounded = torch.empty(n, k)
    for g in range(k // size):
        columns = weight[:, groups == g].float()
        if rule["sym"]:
            scale[:, g] = columns.abs().amax(1) * 2 / 255
            zero[:, g] = 128
        else:
            low, high = columns.amin(1).clamp(max=0), columns.amax(1).clamp(min=0)
            scale[:, g] = (high - low) / 255
            zero[:, g] = torch.round(-low / scale[:, g]).clamp(1, 255)  # 0 does not fit the first form
        scale[:, g] = scale[:, g].half().float()
        s, z = scale[:, g : g + 1], zero[:, g : g + 1]
        rounded[:, groups == g] = (torch.clamp(torch.round(columns / s) + z, 0, 255) - z) * s
    return scale, zero, groups, rounded


def make(name: str, rule: dict, cls: type) -> None:
    folder = fresh(f"auto-gptq-{name}")
    model = llama(torch.float16, kv_heads=2)  # auto-gptq packs N in steps of 32
    tensors = {}
    expected = {}
    for key, value in model.state_dict().items():
        prefix = key.removesuffix(".weight")
        if not prefix.endswith("_proj"):
            tensors[key] = value
            continue
        scale, zero, groups, rounded = quantized(value, rule)
        n, k = value.shape
        linear = torch.nn.Linear(k, n, bias=False)
        linear.weight.data = rounded
        layer = cls(8, rule["group_size"], k, n, bias=False)
        layer.pack(linear, scale, zero, groups)
        if rule.get("checkpoint_format") == "gptq_v2":  # zero points as they are, not less one
            layer.qzeros += 0x01010101
        for part in ("qweight", "qzeros", "scales", "g_idx"):
            tensors[f"{prefix}.{part}"] = getattr(layer, part).clone()
        tensors[f"{prefix}.scales"] = tensors[f"{prefix}.scales"].half()
        if prefix in LAYERS:
            expected[f"{prefix}.weight"] = rounded
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    declared = {"bits": 8, **rule, "damp_percent": 0.01, "quant_method": "gptq"}
    config = model.config.to_dict()
    if name == "groups":  # where auto-gptq itself keeps it
        (folder / "quantize_config.json").write_text(json.dumps(declared, indent=2))
    else:
        config["quantization_config"] = declared
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    keep(folder.name, expected, "auto-gptq")


if __name__ == "__main__":
    cls = layer_class()
    for name, rule in CASES.items():
        make(name, rule, cls)
