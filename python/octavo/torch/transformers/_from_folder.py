# SPDX-License-Identifier: Apache-2.0
"""Quantised layers of a checkpoint in the places of a model's float layers."""

import re
import warnings
from collections.abc import Iterable

import torch

from ..._checkpoint import fuse, open_checkpoint
from ..layers._fuse import fuse_layers
from ..layers._layer import FLOATS, EightBitModule
from ..layers._quantized_embedding import QuantizedEmbedding
from ..layers._quantized_linear import QuantizedLinear
from ..models._canonical import ExpertParts, experts_of, layer_of
from ..models._checkpoint_names import CheckpointNames, Part
from ..models._expert_gate import interleaves, without_weights
from ..models._linear_modules import is_conv1d, multiplies
from ..models._names import nearest
from ..models._replace import linear_refusal, refusal, set_module
from ..models._routed_experts import experts_refusal, is_experts
from ..operators._dtypes import from_numpy


# What quantises a float folder.
_OF_FLOATS = {"from_pretrained": "of a float folder, scheme=\"int8-dynamic\" and its like quantise layers while they load",
              "load_": "load the float model as it is, then octavo.torch.quantize_ it"}


class Awaiting(torch.nn.Module):
    """Stands where a layer of a checkpoint will be: it has the float layer's bias, and for code that looks at layers
    (transformers, which makes up what is missing) its numbers and flags, and weights of its shapes without memory."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.register_parameter("bias", layer._parameters.get("bias"))
        self.stands_for_conv1d = is_conv1d(layer)
        if is_experts(layer):
            object.__setattr__(self, "experts", without_weights(layer))
        for name, value in vars(layer).items():
            if name not in vars(self) and isinstance(value, (bool, int, float, str)):
                setattr(self, name, value)
        for name in ("weight", "gate_up_proj", "down_proj"):
            if name in layer._parameters or name == "weight" and isinstance(layer, QuantizedLinear):
                nothing = torch.empty(getattr(layer, name).shape, device="meta")
                nothing._is_hf_initialized = True  # type: ignore[attr-defined]
                object.__setattr__(self, name, nothing)


class FolderLayers:
    """The quantised layers of a file or folder, and where in a model they belong.

    strict: whether each layer has to have a place. Else those without are passed over, as transformers does: in silence
    where the model's class lists their names, with a UserWarning where it does not.
    Raises: ValueError (nothing is quantised; a layer that the model has no place for; none that it has).
    """

    def __init__(self, operation: str, path: str, model: torch.nn.Module, strict: bool = True) -> None:
        self._operation = operation
        self.file = open_checkpoint(path)
        self.layers = self.file.quantized_layers()
        if not self.layers:
            raise ValueError(f"{operation}: folder must have quantised layers ({_OF_FLOATS[operation]}); got {path}, which has none")
        for rule in self.file.unapplied_rules():
            warnings.warn(f"{operation}: {rule}", stacklevel=3)
        self.names = names = CheckpointNames(model)
        self._keys = set(self.file.keys())
        self._stacks = {self.file.layers_of_experts(stack)[0]: stack for stack in self.file.quantized_experts()}
        self._linear: dict[str, str] = {}  # layers of the file by the model's module
        self._shapes: dict[str, tuple[int, ...]] = {}  # [N, K] by the model's module
        self._tables: dict[str, str] = {}  # embeddings of the file by the model's module
        self._experts: dict[str, dict[str, list[Part]]] = {}  # by module, then gate_up_proj and down_proj
        passed_over = []
        for name, parts in names.parts(self.layers).items():
            if name.endswith(".weight") and name.removesuffix(".weight") in names:
                self.file.weight(parts[0].layer)  # a parameter of the model, and no layer that is read: says why
            if not strict and _module(model, name.rpartition(".")[0]) is None:
                passed_over.extend(part.layer for part in parts)
            else:
                self._place(model, name, parts)
        self._warn_of(model, passed_over)
        self.own_keys = [name for key in self.keys() for name in {key, names.of(key)[0]}]

    @property
    def paths(self) -> set[str]:
        """The modules that the layers replace."""
        return {*self._linear, *self._tables, *self._experts}

    def keys(self) -> list[str]:
        """Tensors of the file that belong to quantised layers; biases do not."""
        layers = set(self.layers)
        experts = {part.layer for weights in self._experts.values() for parts in weights.values() for part in parts}
        stacks = tuple(self._stacks.values())
        return [key for key in self.file.keys()
                if (key.rpartition(".")[0] in (experts if key.endswith(".bias") else layers))
                or key.startswith(stacks) or _of_experts(key, layers)]

    def _warn_of(self, model, passed_over):
        if passed_over and not self.paths:
            raise ValueError(f"{self._operation}: folder must have layers of {type(model).__name__}; got {len(passed_over)} "
                             f"quantised layers that it has no place for, the first {passed_over[0]!r}")
        known = [re.compile(pattern) for pattern in getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()]
        told = [layer for layer in passed_over if not any(pattern.search(layer + ".weight") for pattern in known)]
        if told:
            warnings.warn(f"{self._operation}: {len(told)} quantised layers of the folder have no place in "
                          f"{type(model).__name__} and are passed over, the first {told[0]!r}", stacklevel=4)

    def _place(self, model, name, parts):
        path, _, parameter = name.rpartition(".")
        module = _module(model, path)
        linear = isinstance(module, QuantizedLinear) or module is not None and (multiplies(module) or is_conv1d(module))
        if parameter == "weight" and linear:
            self._linear[path] = parts[0].layer
            shape = tuple(module.weight.shape)
            self._shapes[path] = shape[::-1] if is_conv1d(module) else shape
        elif parameter == "weight" and isinstance(module, (torch.nn.Embedding, QuantizedEmbedding)):
            if why := _table_refusal(model, path, module):
                raise NotImplementedError(f"{self._operation}: embedding {parts[0].layer!r} of 8 bits must {why}")
            self._tables[path] = parts[0].layer
            self._shapes[path] = tuple(module.weight.shape)
        elif module is not None and is_experts(module) and parameter in ("gate_up_proj", "down_proj"):
            if why := experts_refusal(module, "int8-dynamic", True):
                raise NotImplementedError(f"{self._operation}: experts {path!r} must be gate, up and down ({why}); got "
                                          f"{type(module).__name__}")
            self._experts.setdefault(path, {})[parameter] = parts
        else:
            names = [key.rpartition(".")[0] for key in model.state_dict()]
            near = nearest(path, names)
            hint = f" (nearest: {near!r})" if near else ""
            got = "none" if module is None else type(module).__name__
            raise ValueError(f"{self._operation}: layer {parts[0].layer!r} of the folder must be a linear layer or an embedding of the model"
                             f"{hint}; got {got} at {path!r}")

    def float_places(self, model: torch.nn.Module) -> set[str]:
        """Names in the model's state that its quantised layers do not replace."""
        gone = {key for path in self.paths for key in _state_names(model.get_submodule(path), path)}
        return set(model.state_dict()) - gone

    def make_room(self, model: torch.nn.Module) -> None:
        """Float weights that the layers replace go; a model on the meta device never has them."""
        paths = (*self._linear, *self._tables, *self._experts)
        kept = {path: (linear_refusal if path in self._linear else refusal)(model.get_submodule(path)) for path in paths}
        if lost := [f"{path} ({why})" for path, why in kept.items() if why]:
            more = f"; and {len(lost) - 1} more layers" if len(lost) > 1 else ""
            warnings.warn(f"{self._operation}: layers lose what was added to them: {lost[0]}{more}", stacklevel=3)
        for path in paths:
            set_module(model, path, Awaiting(model.get_submodule(path)))

    def fill(self, model: torch.nn.Module, dtype: torch.dtype) -> None:
        """Reads and packs one layer after the other. dtype: of the float weights that they stand for."""
        for path, layer in self._linear.items():
            old = model.get_submodule(path)
            bias = old._parameters.get("bias")
            own = bias.dtype if bias is not None and bias.dtype in FLOATS else dtype
            bias = None if bias is None else bias.detach()
            place = getattr(old, "place", None)  # on ranks, of a tensor-parallel plan
            made: EightBitModule
            if place is None:
                weight = self.file.weight(layer)
                self._check_shape(layer, path, weight.quantized.data.shape)
                made = layer_of(weight, bias, own)
                made.stands_for_conv1d = getattr(old, "stands_for_conv1d", False)
            else:
                made = place.read(self.file, layer, bias, own)
                self._check_shape(layer, path, (made.out_features, made.in_features))
            made.training = old.training
            set_module(model, path, made)
        for path, layer in self._tables.items():
            old, weight = model.get_submodule(path), self.file.weight(layer)
            self._check_shape(layer, path, weight.quantized.data.shape)
            table = QuantizedEmbedding(weight, dtype, getattr(old, "padding_idx", None))
            table.training = old.training
            set_module(model, path, table)
        for path, weights in self._experts.items():
            old = model.get_submodule(path)
            gate_up, down = (self._stacked(weights[name], path, interleaves(old.experts) and name == "gate_up_proj")
                             for name in ("gate_up_proj", "down_proj"))
            experts = experts_of(old.experts, gate_up, down, dtype)
            experts.training = old.training
            set_module(model, path, experts)

    def _check_shape(self, layer, path, shape):
        if tuple(shape) != self._shapes[path]:
            raise ValueError(f"{self._operation}: layer {layer!r} of the folder must have a weight [N, K] of "
                             f"{list(self._shapes[path])}; got {list(shape)}")

    def fuse(self, model: torch.nn.Module) -> None:
        """Makes layers that read the same activations one product where that changes no bit; after `fill`."""
        fuse_layers(self._operation, model, lambda path: self.file.weight(self._linear[path]))

    def _stacked(self, parts, path, interleaved):
        """The weight and the bias of each expert, from its parts (gate, up) in the order of rows.

        interleaved: whether a bias of the stack has gate and up in turn.
        """
        by_source: dict[str, list[str]] = {}
        for part in parts:
            by_source.setdefault(part.source, []).append(part.layer)
        sources = list(by_source.values())
        if len({len(layers) for layers in sources}) != 1:
            raise ValueError(f"{self._operation}: experts of {path!r} must all be quantised; got "
                             f"{' and '.join(str(len(layers)) for layers in sources)} of them")
        made = [fuse([self.file.weight(layer) for layer in layers]) if len(layers) > 1 else self.file.weight(layers[0])
                for layers in zip(*sources)]
        return ExpertParts(made, self._bias(sources, path, interleaved))

    def _bias(self, sources, path, interleaved):
        """Biases [E, N] of experts, which lie beside the layers or in one tensor beside their stack."""
        if stack := self._stacks.get(sources[0][0]):
            if f"{stack}_bias" not in self._keys:
                return None
            bias = from_numpy(self.file.tensor(f"{stack}_bias"))
            return torch.cat((bias[:, ::2], bias[:, 1::2]), 1) if interleaved else bias
        there = {f"{layer}.bias" in self._keys for layers in sources for layer in layers}
        if there == {True, False}:
            raise ValueError(f"{self._operation}: experts of {path!r} must all have a bias, or none; got some with one")
        if there == {False}:
            return None
        return torch.stack([torch.cat([from_numpy(self.file.tensor(f"{layer}.bias")) for layer in layers])
                            for layers in zip(*sources)])


def _table_refusal(model, path, module):
    """What an embedding of the model has to be, where its place cannot take codes; None where it can."""
    if type(module) not in (torch.nn.Embedding, QuantizedEmbedding):
        return f"stand for a torch.nn.Embedding; got {type(module).__name__}, which computes more than rows of its table"
    if getattr(module, "max_norm", None) is not None:
        return f"stand for a torch.nn.Embedding without max_norm; got {module.max_norm}"
    heads = [head for head, table in (getattr(model, "all_tied_weights_keys", None) or {}).items() if table == f"{path}.weight"]
    if heads:
        return f"not be shared (tie_word_embeddings: false); got one that {heads[0]!r} shares"
    return None


def unexpected_patterns(names: Iterable[str]) -> set[str]:
    """Regular expressions of names, one for all layers that differ by their number."""
    return {"^" + re.sub(r"\d+", r"\\d+", re.escape(name)) + "$" for name in names}


def _of_experts(key, layers):
    """Whether a tensor is the scale of experts that are one tensor: experts.gate_up_proj_scale."""
    return any(key.startswith(layer + "_") for layer in layers) if "experts" in key else False


def _state_names(module, path):
    return [f"{path}.{name}" for name in module.state_dict() if name != "bias"]


def _module(model, path):
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None
