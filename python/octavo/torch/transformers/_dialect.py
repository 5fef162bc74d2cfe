# SPDX-License-Identifier: Apache-2.0
"""What a folder's config.json says of quantised layers: one quantization_config, in the terms of a dialect."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ..._octavo import Quantized
from ..layers._quantized_linear import QuantizedLinear
from ..models._routed_experts import RoutedExperts

Json = dict[str, Any]
_BLOCK, _MX = 128, 32
_EXPERTS = r"re:.*\.experts\..*"  # as transformers looks for the group of experts


class Kind(NamedTuple):
    """How the weights of some layers and their activations are quantised."""

    code: str  # "int8", "float8_e4m3fn"
    weight: str  # "tensor", "channel", "group128", "block128x128"
    activation: str | None  # None: as they are; "token", "tensor", "group128", "static", "llm-int8"
    zero_points: bool
    threshold: float  # of LLM.int8()
    packed: bool = False  # four int8 codes in an int32: the one form that transformers reads of experts, and without activations' rule
    experts: bool = False  # of packed ones: whether the layer is a module of experts
    mx: bool = False  # scales of both sides are powers of two, which files keep as exponents

    @property
    def dialect(self) -> str:
        """"bitsandbytes", "fp8" (blocks) or "compressed-tensors"."""
        if self.activation == "llm-int8":
            return "bitsandbytes"
        block = (self.weight, self.activation) == (f"block{_BLOCK}x{_BLOCK}", f"group{_BLOCK}")
        return "fp8" if block and not self.zero_points else "compressed-tensors"


def kind_of(layer: QuantizedLinear | RoutedExperts) -> Kind:
    """How a frozen layer is quantised; of experts how both weights are."""
    if isinstance(layer, RoutedExperts):
        kind = _kind(layer.w13.dtype, layer.w13.granularity or "tensor", layer.w13.activation or {})
        packed = kind.code == "int8" and layer.w13.k % 4 == 0 and layer.w2.k % 4 == 0
        return kind._replace(packed=packed, experts=packed)
    weight = layer.quantized_weight()
    granularity = _granularity(weight)
    if weight.cols == _MX and is_mx(f"group{_MX}", layer._rule):  # which is the whole row where K is 32
        granularity = f"group{_MX}"
    kind = _kind(str(weight.data.dtype).removeprefix("torch."), granularity, layer._rule)
    return kind._replace(packed=kind.code == "int8" and kind.activation is None and layer.in_features % 4 == 0)


def _kind(code: str, weight: str, rule: Mapping[str, Any]) -> Kind:
    if is_mx(weight, rule):
        return Kind(code, weight, rule["activation_granularity"], False, 0.0, mx=True)
    if not rule.get("activation"):
        return Kind(code, weight, None, False, 0.0)
    if rule.get("llm_int8"):
        return Kind(code, weight, "llm-int8", False, float(rule["outlier_threshold"]))
    activation = "static" if rule.get("static_scale") else rule["activation_granularity"]
    return Kind(code, weight, activation, bool(rule.get("azp")), 0.0)


def is_mx(weight: str, rule: Mapping[str, Any]) -> bool:
    """Whether a rule is that of mxfp8; its weights were quantised by it."""
    groups = f"group{_MX}"
    return weight == groups == rule.get("activation_granularity") and rule.get("rounding", "none") == "power_of_two"


def _granularity(weight: Quantized) -> str:
    n, k = weight.data.shape
    rows, cols = weight.rows or n, weight.cols or k
    if cols >= k and rows != _BLOCK:
        return "channel" if rows == 1 else "tensor" if rows >= n else f"block{rows}x{k}"
    return f"group{cols}" if rows == 1 else f"block{rows}x{cols}"


def quantization_config(operation: str, layers: Mapping[str, Kind], left: Sequence[str], scheme: str,
                        dialect: str, heads: Sequence[str] = ()) -> Json:
    """The configuration of layers by their names in the files. left: linear layers that stay in float; heads: output heads
    among the layers, which readers may not count among linear layers.

    dialect: in which the tensors are written. Raises: ValueError (LLM.int8() beside other schemes, several thresholds).
    """
    kinds = sorted(set(layers.values()), key=lambda kind: (not kind.experts, str(kind)))  # names before classes
    dialects = {kind.dialect for kind in kinds}
    if "bitsandbytes" in dialects and len(kinds) > 1:
        raise ValueError(f"{operation}: model must have layers of one threshold and no other scheme beside llm-int8; got "
                         f"{', '.join(map(str, kinds))}")
    if dialect == "bitsandbytes":
        config = _bitsandbytes(kinds[0], left)
    elif dialect == "fp8":
        config = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [_BLOCK, _BLOCK],
                  "modules_to_not_convert": list(left)}
    else:
        config = _compressed_tensors(layers, kinds, left, heads)
    return {**config, "octavo": {"scheme": scheme}}


def _bitsandbytes(kind, left):
    return {"quant_method": "bitsandbytes", "load_in_8bit": True, "_load_in_8bit": True, "load_in_4bit": False,
            "_load_in_4bit": False, "llm_int8_has_fp16_weight": False, "llm_int8_enable_fp32_cpu_offload": False,
            "llm_int8_threshold": kind.threshold, "llm_int8_skip_modules": list(left)}


def _compressed_tensors(layers, kinds, left, heads):
    groups = {}
    for number, kind in enumerate(kinds):
        alone = sum(other.experts == kind.experts for other in kinds) == 1
        every = [_EXPERTS] if kind.experts else ["Linear", *heads]
        targets = every if alone else sorted(name for name, own in layers.items() if own == kind)
        groups[f"group_{number}"] = {"targets": targets, "weights": _weights(kind), "input_activations": _activations(kind),
                                     "output_activations": None, "format": _format(kind)}
    formats = {_format(kind) for kind in kinds}
    return {"quant_method": "compressed-tensors", "quantization_status": "compressed",
            "format": formats.pop() if len(formats) == 1 else "mixed-precision", "config_groups": groups, "ignore": list(left)}


def _format(kind):
    if kind.mx:
        return "mxfp8-quantized"
    return "pack-quantized" if kind.packed else "int-quantized" if kind.code == "int8" else "float-quantized"


def _type(kind):
    bits = {"num_bits": 8, "type": "int" if kind.code == "int8" else "float"}
    return {**bits, "scale_dtype": "torch.uint8"} if kind.mx else bits


def _weights(kind):
    strategy = {**_type(kind), "symmetric": True, "dynamic": False}
    if kind.weight.startswith("group"):
        return {**strategy, "strategy": "group", "group_size": int(kind.weight[5:])}
    if kind.weight.startswith("block"):
        return {**strategy, "strategy": "block", "block_structure": [int(n) for n in kind.weight[5:].split("x")]}
    return {**strategy, "strategy": kind.weight}


def _activations(kind):
    if kind.activation is None:
        return None
    rule = {**_type(kind), "symmetric": not kind.zero_points, "dynamic": kind.activation != "static"}
    if kind.activation.startswith("group"):
        return {**rule, "strategy": "group", "group_size": int(kind.activation[5:])}
    return {**rule, "strategy": "tensor" if kind.activation == "static" else kind.activation}


def packed_codes(codes: torch.Tensor) -> torch.Tensor:
    """int8 codes [..., K] as compressed-tensors packs them: int32 [..., K / 4], each code + 128, the first lowest."""
    return (codes.view(torch.uint8) ^ 128).contiguous().view(torch.int32)


def exponents(scale: torch.Tensor) -> torch.Tensor:
    """E8M0 of scales that are powers of two, as bytes."""
    return (scale.contiguous().view(torch.int32) >> 23).to(torch.uint8)


def row_maxima(scale: torch.Tensor) -> torch.Tensor:
    """bitsandbytes' SCB of scales: float32 a with a / 127 = scale exactly, as a was made into the scale."""
    guess = scale * 127
    for other in (torch.nextafter(guess, torch.full_like(guess, torch.inf)), torch.nextafter(guess, torch.zeros_like(guess))):
        guess = torch.where((guess / 127 != scale) & (other / 127 == scale), other, guess)
    return guess
