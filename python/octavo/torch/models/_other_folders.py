# SPDX-License-Identifier: Apache-2.0
"""Libraries whose folders cannot say that a model has layers in 8 bits: they refuse, instead of files that load as floats.

diffusers' save_pretrained writes codes, and its loader takes these for a weight. huggingface_hub's PyTorchModelHubMixin loads
codes into whatever its class makes: right where that are Octavo's layers, wrong where they are torch.nn.Linear.
"""

import functools
from types import ModuleType
from typing import Any

import torch

from .._when_imported import when_imported
from ..layers._layer import EightBitModule


def watch_other_folders() -> None:
    """Makes these libraries refuse, once they are imported."""
    when_imported("diffusers.models.modeling_utils", _watch_diffusers)
    when_imported("huggingface_hub.hub_mixin", _watch_mixin)


def _watch_diffusers(modeling: ModuleType) -> None:
    mixin = getattr(modeling, "ModelMixin", None)
    if mixin is None or hasattr(mixin.save_pretrained, "_octavo"):
        return
    save: Any = mixin.save_pretrained

    @functools.wraps(save)
    def save_pretrained(self: Any, *args: Any, **options: Any) -> Any:
        for name, layer in self.named_modules():
            if isinstance(layer, EightBitModule) and layer._parameters.get("weight") is None:
                raise NotImplementedError("save_pretrained: model must have weights of floats (a folder of diffusers cannot declare "
                                          "Octavo's codes: save the float model and quantize_ it once it is loaded, or take "
                                          f"safetensors.torch.save_model and load_model); got {name!r}, {type(layer).__name__}")
        return save(self, *args, **options)

    save_pretrained._octavo = True  # type: ignore[attr-defined]
    mixin.save_pretrained = save_pretrained


def _watch_mixin(hub_mixin: ModuleType) -> None:
    mixin = getattr(hub_mixin, "PyTorchModelHubMixin", None)
    load: Any = getattr(mixin, "_load_as_safetensor", None)
    if load is None or hasattr(load, "_octavo"):
        return
    theirs = load.__func__

    @functools.wraps(theirs)
    def load_as_safetensor(cls: Any, model: torch.nn.Module, model_file: str, *args: Any, **options: Any) -> Any:
        from safetensors import safe_open

        with safe_open(model_file, "pt") as file:
            scaled = [key.removesuffix("_scale") for key in file.keys() if key.endswith(".weight_scale")]
        for name in scaled:
            layer = _module(model, name.rpartition(".")[0])
            if isinstance(layer, torch.nn.Linear) and not isinstance(layer, EightBitModule):
                raise ValueError(f"from_pretrained: {cls.__name__} must make Octavo's layers for codes (quantize_(self) at the end of "
                                 f"its __init__; octavo.torch.load_ reads the file into a float model); got {type(layer).__name__} for "
                                 f"{name!r}")
        return theirs(cls, model, model_file, *args, **options)

    load_as_safetensor._octavo = True  # type: ignore[attr-defined]
    mixin._load_as_safetensor = classmethod(load_as_safetensor)  # type: ignore[union-attr]


def _module(model: torch.nn.Module, path: str) -> torch.nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None
