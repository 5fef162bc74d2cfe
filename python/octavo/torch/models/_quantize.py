# SPDX-License-Identifier: Apache-2.0
"""quantize_: the linear layers and experts of any model, in place."""

import math
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch

from ... import _octavo
from ..layers._fuse import Fusing
from ..layers._schemes import BLOCKS, SCHEMES, SchemeArgument
from ._calibrated_experts import experts_to_calibrate, layers_of_experts
from ._calibration import Calibration
from ._canonical import LAYERS
from ._checkpoint_names import names_in_files
from ._head import head_of, output_head
from ._linear_modules import LeftLayer, candidates, is_conv1d, is_linear
from ._names import LEFT_IN_FLOAT, check_patterns, spellings
from ._read_elsewhere import call_layers_of
from ._replace import set_module
from ._report import LayerError, Report, experts_error
from ._routed_experts import RoutedExperts
from ._scheme_choice import SchemeChoice

_NAMED = 4  # layers that a warning names

_Item = TypeVar("_Item")


def quantize_(model: torch.nn.Module, scheme: SchemeArgument = "int8-dynamic", *,
              ignore: Sequence[str] | None = None, freeze: bool = True,
              progress: bool | None = None, calibration: Calibration | None = None, head: str | None = None,
              fuse: bool = False, rotation: int = 0) -> Report:
    """Swaps the linear layers and experts of a model for layers in 8 bits, in place.

    torch.nn.Linear and its subclasses that add nothing but an __init__, the Conv1D of transformers (GPT-2), and the experts
    of transformers' mixtures (Mixtral, Qwen-MoE, DeepSeek: tensors [E, N, K]), whose activation is silu(gate) * up. Of a model
    with adapters of PEFT what they stand around is quantised, and they stay.

    Args:
        model: any torch.nn.Module, float32, bfloat16 or float16; of one on a CUDA device the layers stay there.
        scheme: "int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8", "int8-weight-only", "fp8-weight-only" or "mxfp8" (also "W8A8",
            "FP8_DYNAMIC", ...). Or a mapping of patterns, as `ignore` has them, to schemes, of which a layer takes the first that
            matches; None, and no match, leave it in float: {"re:.*mlp": "fp8-dynamic", "re:.*": "int8-dynamic"}.
        ignore: layers to leave alone: names, their last parts ("lm_head"), or regular expressions
            as "re:...", matched from the start of the name. None: octavo.torch.LEFT_IN_FLOAT (output heads and
            routers) and the model's output embeddings; a list of your own stands in its place.
        freeze: drop the float weights. False keeps them, for training on.
        progress: True or False; None shows a bar on a terminal.
        calibration: of the model (octavo.torch.calibrate): activations get its static scales, and layers of "llm-int8" its
            outlier columns; experts and layers without a row stay dynamic (folders that `octavo quantize --static` writes
            have static experts).
        head: the scheme of the output head (model.get_output_embeddings()), "int8" and "fp8" for short. None: it stays in float,
            unless `ignore` is a list of your own. A head that shares the embeddings' weight gets codes of its own.
        rotation: "int8-dynamic" and "fp8-dynamic": blocks of 16, 64 or 256 neighbours of each layer's activations, and of its weight's
            rows, are rotated before they are quantised, which spreads outliers (octavo.quantizers.rotate); 0: none. Experts are not.
        fuse: whether layers that read the same activations become one product, as octavo.torch.from_pretrained has it, in modules
            of transformers.

    Returns:
        The per-layer error table, a list of LayerError that prints as one; its `left` names every product that stays in float, and
        why. The new layers get the hooks of forward and backward passes; a layer with hooks of its state, another forward, or a
        weight that is computed of others (weight norm, pruning) stays.

    Raises:
        ValueError: before any layer is swapped: an unknown scheme, a rotation beside another scheme, experts or a calibration, or by a
            block that does not divide a layer's columns, a model that is a linear layer itself, a pattern of `ignore` or of
            `scheme` that decides for nothing, a calibration for other codes or columns, a head that is no linear layer, fuse of layers
            that train.
        RuntimeError: before any layer is swapped: a weight that is not finite.

    Warns:
        UserWarning: of products that stay in float though nobody asked for it; fuse: of layers that stay products of their own.

    Example:
        >>> import torch, octavo.torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        >>> [row.name for row in octavo.torch.quantize_(model, "int8-dynamic")]
        ['0', '2']
        >>> model[2]
        Int8Linear(in_features=16, out_features=4, bias=True, scheme=int8-dynamic, frozen=True)
    """
    choice = SchemeChoice("quantize_", scheme)
    if is_linear(model) or is_conv1d(model):
        raise ValueError("quantize_: model must contain linear layers; got one itself (use "
                         f"octavo.torch.nn.{LAYERS[choice.schemes[0]].__name__}.from_float)")
    if fuse and not freeze:
        raise ValueError("quantize_: fuse must be False where weights train (freeze=False); got True")
    heads = head_of("quantize_", model, head)
    patterns = patterns_of("quantize_", model, ignore)
    rows = _calibrated(model, choice, freeze, calibration)
    linear, experts, left, schemes = candidates(model, choice, patterns, freeze, heads)
    _check_weights([*linear, *experts])
    _check_columns(linear, rows)
    _check_rotation(rotation, choice, linear, experts, calibration)
    report = Report(left=left)
    fusing = Fusing("quantize_", model) if fuse else None
    made: dict[torch.nn.Module, torch.nn.Module] = {}  # by the float layer: one that stands in two places stays one
    for path, layer in _with_bar([*linear, *experts], choice.name, progress):
        weight = None
        if layer not in made:
            if "down_proj" in layer._parameters:
                made[layer], errors = _experts_of(path, layer, schemes[path])
            else:
                made[layer], errors, weight = linear_of(path, layer, schemes[path], freeze, rows.get(path), rotation)
            report.extend(errors)
        set_module(model, path, made[layer])
        if fusing is not None and weight is not None:
            fusing.add(path, weight)
    if fusing is not None:
        fusing.end()
    if not freeze:
        call_layers_of(model)
    warn_of_left("quantize_", left)
    return report


def patterns_of(operation: str, model: torch.nn.Module, ignore: Sequence[str] | None) -> tuple[str, ...]:
    """The layers to leave: a caller's, each of which has to match something, or Octavo's own."""
    names = [path for path, _ in model.named_modules(remove_duplicate=False) if path]
    if ignore is not None:
        if isinstance(ignore, str):
            raise ValueError(f"{operation}: ignore must be a list of patterns; got the string {ignore!r}")
        check_patterns(operation, ignore, [spelling for name in names for spelling in spellings(name)])
        return tuple(ignore)
    head = output_head(model)
    return (*LEFT_IN_FLOAT, *(path for path, module in model.named_modules() if head is not None and module is head))


def warn_of_left(operation: str, left: Iterable[LeftLayer]) -> None:
    """A UserWarning of products that stay in float though nobody asked for it."""
    rows = [row for row in left if not row.asked]
    if not rows:
        return
    named = "; ".join(f"{row.name} {'x'.join(map(str, row.shape))} ({row.reason})" for row in rows[:_NAMED])
    more = f"; and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    warnings.warn(f"{operation}: {len(rows)} weights that may be products stay in float: {named}{more}", stacklevel=3)


def float_linear(layer: torch.nn.Module) -> torch.nn.Linear:
    """The layer as a torch.nn.Linear [N, K] on the same memory."""
    if isinstance(layer, torch.nn.Linear):
        return layer
    weight = layer.get_parameter("weight")
    k, n = weight.shape
    linear = torch.nn.Linear(k, n, device="meta")
    linear.weight = torch.nn.Parameter(weight.detach().T, weight.requires_grad)
    linear.register_parameter("bias", layer._parameters.get("bias"))
    linear.training = layer.training
    return linear


def _calibrated(model, choice, freeze, calibration):
    """Rows of a calibration by the model's names, which may be under those of its files."""
    if calibration is None:
        return {}
    if choice.is_mapping:
        raise ValueError("quantize_: scheme must be one for all layers beside a calibration, which is made for one; got a mapping")
    scheme, = choice.schemes
    if not freeze or SCHEMES[scheme].activation != "token":
        raise ValueError("quantize_: calibration must be None for layers that train and for schemes without one scale for a token "
                         f"(fp8-block, mxfp8, weight-only); got one of {len(calibration)} layers, for {scheme}")
    names = [path for path, _ in model.named_modules()]
    in_files = names_in_files(model, names)
    rows = {path: calibration.get(path, calibration.get(in_files[path])) for path in names}
    found = {path: row for path, row in rows.items() if row is not None}
    code = str(SCHEMES[scheme].dtype).removeprefix("torch.")
    if others := sorted({row.code for row in found.values()} - {code}):
        raise ValueError(f"quantize_: calibration must be for {code}, as {scheme} is; got {', '.join(others)}")
    experts = [name for path, module in experts_to_calibrate(model).known.items()
               for each in layers_of_experts(path, module) for name in each]
    known = {*found, *(in_files[path] for path in found), *experts, *names_in_files(model, experts).values()}
    if lost := sorted(set(calibration) - known):
        raise ValueError(f"quantize_: calibration must be of this model; got layers that it has not: {', '.join(lost[:4])}")
    return found


def _check_weights(layers):
    for path, layer in layers:
        for name in ("weight", "gate_up_proj", "down_proj"):
            weight = layer._parameters.get(name)
            if weight is not None and not weight.is_meta and not _is_finite(weight.detach()):
                raise RuntimeError(f"quantize_: the weight of layer {path!r} must be finite; got NaN or infinity")


def _is_finite(weight):
    return weight.numel() == 0 or all(math.isfinite(value) for value in weight.aminmax())


def _check_columns(layers, calibrated):
    for path, layer in layers:
        columns = layer.weight.shape[0 if is_conv1d(layer) else 1]
        if path in calibrated and calibrated[path].smooth.numel() != columns:
            raise ValueError(f"quantize_: calibration must have {columns} columns for {path!r}; got "
                             f"{calibrated[path].smooth.numel()}")


def _check_rotation(rotation, choice, linear, experts, calibration):
    if not rotation:
        return
    if rotation not in BLOCKS:
        raise ValueError(f"quantize_: rotation must be 0, 16, 64 or 256; got {rotation}")
    if others := [scheme for scheme in choice.schemes if scheme not in ("int8-dynamic", "fp8-dynamic")]:
        raise ValueError(f"quantize_: rotation must come with int8-dynamic or fp8-dynamic; got {', '.join(others)}")
    if calibration is not None:
        raise ValueError("quantize_: rotation must be 0 beside a calibration, which is that of activations as they are; got "
                         f"{rotation}")
    if experts:
        raise ValueError(f"quantize_: rotation must be 0 for models with experts (octavo.moe.pack_experts has it); got {rotation} for "
                         f"{experts[0][0]!r}")
    for path, layer in linear:
        columns = layer.weight.shape[0 if is_conv1d(layer) else 1]
        if columns % rotation:
            raise ValueError(f"quantize_: rotation must divide the {columns} columns of {path!r}; got {rotation}")


def linear_of(path, layer, scheme, freeze, calibrated, rotation=0):
    """The layer in 8 bits, its row of the report, and the weight that it was packed of."""
    linear = float_linear(layer)
    weight = linear.weight.detach().contiguous()
    quantized = _octavo.quantize_weight(weight, scheme, rotation)
    error = _octavo.compare_weight(path, weight, quantized)
    row = LayerError(path, tuple(weight.shape), error.sqnr_db, error.max_error, error.saturated, scheme)
    made = LAYERS[scheme].from_float(linear, False, **({"rotation": rotation} if rotation else {}))
    if calibrated is not None:
        made.use_calibration(calibrated.input_scale, calibrated.outlier_columns, calibrated.threshold)
    if freeze:
        made.freeze(quantized)
    made.stands_for_conv1d = is_conv1d(layer)
    return made, [row], quantized


def _experts_of(path, module, scheme):
    layer = RoutedExperts.empty_like(module, scheme)
    weights = {name: module._parameters[name] for name in ("gate_up_proj", "down_proj")}
    rows = [experts_error(f"{path}.{name}", layer.take(name, weight), scheme) for name, weight in weights.items()]
    layer.take_biases()
    return layer, rows


def _with_bar(layers: list[_Item], scheme: str, progress: bool | None) -> Iterable[_Item]:
    if progress is None:
        progress = sys.stderr.isatty()
    if not progress:
        return layers
    try:
        from tqdm.auto import tqdm
    except ImportError:  # only a bar: the layers are the same without it
        return layers
    return tqdm(layers, desc=f"octavo {scheme}", unit="layer")
