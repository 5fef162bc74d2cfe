# SPDX-License-Identifier: Apache-2.0
"""Quantised folders into models: from_pretrained for transformers' models, load_ for one's own."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from .._requirement import need_transformers
from ..layers._schemes import SchemeArgument
from ..models._replace import set_module
from ..operators._dtypes import from_numpy
from ._from_folder import FolderLayers
from ._register import octavo_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def from_pretrained(path: str | os.PathLike[str], scheme: SchemeArgument | None = None, *, model_class: Any = None,
                    ignore: Sequence[str] | None = None, head: str | None = None, fuse: bool = False, strict: bool = False,
                    trust_remote_code: bool = False, **options: Any) -> "PreTrainedModel":
    """A model of transformers on Octavo's layers, of a quantised folder or of a float one.

    A quantised folder may be of any dialect that Octavo reads. Activations are quantised as it says: static scales and zero
    points are used, and layers of a weight-only dialect multiply activations as they are. With a scheme a float folder is quantised
    while it loads, as by OctavoConfig. The model is made on the meta device; layers are read and packed one after the other.

    Args:
        path: the folder, or a model's name on the hub.
        scheme: of a float folder, as octavo.torch.quantize_ takes it. None: the folder is quantised.
        ignore, head: of a float folder, the layers to leave in float and the output head's scheme, as octavo.torch.quantize_ takes
            them.
        model_class: transformers' class, or AutoModelFor...; None: the one that config.json names.
        fuse: whether layers that read the same activations (query, key and value; gate and up) become one product, which has
            the same bits and takes less time for few rows. They stay modules with their names, states and biases. A
            UserWarning names layers that differ in scheme, activation rule or bias and stay products of their own.
        strict: whether every quantised layer of the folder has to have a place in the model. Else those without are passed
            over, as transformers does with what its class does not know: a layer of multi-token prediction, the decoder
            of a T5 whose encoder alone is loaded. A UserWarning names those that the class does not list.
        trust_remote_code: whether Python code of the folder may run (its `auto_map`, its custom_generate). False: it never
            does, and nobody is asked.
        options: of transformers' from_pretrained (dtype, device_map, attn_implementation, ...).

    Returns:
        The model, in eval mode; with a scheme model.hf_quantizer.report says what quantising did.

    Raises:
        ValueError: a float folder without a scheme, a quantised one with a scheme, strict and a layer without a place, a
            model that only the folder's own code describes.
        NotImplementedError: a device_map that is not one device with kernels.
        RuntimeError: what is malformed.
        ImportError: no transformers.

    Example:
        >>> import copy, torch, transformers, octavo.torch
        >>> sizes = dict(vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
        >>> model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).eval()
        >>> ids = torch.arange(32)[None]
        >>> model.save_pretrained("float")
        >>> quantized = octavo.torch.from_pretrained("float", "fp8-dynamic")
        >>> quantized.save_pretrained("fp8")
        >>> torch.equal(octavo.torch.from_pretrained("fp8")(ids).logits, quantized(ids).logits)
        True
    """
    if scheme is not None and not isinstance(scheme, (str, Mapping)):
        warnings.warn("from_pretrained: the model's class is the keyword model_class; the second argument is scheme", DeprecationWarning,
                      stacklevel=2)
        scheme, model_class = None, scheme
    for name, value in (("ignore", ignore), ("head", head)):
        if scheme is None and value is not None:
            raise ValueError(f"from_pretrained: {name} must be None without a scheme; got {value!r}")
    need_transformers("from_pretrained")
    import transformers

    chosen_config = None if scheme is None else octavo_config()(scheme, ignore, head=head, fuse=fuse)

    config = options.pop("config", None) or \
        transformers.AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
    inner = config.get_text_config(decoder=True)
    declared = [vars(part).pop("quantization_config", None) for part in (config, inner)]
    named = getattr(config, "architectures", None) or ["AutoModel"]
    chosen = model_class or getattr(transformers, named[0], transformers.AutoModel)
    part = getattr(chosen, "config_class", None)
    if part is not None and not isinstance(config, part):  # CLIPTextModel of a CLIP: a part of the model and its configuration
        config = part.from_pretrained(path, trust_remote_code=trust_remote_code)
    if "dtype" not in options:
        options["dtype"] = getattr(config, "dtype", None) or torch.float32
    how = declared[0] or declared[1]
    if chosen_config is not None and how:
        raise ValueError("from_pretrained: scheme must be None for a folder that is quantised already; got "
                         f"{scheme!r} for {os.fspath(path)}, whose quantization_config has {_method(how)!r}")
    quantized = chosen_config or octavo_config().of_folder(how, fuse, strict)
    return chosen.from_pretrained(path, config=config, quantization_config=quantized, trust_remote_code=trust_remote_code,
                                   **options)


def _method(declared):
    return declared.get("quant_method") if isinstance(declared, dict) else getattr(declared, "quant_method", None)


def load_(model: torch.nn.Module, path: str | os.PathLike[str], strict: bool = True, *, fuse: bool = False) -> torch.nn.Module:
    """Loads a quantised file or folder into a model of one's own, in place: its quantised layers become Octavo's.

    The model may be on the meta device. Layers have the names of the file's (transformers' models: those that
    transformers gives them).

    Args:
        model: whose torch.nn.Linear layers are named as the file's.
        path: a safetensors file or a folder, of any dialect that Octavo reads.
        strict: whether every tensor has to have its place, and every place its tensor.
        fuse: as from_pretrained's, in modules of transformers.

    Returns:
        Model.

    Raises:
        ValueError: nothing is quantised, a layer without a place.
        RuntimeError: missing or unexpected names as torch.nn.Module.load_state_dict says them; what is malformed.

    Example:
        >>> import numpy, torch, octavo, octavo.torch
        >>> weight = octavo.checkpoints.quantize_weight(numpy.eye(32, dtype=numpy.float32))
        >>> octavo.checkpoints.write_checkpoint("own.safetensors", {"0": weight}, {"0.bias": numpy.zeros(32, numpy.float32)})
        >>> octavo.torch.load_(torch.nn.Sequential(torch.nn.Linear(32, 32)), "own.safetensors")
        Sequential(
          (0): Int8Linear(in_features=32, out_features=32, bias=True, scheme=int8-dynamic, frozen=True)
        )
    """
    layers = FolderLayers("load_", os.fspath(path), model, strict)
    file = layers.file
    own = set(layers.keys())
    floats = [p.dtype for p in model.parameters() if p.is_floating_point()]
    rest = {layers.names.of(key)[0]: key for key in file.keys() if key not in own}
    again = _other_places(model, layers.paths)
    places = {name for name in layers.float_places(model) if not name.startswith(tuple(f"{path}." for path in again))}
    if strict and rest.keys() != places:
        raise RuntimeError(f"load_: tensors must be those of the model; missing: {_listed(places - rest.keys())}; "
                           f"unexpected: {_listed(rest.keys() - places)}")
    layers.make_room(model)
    state = {name: from_numpy(file.tensor(key)) for name, key in rest.items() if name in places}
    model.load_state_dict(state, strict=False, assign=True)
    layers.fill(model, floats[0] if floats else torch.float32)
    for path, first in again.items():
        set_module(model, path, model.get_submodule(first))
    if fuse:
        layers.fuse(model)
    return model


def _other_places(model, paths):
    """Where else in a model modules stand: the place among `paths`, by the other one."""
    first = {id(model.get_submodule(path)): path for path in paths}
    return {path: first[id(module)] for path, module in model.named_modules(remove_duplicate=False)
            if id(module) in first and path not in paths}


def _listed(names):
    return ", ".join(sorted(names)) or "none"
