# SPDX-License-Identifier: Apache-2.0
"""calibrate: what the inputs of a model's linear layers and experts look like on real data."""

import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch

from ... import _octavo
from ..layers._quantized_linear import QuantizedLinear
from ..layers._schemes import SCHEMES, SchemeName
from ..models._calibrated_experts import experts_to_calibrate, layers_of_experts, note_inputs
from ..models._calibration import Calibration, Code, LayerCalibration
from ..models._checkpoint_names import names_in_files
from ..models._linear_modules import is_conv1d, is_linear
from ..models._names import first_match
from ..models._peft import left_to_peft
from ..models._quantize import patterns_of
from ._smooth import fed_layers

_Item = TypeVar("_Item")
_HELD = 8  # inputs kept to find layers that read the same one


def calibrate(model: torch.nn.Module, batches: Iterable[Any], scheme: SchemeName = "int8-dynamic", *,
              ignore: Iterable[str] | None = None, threshold: float = 6.0, alpha: float = 0.5,
              progress: bool | None = None, hessian: bool = False) -> Calibration:
    """Runs a model on batches and notes the least and the largest input of every column of its linear layers and experts.

    Static scales, LLM.int8()'s outlier columns and SmoothQuant's factors (Xiao et al., arXiv 2211.10438) follow from them:
    s = max|x|^alpha / max|w|^(1 - alpha) for each column, of layers that read the same input together.

    Experts of a mixture in transformers (Mixtral, Qwen-MoE, DeepSeek, Llama 4, gpt-oss) are layers "x.experts.3.gate_proj",
    "x.experts.3.up_proj" and "x.experts.3.down_proj", each with the rows that are routed to it; their factors are 1. A
    UserWarning says how many experts got no row, which have no calibration, and names experts whose gate is not known.

    Args:
        model: a float model, in eval mode.
        batches: what the model is called with: tensors, tuples of arguments, or mappings of named ones.
        scheme: whose codes static scales are for.
        ignore: layers that are not calibrated, as quantize_ takes them.
        threshold: magnitude from which a column is an outlier column.
        alpha: 0..1, how much of the range goes from activations to weights.
        progress: True or False; None shows a bar on a terminal.
        hessian: note 2/n X^T X of the n inputs X [n, K] of each layer, too, which GPTQ (`octavo quantize --gptq`) goes by:
            4 K^2 bytes for each input that layers read, and each expert has two of its own.

    Returns:
        Calibration, by layer.

    Raises:
        ValueError: no batches, no linear layers or experts, a column that is not finite, with hessian layers that
            read one input in some calls and several in others.

    Example:
        >>> import torch, octavo.torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4))
        >>> found = octavo.torch.calibrate(model, [torch.tensor([[1.0, -2.0, 8.0, 0.0]])])
        >>> found["0"].column_absmax.tolist(), found["0"].outlier_columns
        ([1.0, 2.0, 8.0, 0.0], [2])
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"calibrate: alpha must be in 0..1; got {alpha}")
    code: Code = "int8" if SCHEMES[_octavo.canonical_scheme(scheme)].dtype == torch.int8 else "float8_e4m3fn"
    patterns = patterns_of("calibrate", model, None if ignore is None else tuple(ignore))
    kept = left_to_peft(model)
    layers = {name: layer for name, layer in model.named_modules()
              if name not in kept and (is_linear(layer) or is_conv1d(layer) or isinstance(layer, QuantizedLinear))
              and first_match(name, patterns) is None}
    experts = {path: module for path, module in _experts_of(model).items() if first_match(path, patterns) is None}
    if not layers and not experts:
        raise ValueError("calibrate: model must have linear layers or experts; got none but those to ignore")
    seen = _Seen(hessian)
    hooks = [layer.register_forward_pre_hook(seen.hook(name)) for name, layer in layers.items()]
    hooks += [note_inputs(path, module, seen.note) for path, module in experts.items()]
    count = 0
    try:
        with torch.no_grad():
            for batch in with_bar(batches, "octavo calibrate", progress):
                call(model, batch)
                seen.end_of_batch()
                count += 1
    finally:
        for hook in hooks:
            hook.remove()
    if not count:
        raise ValueError("calibrate: batches must hold at least one; got none")
    of_experts = [each for path, module in experts.items() for each in layers_of_experts(path, module)]
    _warn_of_unrouted([each for each in of_experts if each[0] not in seen.low], len(of_experts))
    factors = _factors(seen, layers, alpha)
    made = {}
    for name in [*layers, *(name for each in of_experts for name in each)]:
        if name not in seen.low:
            continue  # never called on these batches
        low, high = seen.low[name], seen.high[name]
        if not (low.isfinite().all() and high.isfinite().all()):
            raise ValueError(f"calibrate: inputs must be finite; got NaN or infinity in layer {name!r}")
        factor = factors.get(name, torch.ones_like(low))  # no norm feeds an expert alone
        made[name] = LayerCalibration(low, high, factor, threshold, code, seen.hessian_of(name))
    norms = {norm: behind for norm, behind in fed_layers(model).items() if all(name in made for name in behind)}
    return Calibration(made, names_in_files(model, [*made, *norms]), norms)


def _experts_of(model):
    """Modules of experts by their path; a UserWarning names those of which not enough is known."""
    found = experts_to_calibrate(model)
    if found.refused:
        path, why = next(iter(found.refused.items()))
        warnings.warn(f"calibrate: experts must have a gate that is known to be calibrated; got {len(found.refused)} modules "
                      f"that are left out, the first {path!r} ({why})", stacklevel=3)
    return found.known


def _warn_of_unrouted(unrouted, experts):
    if unrouted:
        warnings.warn(f"calibrate: experts must get rows to be calibrated; got {len(unrouted)} of {experts} without one, which "
                      f"are left out, the first {unrouted[0][0].rpartition('.')[0]!r} (more batches may reach them)", stacklevel=3)


def call(model: torch.nn.Module, batch: Any) -> Any:
    """The model on a batch: a tensor, a tuple of arguments, or named ones."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, (tuple, list)) else model(batch)


def with_bar(items: Iterable[_Item], what: str, progress: bool | None) -> Iterable[_Item]:
    """The items, with a bar where one is wanted and tqdm is there."""
    if progress is None:
        progress = sys.stderr.isatty()
    if not progress:
        return items
    try:
        from tqdm.auto import tqdm
    except ImportError:  # only a bar
        return items
    return tqdm(items, desc=what, unit="batch")


class _Seen:
    """Least and largest of each column, sums of products of columns, and which layers read the same tensor."""

    def __init__(self, hessian: bool) -> None:
        self.low: dict[str, torch.Tensor] = {}
        self.high: dict[str, torch.Tensor] = {}
        self.readers: dict[str, set[str]] = {}
        self._hessian = hessian
        self._means: dict[str, tuple[torch.Tensor, int]] = {}  # by the first reader: 2/n X^T X and n
        self._first: dict[str, str] = {}  # of the layers that read what a layer reads
        self._held: list[tuple[torch.Tensor, list[str]]] = []

    def hook(self, name):
        return lambda layer, arguments: self.note(name, arguments[0].detach())

    def note(self, name, x, first=None):
        """That the layer reads x [..., K]. first: of the layers that read what it reads, where that is known."""
        rows = x.reshape(-1, x.shape[-1]).float()
        if not rows.shape[0]:
            return
        low, high = torch.aminmax(rows, dim=0)
        self.low[name] = torch.minimum(self.low[name], low) if name in self.low else low
        self.high[name] = torch.maximum(self.high[name], high) if name in self.high else high
        first = first or self._share(name, x)
        if self._hessian:
            self._add_products(name, first, rows)

    def hessian_of(self, name):
        """2/n X^T X of a layer's inputs: the same tensor for all that read them."""
        return self._means[self._first[name]][0] if self._hessian else None

    def _share(self, name, x):
        """The first layer that reads the tensor."""
        for tensor, names in self._held:
            if tensor.data_ptr() == x.data_ptr() and tensor.shape == x.shape and tensor._version == x._version:
                if name in names:  # called again with it
                    break
                names.append(name)
                self.readers.setdefault(name, set()).update(names)
                return names[0]
        self._held = [*self._held[1 - _HELD:], (x, [name])]
        self.readers.setdefault(name, set()).add(name)
        return name

    def _add_products(self, name, first, rows):
        if self._first.setdefault(name, first) != first:
            raise ValueError(f"calibrate: layers must read one input in every call to have a Hessian; got {name!r}, which reads "
                             f"that of {first!r} now and that of {self._first[name]!r} before")
        if name != first:
            return
        mean, count = self._means.get(name, (torch.zeros((), dtype=torch.float32), 0))
        total = count + rows.shape[0]
        self._means[name] = (mean * (count / total) + rows.T @ rows * (2 / total), total)

    def end_of_batch(self):
        self._held = []


def _factors(seen, layers, alpha):
    """SmoothQuant's factors, the same for all layers that read one input."""
    groups: dict[str, set[str]] = {name: {name} for name in layers}
    for name, others in seen.readers.items():
        merged = set().union(*(groups[other] for other in others), groups[name])
        for member in merged:
            groups[member] = merged
    made: dict[str, torch.Tensor] = {}
    for name in seen.low:
        if name in made or name not in layers:
            continue
        members = [member for member in groups[name] if member in seen.low]
        inputs = torch.stack([torch.maximum(seen.low[m].abs(), seen.high[m].abs()) for m in members]).amax(0)
        weights = torch.stack([_column_absmax(layers[m]) for m in members]).amax(0)
        factor = inputs**alpha / weights ** (1 - alpha)
        usable = (inputs > 0) & (weights > 0) & factor.isfinite() & (factor > 0)
        factor = torch.where(usable, factor, torch.ones((), dtype=torch.float32))
        made.update(dict.fromkeys(members, factor))
    return made


def _column_absmax(layer):
    weight = layer.weight.detach().float()
    return weight.abs().amax(1 if is_conv1d(layer) else 0)
