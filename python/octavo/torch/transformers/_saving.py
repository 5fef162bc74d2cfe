# SPDX-License-Identifier: Apache-2.0
"""transformers' save_pretrained and get_memory_footprint of models that have Octavo's layers.

The folder is written in a dialect that others read: compressed-tensors, fp8 (blocks) or bitsandbytes; experts one by one,
under the names that the model's files have. config.json declares it.
"""

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from .._requirement import need_transformers
from ..layers._layer import EightBitModule
from ..layers._quantized_embedding import QuantizedEmbedding
from ..layers._quantized_linear import QuantizedLinear
from ..models._checkpoint_names import names_in_files, table_of
from ..models._head import output_head
from ..models._linear_modules import is_conv1d, is_linear
from ..models._routed_experts import RoutedExperts, SeparateExperts
from ..moe import FusedMoE
from ._dialect import Json, Kind, exponents, kind_of, packed_codes, quantization_config, row_maxima

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SUFFIX = {"bitsandbytes": "SCB", "fp8": "weight_scale_inv", "compressed-tensors": "weight_scale"}
_ABSENT = object()


def watch_transformers(modeling: ModuleType) -> None:
    """Makes transformers' models save and count Octavo's layers; once."""
    model = modeling.PreTrainedModel
    if hasattr(model.save_pretrained, "_octavo"):
        return
    save, footprint = model.save_pretrained, model.get_memory_footprint

    @functools.wraps(save)
    def save_pretrained(self, save_directory, *args, state_dict=None, experts=None, **options):
        if len(args) > 1:  # is_main_process, state_dict
            state_dict, args = args[1], (args[0], *args[2:])
            if args[1:]:
                raise TypeError("save_pretrained: arguments behind state_dict must be named; got "
                                f"{len(args) - 1} by their place")
        # Of a model with PEFT's adapters only these are written.
        adapters = getattr(self, "_hf_peft_config_loaded", False)
        layers = {} if adapters else frozen_layers(self)
        if state_dict is not None:
            layers = {name: layer for name, layer in layers.items() if _has_codes(name, state_dict)}
        tables = {} if adapters else {name: module for name, module in self.named_modules() if isinstance(module, QuantizedEmbedding)}
        if layers or tables:
            need_transformers("save_pretrained")
        if tables:
            state_dict = _with_float_tables(tables, self.state_dict() if state_dict is None else dict(state_dict))
        if not layers:
            if state_dict is not None:
                options["state_dict"] = state_dict
            return save(self, save_directory, *args, **options)
        form = experts_form(self, layers, experts)
        state, config = declared_state(self, layers, self.state_dict() if state_dict is None else dict(state_dict), form)
        with _declaring(self, config, layers if form == "float" else {}):
            return save(self, save_directory, *args, state_dict=state, **options)

    @functools.wraps(footprint)
    def get_memory_footprint(self, *args, **options):
        return footprint(self, *args, **options) + sum(_packed_bytes(layer) for layer in self.modules())

    save_pretrained._octavo = True  # type: ignore[attr-defined]
    model.save_pretrained = save_pretrained
    model.get_memory_footprint = get_memory_footprint


def _with_float_tables(tables, state):
    """The state with the floats of embeddings in 8 bits, which every reader has."""
    for name, table in tables.items():
        if f"{name}.weight_scale" in state:
            state[f"{name}.weight"] = table.weight.values()
            for part in ("weight_scale", "weight_zero_point"):
                state.pop(f"{name}.{part}", None)
    return state


def frozen_layers(model: torch.nn.Module) -> dict[str, QuantizedLinear | RoutedExperts]:
    """Layers whose state is codes, by name. Raises: NotImplementedError (experts that no dialect has)."""
    found: dict[str, QuantizedLinear | RoutedExperts] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, EightBitModule) and layer.on_ranks:
            raise NotImplementedError(f"save_pretrained: model must have whole weights (save it before it is put on ranks); got "
                                      f"{name!r}, a {type(layer).__name__}")
        if isinstance(layer, SeparateExperts):
            raise NotImplementedError(f"save_pretrained: model must have no experts of llm-int8 (bitsandbytes has none); got {name!r}")
        if isinstance(layer, QuantizedLinear) and layer.frozen:
            if layer._columns is not None:
                raise NotImplementedError(f"save_pretrained: model must have layers whose columns are in order; got {name!r}, "
                                          "whose columns are those of GPTQ's act-order")
            _check_sayable(name, layer)
            found[name] = layer
        elif isinstance(layer, FusedMoE):
            if not isinstance(layer, RoutedExperts):
                raise NotImplementedError(f"save_pretrained: model must have experts that stand for transformers' own; got "
                                          f"{name!r}, {type(layer).__name__}")
            if any((weights.activation or {}).get("rotation") for weights in (layer.w13, layer.w2)):
                raise NotImplementedError(f"save_pretrained: model must have experts whose rows are not rotated; got {name!r}")
            found[name] = layer
    return found


def _check_sayable(name, layer):
    """NotImplementedError for weights that this package's folders have no words for."""
    weight = layer.quantized_weight()
    what = ("zero points" if weight.azp is not None else "codes of uint8" if weight.data.dtype == torch.uint8 else
            f"scales of {weight.scale.dtype}" if weight.scale.dtype != torch.float32 else
            f"rows rotated in blocks of {layer.rotation}" if layer.rotation else
            "activations with scales of powers of two" if layer._rule.get("rounding", "none") != "none" and not kind_of(layer).mx
            else None)
    if what:
        raise NotImplementedError(f"save_pretrained: model must have weights without zero points and scales of float32; "
                                  f"got {name!r}, which has {what}")


def experts_form(model: "PreTrainedModel", layers: dict[str, QuantizedLinear | RoutedExperts], asked: str | None) -> str:
    """How experts are written: "merged" (as parts that transformers merges again), "separate" or "float".

    asked: "separate" or "float", for a class that keeps its experts in one tensor, of which transformers loads no 8-bit
    form; None: such a model is refused. Raises: ValueError, NotImplementedError.
    """
    if asked not in (None, "separate", "float"):
        raise ValueError(f'save_pretrained: experts must be "separate", "float" or None; got {asked!r}')
    stacks = [name for name, layer in layers.items() if isinstance(layer, RoutedExperts)]
    if asked is None and (mx := [name for name in stacks if kind_of(layers[name]).mx]):
        raise NotImplementedError('save_pretrained: experts must be "separate" (a layer each: Octavo loads the folder) or "float" '
                                  "(transformers does, too), since transformers loads no experts of mxfp8; got None, for "
                                  f"{mx[0]!r}")
    if not stacks or (asked != "float" and _splits_experts(model) and not kind_of(layers[stacks[0]]).mx):
        return "merged"
    if asked is None:
        raise NotImplementedError(
            f'save_pretrained: experts must be "separate" (a layer each: Octavo and vLLM load the folder) or "float" '
            f"(transformers does, too), since {type(model).__name__} keeps them in one tensor, of which transformers loads no "
            f"8-bit form; got None, for {stacks[0]!r}")
    return asked


def declared_state(model: "PreTrainedModel", layers: dict[str, QuantizedLinear | RoutedExperts],
                   state: dict[str, torch.Tensor], experts: str = "merged") -> tuple[dict[str, torch.Tensor], Json]:
    """The state in its dialect, under the model's names, and the quantization_config that declares it.

    experts: as experts_form gives it. Raises: ValueError, NotImplementedError (what no dialect can say).
    """
    if experts == "float":
        for name, layer in list(layers.items()):
            if isinstance(layer, RoutedExperts):
                _float_state(name, layer, state, model.dtype)
        layers = {name: layer for name, layer in layers.items() if isinstance(layer, QuantizedLinear)}
    kinds = {name: kind_of(layer) for name, layer in layers.items()}
    if experts == "separate":  # vLLM reads int8 experts in bytes alone
        kinds = {name: kind._replace(packed=False, experts=False) if kind.experts else kind for name, kind in kinds.items()}
    dialects = {kind.dialect for kind in kinds.values()}
    dialect = dialects.pop() if len(dialects) == 1 else "compressed-tensors"
    if dialect == "fp8" and not all(_divisible(layer) for layer in layers.values()):
        dialect = "compressed-tensors"  # transformers' fp8 has no blocks that are cut
    experts_state = _stacked_state if experts == "merged" else _separate_state
    for name, layer in layers.items():
        if isinstance(layer, RoutedExperts):
            experts_state(name, state, dialect, kinds[name])
        else:
            _linear_state(name, state, dialect, kinds[name])
    in_files = names_in_files(model, [*kinds, *_left(model)])
    schemes = [layer.scheme for layer in layers.values() if isinstance(layer, QuantizedLinear)]
    schemes = list(dict.fromkeys(schemes)) or ["int8-dynamic"]
    scheme = schemes[0] if len(schemes) == 1 else "mixed"
    left = sorted({alias for name in _left(model) for alias in (name, in_files[name])})
    config = quantization_config("save_pretrained", {in_files[name]: kind for name, kind in kinds.items()}, left, scheme,
                                 dialect, [in_files[name] for name, layer in layers.items() if layer is output_head(model)])
    if dialect == "bitsandbytes":
        _warn_of_four_dimensions(model, layers)
        columns = {in_files[name]: _columns(layer) for name, layer in layers.items() if _columns(layer)}
        config.update({"llm_int8_outlier_columns": columns} if columns else {})
        if any(isinstance(layer, QuantizedLinear) and layer._rule.get("whole_columns") for layer in layers.values()):
            config["llm_int8_whole_columns"] = True
    return state, config


def _warn_of_four_dimensions(model, layers):
    """bitsandbytes (0.50, MatMul8bitLt) multiplies inputs of two and three dimensions. transformers 5.23 calls the layer that
    expands latent keys and values (DeepSeek-V3 and its relatives) with [batch, 1, tokens, rank]."""
    named = [name for name in layers if name.endswith(".kv_b_proj")
             and hasattr(model.get_submodule(name.rpartition(".")[0]), "expand_kv")]
    if named:
        warnings.warn(f"save_pretrained: {len(named)} layers of llm-int8 get inputs of four dimensions, which bitsandbytes "
                      "cannot multiply: Octavo runs this folder, bitsandbytes only one that was quantised with "
                      f"ignore=[\"kv_b_proj\", ...] (the first: {named[0]!r})", stacklevel=4)


def _columns(layer):
    """LLM.int8()'s fixed outlier columns."""
    columns = layer._rule.get("outlier_columns") if isinstance(layer, QuantizedLinear) else None
    return [] if columns is None else [int(column) for column in columns]


def _linear_state(name, state, dialect, kind):
    scale = state.pop(f"{name}.weight_scale")
    if kind.mx:
        scale = exponents(scale)
    if kind.packed and dialect == "compressed-tensors":
        codes = state.pop(f"{name}.weight")
        state[f"{name}.weight_packed"], state[f"{name}.weight_shape"] = packed_codes(codes), torch.tensor(codes.shape)
    if dialect == "bitsandbytes":
        state[f"{name}.weight_format"] = torch.tensor(0, dtype=torch.uint8)
        scale = row_maxima(scale).reshape(-1)
    state[f"{name}.{_SUFFIX[dialect]}"] = scale


def _splits_experts(model):
    """Whether transformers writes the model's stacks expert by expert."""
    from transformers.core_model_loading import MergeModulelist, WeightConverter

    return any(target.endswith("gate_up_proj") for transform in table_of(model) if isinstance(transform, WeightConverter)
               and any(isinstance(operation, MergeModulelist) for operation in transform.operations)
               for target in transform._original_target_patterns)


def _float_state(name, layer, state, dtype):
    """The floats that a layer's codes stand for, as the model's class keeps them."""
    for ours, theirs, bias in (("w13", "gate_up_proj", "bias13"), ("w2", "down_proj", "bias2")):
        codes, scale = state.pop(f"{name}.{ours}").float(), state.pop(f"{name}.{ours}_scale").float()
        state.pop(f"{name}.{ours}_input_scale", None)
        scale = scale.reshape(*scale.shape[:2], -1)
        for dim in (1, 2):
            cells = scale.shape[dim]
            scale = scale.repeat_interleave(-(-codes.shape[dim] // cells) if cells > 1 else codes.shape[dim], dim)
        values = codes * scale[:, :codes.shape[1], :codes.shape[2]]
        state[f"{name}.{theirs}"] = layer.as_stored(theirs, values).to(dtype)
        if (own := state.pop(f"{name}.{bias}", None)) is not None:
            state[f"{name}.{theirs}_bias"] = layer.as_stored(f"{theirs}_bias", own)


def _stacked_state(name, state, dialect, kind):
    """Names of transformers, and scales that are split as their weights are."""
    for ours, theirs in (("w13", "gate_up_proj"), ("w2", "down_proj")):
        codes, scale = state.pop(f"{name}.{ours}"), state.pop(f"{name}.{ours}_scale")
        static = state.pop(f"{name}.{ours}_input_scale", None)
        if static is not None:
            state[f"{name}.{theirs}_input_scale"] = static.repeat(codes.shape[0], 1)
        if kind.packed:
            rows = codes.shape[1] // 2 if ours == "w13" else codes.shape[1]
            state[f"{name}.{theirs}_packed"] = packed_codes(codes)
            state[f"{name}.{theirs}_shape"] = torch.tensor([[rows, codes.shape[2]]]).repeat(codes.shape[0], 1)
        else:
            state[f"{name}.{theirs}"] = codes
        scale = scale.reshape(*scale.shape[:2], -1)
        state[f"{name}.{theirs}_{_SUFFIX[dialect].removeprefix('weight_')}"] = exponents(scale) if kind.mx else scale


def _separate_state(name, state, dialect, kind):
    """A layer for each expert, as `octavo quantize` writes them, of stacks that transformers keeps whole."""
    for ours, bias, parts in (("w13", "bias13", ("gate_proj", "up_proj")), ("w2", "bias2", ("down_proj",))):
        codes, scale = state.pop(f"{name}.{ours}"), state.pop(f"{name}.{ours}_scale")
        beside = {"input_scale": state.pop(f"{name}.{ours}_input_scale", None), "bias": state.pop(f"{name}.{bias}", None)}
        scale = scale.reshape(*scale.shape[:2], -1)
        rows = codes.shape[1] // len(parts)
        if scale.shape[1] != 1 and rows % -(-codes.shape[1] // scale.shape[1]):
            raise NotImplementedError(f"save_pretrained: experts must have blocks of scales that gate and up do not share; got "
                                      f"{name!r}, {rows} rows each")
        scales = scale.chunk(len(parts), 1) if scale.shape[1] != 1 else [scale] * len(parts)
        for part, all_codes, all_scales, biases in zip(parts, codes.chunk(len(parts), 1), scales,
                                                       _chunks(beside["bias"], len(parts))):
            for expert in range(codes.shape[0]):
                layer = f"{name}.{expert}.{part}."
                state[f"{layer}weight"] = all_codes[expert].clone()
                state[layer + _SUFFIX[dialect]] = exponents(all_scales[expert]) if kind.mx else all_scales[expert].clone()
                if beside["input_scale"] is not None:
                    state[f"{layer}input_scale"] = beside["input_scale"].reshape(1).clone()
                if biases is not None:
                    state[f"{layer}bias"] = biases[expert].clone()


def _chunks(tensor, count):
    return [None] * count if tensor is None else tensor.chunk(count, 1)


def _divisible(layer):
    sizes = (layer.w13.n // 2, layer.w13.k, layer.w2.n) if isinstance(layer, RoutedExperts) else \
        (layer.in_features, layer.out_features)
    return all(size % 128 == 0 or size < 128 for size in sizes)  # transformers takes the block from the number of scales


def _left(model):
    """Linear layers and routers in float."""
    for name, module in model.named_modules():
        if is_linear(module) or is_conv1d(module):
            yield name
        elif not isinstance(module, (torch.nn.Embedding, EightBitModule)):
            weight = module._parameters.get("weight")
            if weight is not None and weight.ndim == 2:
                yield name


@contextmanager
def _declaring(model: "PreTrainedModel", config: Json,
               in_float: dict[str, QuantizedLinear | RoutedExperts]) -> Iterator[None]:
    """The model as save_pretrained has to see it: what it splits and renames, and what its config.json says.

    in_float: experts whose floats are written, which transformers asks for the shapes of their parameters.
    """
    from transformers.core_model_loading import WeightConverter

    from ._spread import OfEachExpert

    table = list(table_of(model))
    for transform in list(table):
        if isinstance(transform, WeightConverter) and all(s.endswith(".weight") for s in transform._original_source_patterns):
            for suffix in ("_scale", "_scale_inv", "_packed", "_shape", "_input_scale"):
                small = suffix in ("_shape", "_input_scale")
                operations = [OfEachExpert()] if small else list(transform.operations)
                sources = [s.removesuffix("weight") + "input_scale" if suffix == "_input_scale" else s + suffix
                           for s in transform._original_source_patterns]
                table.append(transform.copy(sources,
                                            [t + suffix for t in transform._original_target_patterns], operations=operations))
    changes: list[tuple[Any, str, Any]] = [(model, "_weight_conversions", table), (model, "hf_quantizer", None),
                                           (model.config, "quantization_config", config)]
    if _untied(model):
        changes.append((model.config, "tie_word_embeddings", False))
    for layer in in_float.values():
        if isinstance(layer, RoutedExperts):
            shapes = {name: layer.as_stored(name, torch.empty(weight.experts, weight.n, weight.k, device="meta"))
                      for name, weight in (("gate_up_proj", layer.w13), ("down_proj", layer.w2))}
            changes.append((layer, "_parameters", {**layer._parameters, **{name: torch.nn.Parameter(shape, False)
                                                                           for name, shape in shapes.items()}}))
    before = [(owner, name, vars(owner).get(name, _ABSENT)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


def _untied(model):
    """Whether an output head that was tied to the embeddings has codes of its own."""
    head = output_head(model)
    return isinstance(head, QuantizedLinear) and head.frozen


def _has_codes(name, state):
    return f"{name}.weight_scale" in state or f"{name}.w13_scale" in state


def _packed_bytes(layer):
    if isinstance(layer, QuantizedEmbedding) or isinstance(layer, QuantizedLinear) and layer.frozen:
        return layer._packed.nbytes
    if isinstance(layer, FusedMoE):
        return sum(vars(layer)[name].nbytes for name in ("w13", "w2") if name in vars(layer))
    return 0


__all__ = ["Kind", "declared_state", "frozen_layers", "watch_transformers"]
