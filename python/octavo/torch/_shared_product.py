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

from .. import _octavo
from .._octavo import PackedWeight, Quantized
from ._layer import autocast
from ._linear import call_linear, handle_of


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


class _Result(NamedTuple):
    """What a product gave, for the layers that have not asked for it yet."""

    x: torch.Tensor
    seen: int | torch.Tensor  # how often x was written; of an inference tensor, which does not count, a copy
    modes: tuple[Any, ...]
    y: torch.Tensor
    waiting: set[int]

    def of(self, x: torch.Tensor, modes: tuple[Any, ...]) -> bool:
        if x is not self.x or modes != self.modes:
            return False
        return torch.equal(x, self.seen) if isinstance(self.seen, torch.Tensor) else x._version == self.seen


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
        if self.layers[0].bias is None:
            return None
        return torch.cat([layer.bias.to(self._device) for layer in self.layers])

    def of(self, place: int, y: torch.Tensor) -> torch.Tensor:
        """One layer's columns of a result [..., N]."""
        begin, end = self._parts[place]
        return y[..., begin:end]

    def columns(self, place: int, x: torch.Tensor, batch_invariant: bool) -> torch.Tensor:
        """x W^T + bias of one layer, from what another one has asked for where that was with the same x."""
        if torch.compiler.is_compiling():
            return self.of(place, self._product(x, batch_invariant))
        casts = torch._C._is_any_autocast_enabled() and torch.is_autocast_enabled(x.device.type)
        modes = (batch_invariant, torch.is_grad_enabled(), torch.is_inference_mode_enabled(),
                 casts and torch.get_autocast_dtype(x.device.type))
        result = getattr(self._results, "last", None)
        if result is None or place not in result.waiting or not result.of(x, modes):
            seen = x.clone() if x.is_inference() else x._version
            y = self._product(x, batch_invariant)
            result = self._results.last = _Result(x, seen, modes, y, set(range(len(self.layers))))
        result.waiting.discard(place)
        if not result.waiting:
            self._results.last = None
        return self.of(place, result.y)

    def _product(self, x, batch_invariant):
        return call_linear(autocast(x), self.bias(), None, self.handle, self.n, batch_invariant, None)


def shared(weight: Quantized, rule: dict[str, Any], layers: Sequence[Any]) -> SharedProduct:
    """weight: the layers' rows, one below the other; rule: that of their activations."""
    return SharedProduct(_octavo.pack(weight.T, **rule), layers)
