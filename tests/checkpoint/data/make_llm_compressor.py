# SPDX-License-Identifier: Apache-2.0
"""Folders by llm-compressor, in each strategy and format of compressed-tensors with 8 bits.

Run with llmcompressor 0.14 and compressed-tensors 0.19.
"""

from __future__ import annotations

import json
import sys
import tempfile

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.config import CompressionFormat
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from compressed_tensors.quantization.utils import compute_dynamic_scales_and_zp
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import QuantizationModifier
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from tiny import LAYERS, activations, fresh, keep, llama

INT8 = {"num_bits": 8, "type": "int"}
FP8 = {"num_bits": 8, "type": "float"}
TOKEN = {"strategy": "token", "dynamic": True}
STATIC = {"strategy": "tensor", "dynamic": False}


def group(weights: dict, activations: dict | None = None) -> dict:
    return {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": activations}}


CASES: dict[str, dict] = {
    # int-quantized
    "int8-channel": {"scheme": "W8A8"},
    "int8-tensor-static": {"config_groups": group({**INT8, "strategy": "tensor"}, {**INT8, **STATIC})},
    "int8-static-asymmetric": {
        "config_groups": group({**INT8, "strategy": "channel"}, {**INT8, **STATIC, "symmetric": False})
    },
    "int8-asymmetric": {
        "config_groups": group(
            {**INT8, "strategy": "channel", "symmetric": False}, {**INT8, **TOKEN, "symmetric": False}
        )
    },
    "int8-group": {"config_groups": group({**INT8, "strategy": "group", "group_size": 16}, {**INT8, **TOKEN})},
    # float-quantized
    "fp8-tensor-static": {"scheme": "FP8"},
    "fp8-channel": {"scheme": "FP8_DYNAMIC"},
    "fp8-block": {"scheme": "FP8_BLOCK"},
    # naive-quantized, pack-quantized, mxfp8-quantized
    "naive-fp8-weight-only": {"config_groups": group({**FP8, "strategy": "channel"})},
    "pack-w8a16-channel": {"config_groups": group({**INT8, "strategy": "channel"})},
    "pack-w8a16-asymmetric-group": {
        "config_groups": group({**INT8, "strategy": "group", "group_size": 16, "symmetric": False})
    },
    "mxfp8": {"scheme": "MXFP8"},
}
SHAPES = {"fp8-block": {"hidden": 32, "intermediate": 144}}


def quantized_activations(args: QuantizationArgs, layer: dict, x: torch.Tensor) -> torch.Tensor | None:
    if args.strategy == "group" and x.shape[-1] % args.group_size:
        return None  # the tool wants whole groups
    x = x[None]  # [batch, tokens, K]: of a matrix the tool takes the rows for batches
    if args.dynamic:
        scale, zero = compute_dynamic_scales_and_zp(value=x, args=args, module=torch.nn.Module())
    else:
        scale, zero = layer["input_scale"].float(), layer.get("input_zero_point")
    return fake_quantize(x, scale, zero, args)[0]


def make(name: str, recipe: dict) -> None:
    folder = fresh(f"llm-compressor-{name}")
    tokens = torch.randint(0, 8, (4, 16), generator=torch.Generator().manual_seed(5)).tolist()
    original = tempfile.mkdtemp()
    llama(**SHAPES.get(name, {})).save_pretrained(original)
    model = AutoModelForCausalLM.from_pretrained(original)
    oneshot(
        model=model,
        processor=PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}))),
        dataset=Dataset.from_dict({"input_ids": tokens, "attention_mask": [[1] * 16] * 4}),
        num_calibration_samples=4,
        recipe=QuantizationModifier(targets="Linear", ignore=["lm_head"], **recipe),
    )
    model.save_pretrained(folder, save_compressed=True)
    written = json.loads((folder / "config.json").read_text())["quantization_config"]
    config = QuantizationConfig.model_validate(written)
    scheme = config.config_groups["group_0"]
    form = CompressionFormat(scheme.format or config.format)
    file = load_file(folder / "model.safetensors")
    expected = {}
    for prefix in LAYERS:
        layer = {key[len(prefix) + 1 :]: value for key, value in file.items() if key.startswith(prefix + ".")}
        compressor = BaseCompressor.get_value_from_registry(form.value)
        expected[prefix + ".weight"] = compressor.decompress(dict(layer), scheme)["weight"]
        if scheme.input_activations is None:
            continue
        x = activations(expected[prefix + ".weight"].shape[1])
        quantized = quantized_activations(scheme.input_activations, layer, x)
        if quantized is not None:
            expected[prefix + ".x"] = x
            expected[prefix + ".x_quantised"] = quantized
    keep(folder.name, expected, "llmcompressor", "compressed-tensors")


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        make(name, CASES[name])
