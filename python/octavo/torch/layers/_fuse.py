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


class Fusing:
    """Groups of a model's layers that read the same activations; each becomes one product when its last layer was added."""

    def __init__(self, operation: str, model: torch.nn.Module) -> None:
        self._operation, self._model = operation, model
        self.groups: list[tuple[str, ...]] = []  # by names of modules
        for path, module in model.named_modules():
            readers = _READERS.get(type(module).__name__, ())
            names = tuple(f"{path}.{name}" if path else name for name in readers if getattr(module, name, None) is not None)
            if len(names) > 1:
                self.groups.append(names)
        self._group_of = {name: names for names in self.groups for name in names}
        self._weights: dict[str, Weight] = {}
        self._made: list[tuple[str, ...]] = []
        self._left: list[str] = []

    def add(self, path: str, weight: Weight) -> tuple[str, ...]:
        """A layer is in its place, frozen. weight: what it was packed of, which is let go with the group's last layer.

        Returns: layers that are one product now, whose `weight` is another object.
        """
        names = self._group_of.get(path)
        if names is None:
            return ()
        self._weights[path] = weight
        if any(name not in self._weights for name in names):
            return ()
        weights = [self._weights.pop(name) for name in names]
        layers = [self._model.get_submodule(name) for name in names]
        why = _refusal(layers) or _join(layers, weights)
        if why is None:
            self._made.append(names)
            return names
        self._left.append(f"{', '.join(names)} ({why})")
        return ()

    def end(self, stacklevel: int = 3) -> list[tuple[str, ...]]:
        """The groups that are one product. stacklevel: of the warning's line. Warns (UserWarning) of groups whose layers differ in what a fused product has once,
        and of a model that has no group."""
        self._weights.clear()
        left = list(self._left)
        if not self._made and not left:
            left.append(f"all of {type(self._model).__name__} (no known module has quantised layers that read one tensor)")
        if left:
            more = f"; and {len(left) - 1} more groups" if len(left) > 1 else ""
            warnings.warn(f"{self._operation}: layers stay products of their own: {left[0]}{more}", stacklevel=stacklevel)
        return self._made


def fuse_layers(operation: str, model: torch.nn.Module, weight_of: Callable[[str], Weight]) -> list[tuple[str, ...]]:
    """Makes layers of a model that read the same activations one product, in place.

    weight_of: of a frozen layer's module. Returns and warns: as Fusing.end.
    """
    fusing = Fusing(operation, model)
    for names in fusing.groups:
        if all(isinstance(model.get_submodule(name), QuantizedLinear) for name in names):
            for name in names:
                fusing.add(name, weight_of(name))
    return fusing.end(stacklevel=5)


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
