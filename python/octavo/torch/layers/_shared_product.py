# SPDX-License-Identifier: Apache-2.0
"""One product for layers that read the same activations: query, key and value; gate and up.

Each layer stays a module with its own name, state and bias. The one that is called first multiplies for all of them; the
others, called with the same tensor, take their columns of the result.
"""

import copy
import itertools
import threading
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from ... import _octavo
from ..._octavo import PackedWeight, Quantized
from ..operators._library import as_gradient, first_order
from ..operators._linear import call_linear, handle_of
from ._layer import autocast
from ._versions import steps_taken


class PackedRows:
    """The rows of a packed weight that are one layer's, for code that reads a layer's codes."""

    def __init__(self, packed: PackedWeight, begin: int, own: Quantized) -> None:
        """own: the layer's codes and scales [N, K] before they were stacked; of it the scales are kept."""
        self.packed = packed
        self.n, self.k = own.data.shape
        self._begin, self._scale, self._azp, self._grid = begin, own.scale, own.azp, (own.rows, own.cols)

    def unpack(self, like: torch.Tensor) -> Quantized:
        """As PackedWeight.unpack: [K, N]. The bits are those that the layer had alone."""
        codes = self.packed.unpack(like).T.data[self._begin:self._begin + self.n].clone()
        return Quantized(codes, self._scale, self._azp, *self._grid).T

    def product(self, x: torch.Tensor, bias: torch.Tensor | None, batch_invariant: bool) -> torch.Tensor:
        """x W^T + bias of these rows; the kernel multiplies the others, too."""
        wide = None
        if bias is not None:
            before, after = self._begin, self.packed.n - self._begin - self.n
            wide = torch.nn.functional.pad(bias, (before, after))
        y = call_linear(x, wide, None, handle_of(self.packed), batch_invariant, None)
        return y[..., self._begin:self._begin + self.n]

    @property
    def activation(self) -> dict[str, Any] | None:
        """As of a PackedWeight."""
        return self.packed.activation

    @property
    def device(self) -> str:
        """As of a PackedWeight."""
        return self.packed.device

    def at(self, packed: PackedWeight) -> "PackedRows":
        """The same rows of the whole where that was brought to another device."""
        if packed is self.packed:
            return self
        rows = copy.copy(self)
        rows.packed = packed
        rows._scale, rows._azp = (None if value is None else value.to(packed.device) for value in (self._scale, self._azp))
        return rows

    @property
    def nbytes(self) -> int:
        """Its share of the whole; the shares of all layers add up to it."""
        whole, rows = self.packed.nbytes, self.packed.n
        return whole * (self._begin + self.n) // rows - whole * self._begin // rows


def _seen(tensor):
    """What a tensor holds now, as far as writes to it leave a trace; of an inference tensor, whose writes nothing counts, a
    copy."""
    if tensor is None:
        return None
    if tensor.is_inference():
        return tensor, tensor.clone()
    return tensor, tensor._version, tensor.data_ptr() if type(tensor) in _PLAIN else 0


def _still(seen, tensor):
    """Whether it is the tensor of `seen`, not written since."""
    if seen is None or tensor is not seen[0]:
        return seen is tensor
    if len(seen) == 2:
        return torch.equal(tensor, seen[1])
    return tensor._version == seen[1] and (not seen[2] or tensor.data_ptr() == seen[2])


_PLAIN = (torch.Tensor, torch.nn.Parameter)


def _bias_of(layer):
    own = layer._parameters  # a layer's attribute takes longer
    return own["bias"] if "bias" in own else layer.bias


class _Result(NamedTuple):
    """What a product gave, for the layers that have not asked for it yet."""

    x: tuple[Any, ...]  # as _seen gives it
    biases: list[tuple[Any, ...] | None]
    modes: tuple[Any, ...]
    y: torch.Tensor  # without a graph
    waiting: set[int]

    def of(self, place: int, x: torch.Tensor, bias: torch.Tensor | None, modes: tuple[Any, ...]) -> bool:
        return place in self.waiting and modes == self.modes and _still(self.x, x) and _still(self.biases[place], bias)


class _Columns(torch.autograd.Function):
    """One layer's columns of a product that was made for several. Its graph and its gradients are that layer's alone."""

    @staticmethod
    def forward(ctx, x, bias, product, place, y):
        ctx.save_for_backward(x)
        ctx.product, ctx.place, ctx.dtype = product, place, y.dtype
        ctx.bias = None if bias is None else (bias.dtype, bias.device)
        return product.of(place, y).clone()  # which may be written in place

    @staticmethod
    def backward(ctx, grad):
        x, = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        whole = grad.new_zeros((*grad.shape[:-1], ctx.product.n))
        ctx.product.of(ctx.place, whole).copy_(grad)
        bias = None if ctx.bias is None else torch.empty(ctx.product.n, dtype=ctx.bias[0], device=grad.device)
        found = iter(_octavo.linear_vjp(as_gradient(whole), list(wanted), x, ctx.product.packed, bias, ctx.dtype))
        of_x, of_bias = (next(found) if want else None for want in wanted)
        if of_bias is not None:
            of_bias = ctx.product.of(ctx.place, of_bias).to(dtype=ctx.bias[0], device=ctx.bias[1])
        return (*first_order("linear", (grad,), (of_x, of_bias)), None, None, None)


class SharedProduct:
    """The stacked weight of several layers [N0 + N1 + ..., K]."""

    def __init__(self, packed: PackedWeight, layers: Sequence[Any]) -> None:
        self.packed = packed
        self.layers = list(layers)
        ends = list(itertools.accumulate((layer.out_features for layer in layers), initial=0))
        self._parts = list(zip(ends, ends[1:]))
        self._start()

    def _start(self):
        """What belongs to a process and its threads, and is not copied."""
        self.handle = handle_of(self.packed)
        self._device = torch.device(self.packed.device)
        self._results = threading.local()
        self._moved: weakref.ref[SharedProduct] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("handle", "_device", "_results", "_moved")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def at(self, like: torch.Tensor) -> "SharedProduct":
        """The product on the device of `like`: itself where it is there. It is brought there once for all layers, which move
        one after the other; one that stays behind keeps this one."""
        if like.device == self._device:
            return self
        moved = self._moved() if self._moved is not None else None
        if moved is None or moved._device != like.device:
            moved = SharedProduct(self.packed.to(like), self.layers)
            self._moved = weakref.ref(moved)
        return moved

    @property
    def n(self) -> int:
        """Rows of the stacked weight."""
        return self._parts[-1][1]

    def bias(self) -> torch.Tensor | None:
        """Of all layers; None where they have none."""
        own = [_bias_of(layer) for layer in self.layers]
        if all(bias is None for bias in own):
            return None
        return torch.cat([torch.zeros(layer.out_features, dtype=torch.float32, device=self._device) if bias is None
                          else bias.to(self._device) for layer, bias in zip(self.layers, own)])

    def of(self, place: int, y: torch.Tensor) -> torch.Tensor:
        """One layer's columns of a result [..., N]."""
        begin, end = self._parts[place]
        return y[..., begin:end]

    def columns(self, place: int, x: torch.Tensor, batch_invariant: bool) -> torch.Tensor:
        """x W^T + bias of one layer, from what another one has asked for where x and this layer's bias are what they were."""
        if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
            return self.of(place, self._product(x, batch_invariant))
        bias = _bias_of(self.layers[place])
        if not torch.is_grad_enabled():
            return self.of(place, self._values(place, x, bias, batch_invariant))
        with torch.no_grad():
            y = self._values(place, x, bias, batch_invariant)
        if x.requires_grad or (bias is not None and bias.requires_grad):
            return _Columns.apply(autocast(x), bias, self, place, y)
        return self.of(place, y.detach())  # what is added to it in place is no other layer's

    def _values(self, place, x, bias, batch_invariant):
        """All layers' results, for as long as some have not asked for theirs."""
        casts = torch._C._is_any_autocast_enabled() and torch.is_autocast_enabled(x.device.type)
        modes = (batch_invariant, torch.is_inference_mode_enabled(), casts and torch.get_autocast_dtype(x.device.type),
                 steps_taken())
        result = getattr(self._results, "last", None)
        if result is None or not result.of(place, x, bias, modes):
            seen, biases = _seen(x), [_seen(_bias_of(layer)) for layer in self.layers]
            y = self._product(x, batch_invariant)
            result = self._results.last = _Result(seen, biases, modes, y, set(range(len(self.layers))))
        result.waiting.discard(place)
        if not result.waiting:
            self._results.last = None
        return result.y

    def _product(self, x, batch_invariant):
        return call_linear(autocast(x), self.bias(), None, self.handle, batch_invariant, None)


def shared(weight: Quantized, rule: dict[str, Any], layers: Sequence[Any]) -> SharedProduct:
    """weight: the layers' rows, one below the other; rule: that of their activations."""
    return SharedProduct(_octavo.pack(weight.T, **rule), layers)
