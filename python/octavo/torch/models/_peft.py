# SPDX-License-Identifier: Apache-2.0
"""PEFT's adapters around layers in 8 bits.

PEFT takes Octavo's layers for the torch.nn.Linear that they are. What it cannot know is how to write into a weight of
codes: merging is done on a float weight, which is quantised again, and unmerging brings the old codes back. This holds
for every kind of adapter, since all of them write in `merge` and `unmerge` of their layers.
"""

import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

from .._when_imported import when_imported
from ..layers._float_again import float_weight
from ..layers._layer import EightBitModule
from ..layers._quantized_linear import QuantizedLinear
from ..layers._weight import WriteRefused

_TUNERS = "peft.tuners.tuners_utils"
# What of PEFT's modules is the model's own; their other children are adapters.
_OWN = {
    ("peft.peft_model", "PeftModel"): ("base_model",),
    ("peft.mixed_model", "PeftMixedModel"): ("base_model",),
    (_TUNERS, "BaseTuner"): ("model", "lora_model"),
    (_TUNERS, "BaseTunerLayer"): ("base_layer",),
    ("peft.utils.other", "AuxiliaryTrainingWrapper"): ("original_module",),
}
ADAPTER = "an adapter of PEFT"
_noting: list[bool] = []  # of merges that are under way: whether they have warned


def watch_peft() -> None:
    """Makes PEFT's adapters merge into layers in 8 bits, once PEFT is imported."""
    when_imported(_TUNERS, _watch)


def left_to_peft(model: torch.nn.Module) -> dict[str, str]:
    """Modules that quantising leaves alone, by path: adapters, which train, and what PEFT adapts as floats. With the reason."""
    kinds = [(_kind(*kind), own) for kind, own in _OWN.items()]
    floats = tuple(_kind("peft.tuners.lora.layer", name) for name in ("ParamWrapper", "MultiheadAttention"))
    found: dict[str, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        own = next((own for kind, own in kinds if isinstance(module, kind)), None)
        if own is None or path in found:
            continue
        reasons = {name: ADAPTER for name, _ in module.named_children() if name not in own}
        if isinstance(module, floats):
            reasons["base_layer"] = f"PEFT's {type(module).__name__} adds to its tensors, which have to be floats"
        for name, reason in reasons.items():
            start = f"{path}.{name}" if path else name
            for inner, _ in module.get_submodule(name).named_modules(remove_duplicate=False):
                found.setdefault(f"{start}.{inner}" if inner else start, reason)
    return found


def _kind(module: str, name: str) -> Any:
    """A class of PEFT where it is imported; else one that nothing is of."""
    return getattr(sys.modules.get(module), name, _Nothing)


class _Nothing:
    pass


def _watch(tuners: ModuleType) -> None:
    _wrap_all(tuners.BaseTunerLayer, {"merge": _on_floats, "unmerge": _on_floats, "update_layer": _told,
                                      "__init__": _checked_attention})
    _wrap_all(tuners.BaseTuner, {"merge_adapter": _one_warning, "unmerge_adapter": _one_warning,
                                 "_unload_and_optionally_merge": _for_good, "_inject_parameters": _checked_parameters})
    _wrap_all(importlib.import_module("peft.utils.other").ModulesToSaveWrapper, {"update": _checked_copy})


def _wrap_all(base: Any, wrappers: dict[str, Callable[..., Any]]) -> None:
    """Wraps methods of a class and of its subclasses, those to come as well."""
    def wrap(kind: Any) -> None:
        for name, wrapper in wrappers.items():
            method = vars(kind).get(name)
            if callable(method) and not hasattr(method, "_octavo"):
                wrapped = wrapper(method)
                wrapped._octavo = True
                setattr(kind, name, wrapped)

    def __init_subclass__(cls: Any, **options: Any) -> None:
        super(base, cls).__init_subclass__(**options)
        wrap(cls)

    waiting = [base]
    while waiting:
        kind = waiting.pop()
        wrap(kind)
        waiting.extend(kind.__subclasses__())
    base.__init_subclass__ = classmethod(__init_subclass__)


def _on_floats(method: Callable[..., Any]) -> Callable[..., Any]:
    """merge, unmerge: they change the weight of the layer that they stand around, which is one of floats meanwhile."""
    @functools.wraps(method)
    def called(self: Any, *args: Any, **options: Any) -> Any:
        layer = self.get_base_layer()
        if not isinstance(layer, QuantizedLinear):
            return method(self, *args, **options)
        if not layer.frozen:
            try:
                return method(self, *args, **options)
            finally:
                layer.invalidate()  # PEFT writes through `.data`
        before, merged = layer._before_merge, list(self.merged_adapters)
        bias = before is not None and before.has_merged_bias(layer)
        with float_weight(layer) as (codes, dtype):
            result = method(self, *args, **options)
            now = list(self.merged_adapters)
            if now == merged:
                codes.restore(layer, dtype)
                layer._before_merge = before
            elif not now and before is not None:
                before.restore(layer, dtype, bias)
            else:
                layer._freeze_again(dtype)
                first = before or (None if merged else codes)
                layer._before_merge = first and first.merged(layer)
                _note()
        return result

    return called


def _told(update_layer: Callable[..., Any]) -> Callable[..., Any]:
    """update_layer: it makes an adapter, some from a part that it takes out of the weight."""
    @functools.wraps(update_layer)
    def called(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return update_layer(self, *args, **options)
        except WriteRefused as error:
            raise ValueError("update_layer: the base weight must be of floats where an adapter takes its start out of it (PiSSA, "
                             "OLoRA, CorDA, KaSA): make the adapter on the float model, then quantize_ the model, which leaves "
                             f"adapters alone; got {type(self.get_base_layer()).__name__}") from error

    return called


def _checked_attention(init: Callable[..., Any]) -> Callable[..., Any]:
    """torch.nn.MultiheadAttention: PEFT merges into out_proj's weight in each call, and gradients go through that."""
    @functools.wraps(init)
    def called(self: Any, base_layer: Any, *args: Any, **options: Any) -> None:
        if isinstance(getattr(base_layer, "out_proj", None), QuantizedLinear):
            raise ValueError("LoRA: torch.nn.MultiheadAttention must have an out_proj of floats, to which PEFT adds in each call "
                             f"(quantize_ with ignore=[\"out_proj\"]); got {type(base_layer.out_proj).__name__}")
        init(self, base_layer, *args, **options)

    return called


def _checked_parameters(inject: Callable[..., Any]) -> Callable[..., Any]:
    """target_parameters: PEFT adds to tensors of floats."""
    @functools.wraps(inject)
    def called(self: Any, peft_config: Any, model: torch.nn.Module, *args: Any, **options: Any) -> Any:
        for name in getattr(peft_config, "target_parameters", None) or ():
            place, _, parameter = name.rpartition(".")
            for path, module in model.named_modules():
                if isinstance(module, EightBitModule) and f".{path}".endswith(f".{place}") and parameter not in module._parameters:
                    raise ValueError("target_parameters: parameter must be of floats (quantize_ with ignore leaves layers in float); "
                                     f"got {name!r} of {path!r}, {type(module).__name__}, which has codes")
        return inject(self, peft_config, model, *args, **options)

    return called


def _checked_copy(update: Callable[..., Any]) -> Callable[..., Any]:
    """modules_to_save: PEFT trains a copy of the module."""
    @functools.wraps(update)
    def called(self: Any, *args: Any, **options: Any) -> Any:
        for name, layer in self.original_module.named_modules():
            if isinstance(layer, EightBitModule) and not _trains(layer):
                raise ValueError("modules_to_save: module must have weights of floats, which train (quantize_ with ignore leaves "
                                 f"layers in float); got {type(layer).__name__}{f' at {name!r}' if name else ''}, which has codes")
        return update(self, *args, **options)

    return called


def _trains(layer: EightBitModule) -> bool:
    return layer._parameters.get("weight") is not None


def _note():
    if not (_noting and _noting[-1]):
        warnings.warn("merge: weights in 8 bits are dequantised, changed and quantised again, which rounds what the adapter adds "
                      "(unmerge brings the old codes back)", stacklevel=5)
    if _noting:
        _noting[-1] = True


def _one_warning(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def called(self: Any, *args: Any, **options: Any) -> Any:
        with _round():
            return method(self, *args, **options)

    return called


def _for_good(unload: Callable[..., Any]) -> Callable[..., Any]:
    """merge_and_unload: nothing can bring the old codes back, which go."""
    @functools.wraps(unload)
    def called(self: Any, *args: Any, **options: Any) -> Any:
        with _round():
            result = unload(self, *args, **options)
        for layer in self.model.modules():
            if isinstance(layer, QuantizedLinear):
                layer._before_merge = None
        return result

    return called


@contextmanager
def _round() -> Iterator[None]:
    _noting.append(bool(_noting and _noting[-1]))
    try:
        yield
    finally:
        warned = _noting.pop()
        if _noting:
            _noting[-1] = _noting[-1] or warned
