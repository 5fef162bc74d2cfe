# SPDX-License-Identifier: Apache-2.0
"""What the parameters of a model are, by the modules that hold them."""

import functools
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.quantizers_utils import should_convert_module

KINDS = {
    "L": "a linear layer [N, K]",
    "W": "a linear layer that stays in float where readers multiply codes: its class keeps it in float32 or uses its weight",
    "F": "a subclass of torch.nn.Linear that multiplies as it does: float in fp8 blocks, whose readers replace the class itself",
    "K": "a linear layer that stays in float by default: an output head, a router, a classifier, a weight that modules share",
    "S": "a subclass of torch.nn.Linear with a product of its own: it stays in float",
    "C": "transformers' Conv1D [K, N]",
    "E": "an embedding: a table of rows that ids choose",
    "X": "experts [E, N, K] or [E, K, N], gate before up",
    "I": "experts whose rows of gate and up alternate",
    "Z": "a linear layer that loading merges into a stack of experts",
    "M": "a part of what loading merges, splits or turns: it stays in float",
    "P": "any other parameter of two or three dimensions",
}
_NAMES = Path(__file__).parents[2] / "python/octavo/torch/models/_names.py"


def _octavo_names():
    """The package's own rule of what stays in float, without the package."""
    spec = importlib.util.spec_from_file_location("_names", _NAMES)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_OWN = _octavo_names()


def parameters(model: torch.nn.Module) -> Iterator[tuple[str, str]]:
    """Each parameter's name, without ".weight", and its kind; of two or three dimensions alone."""
    outputs = getattr(model, "get_output_embeddings", lambda: None)()
    for path, module in model.named_modules(remove_duplicate=False):
        for name, parameter in module._parameters.items():
            if parameter is None or parameter.ndim not in (2, 3) or "bias" in name.split("_"):
                continue
            own = path if name == "weight" else f"{path}.{name}".removeprefix(".")
            if own:
                yield own, _kind(model, path, module, name, module is outputs)


def _kind(model, path, module, name, is_output):
    if name == "weight":
        if isinstance(module, torch.nn.Embedding):
            return "E"
        if type(module) is Conv1D:
            return "C"
        if isinstance(module, torch.nn.Linear) and type(module) is not torch.nn.Linear:
            return {"L": "F", "W": "W"}.get(_linear(model, path, is_output), "S") if _multiplies(type(module)) else "S"
        if isinstance(module, torch.nn.Linear):
            return _linear(model, path, is_output)
    if module._parameters[name].ndim == 3 and name in ("gate_up_proj", "down_proj", "up_proj"):
        return "X" if getattr(module, "is_concatenated", True) else "I"
    return "P"


def _multiplies(cls):
    """Whether a subclass of torch.nn.Linear multiplies as it does. Falcon's has a forward of its own that is the same."""
    own = cls.__mro__[:cls.__mro__.index(torch.nn.Linear)]
    return cls.__name__ == "FalconLinear" or not any("forward" in vars(each) for each in own)


def _linear(model, path, is_output):
    if is_output or _OWN.first_match(path, _OWN.LEFT_IN_FLOAT) is not None:
        return "K"
    kept = [*(model._keep_in_fp32_modules or ()), *(model._keep_in_fp32_modules_strict or ())]
    return "L" if should_convert_module(path, kept) and not _read_past(model, path) else "W"


def _read_past(model, path):
    """Whether the module around it uses its weight itself, as Mamba's fused paths do."""
    around, _, name = path.rpartition(".")
    return name in _weights_used(type(model.get_submodule(around)))


@functools.cache
def _weights_used(cls):
    """Names of a class's children whose weights its code uses for more than their type or place."""
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):
        return frozenset()
    return frozenset(re.findall(r"self\.(\w+)\.weight\b(?!\.(?:dtype|device|shape|data_ptr))", source))
