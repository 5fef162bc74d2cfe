# SPDX-License-Identifier: Apache-2.0
"""fp8 as vLLM reads it (AutoFP8's files), as transformers writes it, and as DeepSeek publishes it.

Run with transformers 5.23. transformers' own functions quantise and dequantise its blocks. AutoFP8 is
not installable today and DeepSeek's models are too large: their files are written here by the rules
of vLLM's reader and of DeepSeek's inference code.
"""

from __future__ import annotations

import json

import torch
from safetensors.torch import save_file
from tiny import LAYERS, activations, fresh, keep, llama
from transformers import FineGrainedFP8Config
from transformers.integrations.finegrained_fp8 import Fp8Dequantize, Fp8Quantize

E4M3 = torch.float8_e4m3fn


class Rules:
    """What transformers' functions ask of their quantizer."""

    def __init__(self, **fields: object) -> None:
        self.quantization_config = FineGrainedFP8Config(**fields)


def store(name: str, model: torch.nn.Module, layer, declared: dict, *tools: str) -> None:
    folder = fresh(name)
    tensors, expected = {}, {}
    for key, value in model.state_dict().items():
        prefix = key.removesuffix(".weight")
        if not prefix.endswith("_proj"):
            tensors[key] = value
            continue
        parts, weight, more = layer(value)
        tensors |= {f"{prefix}.{part}": tensor.contiguous() for part, tensor in parts.items()}
        if prefix in LAYERS:
            expected[f"{prefix}.weight"] = weight
            expected |= {f"{prefix}.{part}": tensor for part, tensor in more.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict() | {"quantization_config": declared}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    keep(name, expected, *tools)


def vllm(static: bool):
    """vLLM: one scale for the weight, activations by a scale or by token."""

    def layer(value: torch.Tensor):
        scale = value.float().abs().amax() / 448
        codes = (value.float() / scale).clamp(-448, 448).to(E4M3)
        parts = {"weight": codes, "weight_scale": scale}
        if not static:
            return parts, codes.float() * scale, {}
        x = activations(value.shape[1])
        parts["input_scale"] = x.abs().amax() / 448 / 2  # half of the range: some saturate
        quantized = (x / parts["input_scale"]).clamp(-448, 448).to(E4M3).float() * parts["input_scale"]
        return parts, codes.float() * scale, {"x": x, "x_quantised": quantized}

    return layer


def transformers(block: tuple[int, int], scale_fmt: str):
    rules = Rules(weight_block_size=block, scale_fmt=scale_fmt)

    def layer(value: torch.Tensor):
        made = Fp8Quantize(rules).convert({"l.weight": value})
        parts = {key.removeprefix("l."): tensor for key, tensor in made.items()}
        back = Fp8Dequantize(rules)._dequantize_one(parts["weight"], parts["weight_scale_inv"])
        return parts, back, {}

    return layer


def deepseek(scale_name: str):
    """Blocks of 128x128 that may end early; scales as floats, or as powers of two in e8m0."""

    def layer(value: torch.Tensor):
        n, k = value.shape
        rows, cols = -(-n // 128), -(-k // 128)
        padded = torch.zeros(rows * 128, cols * 128)
        padded[:n, :k] = value.float()
        scale = padded.view(rows, 128, cols, 128).abs().amax((1, 3)) / 448
        stored = scale
        if scale_name == "scale":
            scale = torch.exp2(torch.ceil(torch.log2(scale)))
            stored = scale.to(torch.float8_e8m0fnu)
        every = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)[:n, :k]
        codes = (value.float() / every).clamp(-448, 448).to(E4M3)
        return {"weight": codes, scale_name: stored}, codes.float() * every, {}

    return layer


def experts() -> None:
    """Experts stacked in one tensor; in the second layer as [E, K, N], as Qwen publishes some."""
    rules = Rules(weight_block_size=(16, 32), scale_fmt="float")
    folder = fresh("transformers-fp8-experts")
    torch.manual_seed(7)
    tensors, expected = {}, {}
    for layer, swapped in enumerate((False, True)):
        for name, shape in (("gate_up_proj", (4, 64, 32)), ("down_proj", (4, 32, 32))):
            key = f"model.layers.{layer}.mlp.experts.{name}"
            weight = torch.randn(shape) * torch.exp(torch.randn(4, shape[1], 1))
            if swapped:
                weight = weight.transpose(1, 2).contiguous()
            made = Fp8Quantize(rules).convert({key: weight})
            tensors |= made
            back = Fp8Dequantize(rules)._dequantize_one(made[key], made[key + "_scale_inv"])
            expected[key] = back[:, ::8]  # every eighth row as stored
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    declared = FineGrainedFP8Config(weight_block_size=(16, 32)).to_dict()
    (folder / "config.json").write_text(json.dumps({"quantization_config": declared}, indent=2))
    keep(folder.name, expected, "transformers")


def main() -> None:
    experts()
    declared = {"quant_method": "fp8", "ignored_layers": ["lm_head"]}
    store("vllm-fp8-static", llama(), vllm(True), {**declared, "activation_scheme": "static"})
    store("vllm-fp8-dynamic", llama(), vllm(False), {**declared, "activation_scheme": "dynamic"})
    for name, fmt in (("transformers-fp8-block", "float"), ("transformers-fp8-block-ue8m0", "ue8m0")):
        written = FineGrainedFP8Config(
            weight_block_size=(16, 32), scale_fmt=fmt, modules_to_not_convert=["lm_head"]
        ).to_dict()
        store(name, llama(), transformers((16, 32), fmt), written, "transformers")
    blocks = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
              "weight_block_size": [128, 128]}
    ragged = {"hidden": 32, "intermediate": 144}
    store("deepseek-v3", llama(**ragged), deepseek("weight_scale_inv"), blocks)
    store("deepseek-v4", llama(**ragged), deepseek("scale"), {**blocks, "scale_fmt": "ue8m0"})


if __name__ == "__main__":
    main()
