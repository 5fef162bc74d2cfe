# SPDX-License-Identifier: Apache-2.0
"""Which layers of a model may share one product without a bit changed, and why others may not."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..._checkpoint import fuse
from ..._octavo import Weight
from ._quantized_linear import QuantizedLinear
from ._shared_product import PackedRows, shared

_ATTENTION = ("q_proj", "k_proj", "v_proj")
_GATED = ("gate_proj", "up_proj")
_LATENT = ("q_a_proj", "kv_a_proj_with_mqa")
# Modules of transformers whose layers of these names are called with the same tensor.
_READERS: dict[str, tuple[str, ...]] = {
    **{f"{family}Attention": _ATTENTION for family in
       ("Llama", "Mistral", "Mixtral", "Qwen2", "Qwen2Moe", "Qwen3", "Qwen3Moe", "Gemma", "Gemma2", "Gemma3", "SmolLM3",
        "Olmo2", "Granite")},
    **{f"{family}MLP": _GATED for family in
       ("Llama", "Mistral", "Qwen2", "Qwen2Moe", "Qwen3", "Qwen3Moe", "Gemma", "Gemma2", "Gemma3", "SmolLM3", "Olmo2",
        "Granite", "DeepseekV2", "DeepseekV3")},
    "DeepseekV3Attention": _LATENT,
    "BertSelfAttention": ("query", "key", "value"),
}


def fuse_layers(operation: str, model: torch.nn.Module, weight_of: Callable[[str], Weight]) -> list[tuple[str, ...]]:
    """Makes layers of a model that read the same activations one product, in place.

    weight_of: of a frozen layer's module. Returns: the groups of layers. Warns (UserWarning) of groups whose layers differ
    in what a fused product has once, and of a model that has no group.
    """
    made: list[tuple[str, ...]] = []
    left: list[str] = []
    for path, module in model.named_modules():
        readers = _READERS.get(type(module).__name__, ())
        names = tuple(f"{path}.{name}" for name in readers if getattr(module, name, None) is not None)
        layers = [model.get_submodule(name) for name in names]
        if len(layers) < 2 or not all(isinstance(layer, QuantizedLinear) for layer in layers):
            continue
        why = _refusal(layers) or _join(layers, [weight_of(name) for name in names])
        if why is None:
            made.append(names)
        else:
            left.append(f"{', '.join(names)} ({why})")
    if not made and not left:
        left.append(f"all of {type(model).__name__} (no known module has quantised layers that read one tensor)")
    if left:
        more = f"; and {len(left) - 1} more groups" if len(left) > 1 else ""
        warnings.warn(f"{operation}: layers stay products of their own: {left[0]}{more}", stacklevel=4)
    return made


def _refusal(layers: Sequence[Any]) -> str | None:
    """Why layers cannot be one product; None where they may."""
    first = layers[0]
    if any(layer._columns is not None for layer in layers):
        return "their columns are those of GPTQ's act-order"
    for what, values in (("scheme", [layer.scheme for layer in layers]), ("type", [layer._dtype for layer in layers]),
                         ("bias", [None if layer.bias is None else layer.bias.dtype for layer in layers])):
        if len(set(values)) > 1:
            return f"each has its own {what}"
    if any(_words(layer._rule) != _words(first._rule) for layer in layers):
        return "each has its own rule of activations"
    return None


def _words(rule):
    """A rule of activations as plain values: static scales, and fixed outlier columns as a list."""
    return {name: list(map(int, value)) if name == "outlier_columns" and value is not None else value
            for name, value in rule.items()}


def _join(layers, weights) -> str | None:
    """Makes layers one product; or says why their scales do not stack, and leaves them."""
    if len({weight.quantized.azp is None for weight in weights}) > 1:
        return "only some have zero points"
    try:
        together = fuse(weights)
    except ValueError as error:
        return str(error)
    n = [layer.out_features for layer in layers]
    for weight, rows in zip(weights, n):
        own = weight.quantized.rows
        if own not in (0, together.quantized.rows) and own < rows:
            return f"blocks of {own} rows would be cut"
    product = shared(together.quantized, layers[0]._rule, layers).at(torch.empty(0, device=layers[0].weight.device))
    begin = 0
    for place, layer in enumerate(layers):
        layer._share(product, place, PackedRows(product.packed, begin, layer.quantized_weight()))
        begin += layer.out_features
    return None
