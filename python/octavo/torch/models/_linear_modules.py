# SPDX-License-Identifier: Apache-2.0
"""What in a model is a product with a weight: linear layers of every class, experts, and what only looks like one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from ..layers._layer import FLOATS, EightBitModule
from ._names import first_match, spellings
from ._peft import ADAPTER, left_to_peft
from ._read_elsewhere import read_elsewhere
from ._replace import linear_refusal, refusal
from ._routed_experts import experts_refusal, is_experts
from ._scheme_choice import Chosen, SchemeChoice

_LEAST = 16  # rows and columns from which a parameter counts as a matrix
_NO_PRODUCTS = (torch.nn.Embedding, torch.nn.EmbeddingBag, torch.nn.modules.conv._ConvNd, torch.nn.LayerNorm,
                torch.nn.GroupNorm, torch.nn.modules.batchnorm._NormBase, EightBitModule)


class LeftLayer(NamedTuple):
    """A product that stays in float."""

    name: str
    shape: tuple[int, ...]  # of the weight as the model stores it
    reason: str
    asked: bool  # by the list of layers to leave, or it is an adapter; others are in the warning


class Candidates(NamedTuple):
    linear: list[tuple[str, torch.nn.Module]]  # torch.nn.Linear, and transformers' Conv1D
    experts: list[tuple[str, torch.nn.Module]]
    left: list[LeftLayer]
    schemes: dict[str, str]  # of both, by path


def is_conv1d(module: torch.nn.Module) -> bool:
    """Whether it is the linear layer of GPT-2 in transformers, whose weight is stored as [K, N]."""
    return type(module).__name__ == "Conv1D" and type(module).__module__ == "transformers.pytorch_utils"


def is_linear(module: torch.nn.Module) -> bool:
    """Whether it multiplies as torch.nn.Linear does: that class, or one of it that has nothing of its own but how it is
    made (torch.nn.MultiheadAttention's out_proj)."""
    return isinstance(module, torch.nn.Linear) and not isinstance(module, EightBitModule) and not _own_names(type(module))


def multiplies(module: torch.nn.Module) -> bool:
    """Whether a linear layer's forward pass is that of torch.nn.Linear, whatever else its class has."""
    return isinstance(module, torch.nn.Linear) and "forward" not in _own_names(type(module))


def _own_names(kind):
    """What a subclass of torch.nn.Linear defines, other than how it is made and printed."""
    classes = kind.__mro__[:kind.__mro__.index(torch.nn.Linear)]
    same = {name for each in classes for name in _SAME.get(f"{each.__module__}.{each.__qualname__}", ())}
    return sorted({name for each in classes for name in vars(each) if name not in _MAKING} - same)


# What classes define that does what torch.nn.Linear does.
_SAME = {"transformers.models.falcon.modeling_falcon.FalconLinear": ("forward",)}


_MAKING = frozenset(("__init__", "__module__", "__qualname__", "__doc__", "__annotations__", "__annotate__", "__annotate_func__",
                     "__annotations_cache__", "__static_attributes__", "__firstlineno__", "__constants__", "__parameters__",
                     "__orig_bases__", "__repr__", "reset_parameters", "extra_repr"))


def candidates(model: torch.nn.Module, choice: SchemeChoice, patterns: Sequence[str], freeze: bool,
               heads: Mapping[str, str] | None = None) -> Candidates:
    """All products of a model: those to quantise, and those that stay with the reason.

    heads: schemes of output heads by path, whatever the patterns say. A module that stands in two places is named twice. Raises: ValueError (a pattern of the schemes that decides for none).
    """
    found = Candidates([], [], [], {})
    kept = left_to_peft(model)
    for path, module in model.named_modules(remove_duplicate=False):
        if path in kept:
            found.left.extend(LeftLayer(_joined(path, name), tuple(weight.shape), kept[path], kept[path] == ADAPTER)
                              for name, weight in _matrices(module))
            continue
        head = (heads or {}).get(path)
        pattern = None if head else next(filter(None, (first_match(name, patterns) for name in spellings(path))), None)
        if not (is_linear(module) or is_conv1d(module) or is_experts(module)):
            found.left.extend(_others(path, module, pattern))
            continue
        chosen = Chosen(None, f'ignored by "{pattern}"') if pattern is not None else \
            Chosen(head, "") if head else choice.of(path)
        if chosen.scheme is None:
            kind, why = found.linear, None
        elif is_experts(module):
            kind, why = found.experts, experts_refusal(module, chosen.scheme, freeze) or refusal(module)
        else:
            owner, _, name = path.rpartition(".")
            kind, why = found.linear, _linear_refusal(module, freeze) or read_elsewhere(model.get_submodule(owner), name, freeze)
        if chosen.scheme is not None and why is None:
            kind.append((path, module))
            found.schemes[path] = chosen.scheme
            continue
        asked = chosen.scheme is None
        reason = chosen.reason if asked else f"{type(module).__name__}: {why}"
        for name, weight in _matrices(module):
            found.left.append(LeftLayer(_joined(path, name), tuple(weight.shape), reason, asked))
    choice.check([spelling for path, _ in model.named_modules(remove_duplicate=False) if path for spelling in spellings(path)])
    return found


def _linear_refusal(module, freeze):
    if torch.nn.parameter.is_lazy(module.weight):
        return "its weight is not there before the model has run"
    if module.weight.dtype not in FLOATS:
        return f"its weight is {module.weight.dtype}"
    if not freeze and is_conv1d(module):
        return "its weight is stored as [K, N], which trains only as it is (freeze=True)"
    return linear_refusal(module)


def _matrices(module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.ndim in (2, 3) and parameter.is_floating_point() and "bias" not in name:
            yield name, parameter


def _others(path, module, pattern):
    """Parameters of other modules that look like weights of products."""
    if isinstance(module, _NO_PRODUCTS):
        return
    for name, parameter in _matrices(module):
        if min(parameter.shape[-2:]) < _LEAST and pattern is None:
            continue
        if parameter.shape[0] == 1 or "embed" in name or "pos" in name:  # tokens and positions
            continue
        own = first_match(_joined(path, name), () if pattern is None else (pattern,)) or pattern
        reason = f'ignored by "{own}"' if own else _why_not(module)
        yield LeftLayer(_joined(path, name), tuple(parameter.shape), reason, own is not None)


def _why_not(module):
    kind = type(module)
    if isinstance(module, torch.nn.MultiheadAttention):
        return "MultiheadAttention multiplies by it in a function of PyTorch's"
    if isinstance(module, torch.nn.Linear):
        return f"{kind.__name__} is a torch.nn.Linear with {', '.join(_own_names(kind)[:4])} of its own"
    return f"{kind.__name__} is no linear layer that quantise knows"


def _joined(path, name):
    if name == "weight":
        return path
    return f"{path}.{name}" if path else name
