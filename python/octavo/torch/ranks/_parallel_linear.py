# SPDX-License-Identifier: Apache-2.0
"""Linear layers whose weights lie on several ranks of torch.distributed: specification section 11."""

from typing import Any, Literal

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable
from typing_extensions import Self

from ... import _octavo
from ..._octavo import Quantized, Weight
from ..layers._layer import EightBitModule, autocast, check_float, check_host
from ..layers._quantized_linear import QuantizedLinear
from ..layers._schemes import SchemeName
from ..layers._weight import QuantizedWeight
from ..operators._dtypes import from_numpy
from ..operators._library import as_gradient
from ..operators._linear import call_linear, handle_of
from ._ranks import ProcessGroupRanks

Mode = Literal["exact", "fast"]


class _Product(torch.autograd.Function):
    """y of a rank. A gradient of x is wanted on all ranks, or on none."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, bias: torch.Tensor | None, layer: Any) -> torch.Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x, bias)
        return layer.forward(x, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        x, bias = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:2])
        found = iter(ctx.layer.vjp(as_gradient(grad), wanted, x, bias))
        return *(next(found) if want else None for want in wanted), None


class _Gather(torch.autograd.Function):
    """All columns of what ranks have parts of. Each rank has the whole gradient, and takes its part of it."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, layer: Any) -> torch.Tensor:
        ctx.columns = layer.columns
        return layer.gather(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        return grad[..., slice(*ctx.columns)].contiguous(), None


class _OwnColumns(torch.autograd.Function):
    """A rank's columns of x, which all have. The gradients of all columns come together again."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, begin: int, end: int, group: dist.ProcessGroup) -> torch.Tensor:
        ctx.shape, ctx.columns, ctx.group = x.shape, (begin, end), group
        return x[..., begin:end]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        # The others' zeros: a sum of one number and zeros is that number.
        whole = grad.new_zeros(ctx.shape)
        whole[..., slice(*ctx.columns)] = grad
        dist.all_reduce(whole, group=ctx.group)
        return whole, None, None, None


class _Part:
    """A rank's part as a packed weight that a QuantizedWeight shows: [k, n]."""

    def __init__(self, layer: Any, k: int, n: int) -> None:
        self._layer, self.k, self.n = layer, k, n
        self.device = "cpu"

    def unpack(self, like: torch.Tensor) -> Quantized:
        q = self._layer.part().quantized
        made = (None if value is None else from_numpy(value) for value in (q.data, q.scale, q.azp))
        return Quantized(*made, q.rows, q.cols, q.row0, q.col0).T


def _check_weight(name, weight, dtype):
    check_float(name, "dtype", dtype)
    if weight.columns is not None:
        raise NotImplementedError(f"{name}: weight.columns must be in order (each rank has a part of x alone); got those of "
                                  "GPTQ's act-order")


class ParallelLinear(EightBitModule):
    """What column- and row-parallel layers share. Every rank of the group makes the same layers and calls them in the same
    order, on tensors of the CPU; the weight is frozen, and gradients flow to x and to the bias.

    Args:
        weight: octavo.types.Weight of the whole layer, the same on all ranks, of which each keeps its part.
        bias: of a float type, [N], of the whole layer.
        group: of torch.distributed; None: the default one.
        mode: "exact": the result does not depend on how many ranks there are (specification section 11); "fast": each rank
            quantises by its own scales, and float32 results are added.
        k_chunks: "exact": of floating sums over ranks; what divides it has the same bits.
        dtype: of the float weight that the layer stands for.

    Raises:
        ValueError: ranks that bring different weights are told which.
        NotImplementedError: the contract has it, this build does not.
    """

    on_ranks = True
    in_features: int
    out_features: int
    _native: Any

    def __init__(self, weight: Weight, bias: torch.Tensor | None = None, group: dist.ProcessGroup | None = None, *,
                 mode: Mode = "exact", k_chunks: int = 24, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        _check_weight(type(self).__name__, weight, dtype)
        ranks = ProcessGroupRanks(group)
        self._start(self._native(weight, bias, ranks, mode, k_chunks), weight.scheme, ranks, bias, dtype)

    def _start(self, layer, scheme, ranks, bias, dtype):
        self._layer = layer
        self.group = ranks.group
        self.scheme = scheme
        self.out_features, self.in_features = layer.out_features, layer.in_features
        own = None if bias is None else self._own_bias(bias.detach()).clone()
        self.register_parameter("bias", None if own is None else torch.nn.Parameter(own, bias.requires_grad))
        self._show_weight(dtype)

    @classmethod
    def from_part(cls, part: Weight, bias: torch.Tensor | None = None, group: dist.ProcessGroup | None = None, *,
                  mode: Mode = "exact", k_chunks: int = 24, dtype: torch.dtype = torch.bfloat16) -> Self:
        """The same of a part that is there already, octavo.sharding.shard's or octavo.sharding.read_shard's of one layer: of axis "columns" for a
        column-parallel layer, "rows" for a row-parallel one. bias: of the whole layer. A row-parallel part has no outlier columns
        of its own."""
        name = cls.__name__
        _check_weight(name, part, dtype)
        ranks = ProcessGroupRanks(group)
        native = cls._native.of_part(part, ranks, mode, k_chunks)
        if bias is not None and bias.shape != (native.out_features,):
            raise ValueError(f"{name}.from_part: bias.shape must be [{native.out_features}], of the whole layer; got {list(bias.shape)}")
        layer = cls.__new__(cls)
        torch.nn.Module.__init__(layer)
        layer._start(native, part.scheme, ranks, bias, dtype)
        return layer

    @classmethod
    def from_layer(cls, layer: QuantizedLinear, group: dist.ProcessGroup | None = None, *, mode: Mode = "exact",
                   k_chunks: int = 24) -> Self:
        """That of a frozen layer which all ranks have. Raises: as the class, and for layers that are not frozen, or fused."""
        name = cls.__name__
        if not layer.frozen:
            raise ValueError(f"{name}.from_layer: layer must be frozen (weights on ranks do not train): call its freeze(); got a "
                             f"{type(layer).__name__} with a float weight")
        if layer._shared is not None:
            raise NotImplementedError(f"{name}.from_layer: layer must have a weight of its own; got one that octavo.torch fused "
                                      "with others")
        if layer._columns is not None:
            raise NotImplementedError(f"{name}.from_layer: layer's columns must be in order; got those of GPTQ's act-order")
        check_host(f"{name}.from_layer: layer's device", layer._packed.device)
        weight = _octavo._weight_of(layer._packed, layer.scheme)
        made = cls(weight, layer.bias, group, mode=mode, k_chunks=k_chunks, dtype=layer.weight.dtype)
        return made.train(layer.training)

    @classmethod
    def from_float(cls, linear: torch.nn.Linear, scheme: SchemeName = "int8-dynamic", group: dist.ProcessGroup | None = None,
                   *, mode: Mode = "exact", k_chunks: int = 24) -> Self:
        """That of a torch.nn.Linear which all ranks have, quantised as octavo.torch.quantize_ does."""
        check_float(f"{cls.__name__}.from_float", "linear.weight.dtype", linear.weight.dtype)
        weight = _octavo.quantize_weight(linear.weight.detach(), _octavo.canonical_scheme(scheme))
        made = cls(weight, linear.bias, group, mode=mode, k_chunks=k_chunks, dtype=linear.weight.dtype)
        return made.train(linear.training)

    def part(self) -> Weight:
        """The rank's part of the weight: octavo.sharding.shard's, bit for bit."""
        return self._layer.part()

    def _own_bias(self, bias):
        return bias

    def _show_weight(self, dtype):
        object.__setattr__(self, "weight", QuantizedWeight(self._shown(), dtype))
        self._show_parameter(dtype, "cpu")

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight" and name in self.__dict__:
            raise NotImplementedError(f"{type(self).__name__}: weight must stay that of the layer (make one of the whole "
                                      "weight); got another")
        super().__setattr__(name, value)

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self._show_weight(fn(torch.empty(0, dtype=self.weight.dtype)).dtype)
        return self

    # Of its own part alone, under a whole layer's names.
    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        part = self.part().quantized
        for name, value in (("weight", part.data), ("weight_scale", part.scale), ("weight_zero_point", part.azp)):
            if value is not None:
                destination[prefix + name] = from_numpy(value)
        self._share_in_states(destination, prefix)

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors):
        codes = ("weight", "weight_scale", "weight_zero_point")
        self._load_others(codes, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)
        given = [name for name in codes if prefix + name in state_dict]
        if given:
            errors.append(f"{prefix}{given[0]} must not be in a state for {type(self).__name__}, whose codes stay (make the layer "
                          "of the whole weight)")

    def extra_repr(self):
        return (f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
                f"scheme={self.scheme}, rank={dist.get_rank(self.group)} of {dist.get_world_size(self.group)}")


class ColumnParallelLinear(ParallelLinear):
    """y = x W^T + bias with the rows of W [N, K] shared out over ranks: each has all of x and gives its `columns` of y, the
    whole layer's bit for bit. The gradient of x is a sum over ranks, the same on all of them.

    gather_output: every rank gets all of y.
    """

    gather_output: bool = False
    _native = _octavo.ColumnParallelLinear

    def _start(self, layer, *arguments):
        super()._start(layer, *arguments)
        self._packed = layer.weight
        self._handle = handle_of(self._packed)

    @property
    def columns(self) -> tuple[int, int]:
        """(begin, end) of the columns of y that this rank makes."""
        return self._layer.columns

    def _own_bias(self, bias):
        return bias[slice(*self.columns)]

    def _shown(self):
        return self._layer.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., in_features] of a float type, the same on all ranks, to y [..., columns], or all of y (gather_output)."""
        check_float("ColumnParallelLinear", "x.dtype", x.dtype)
        x = autocast(x)
        if not self.gather_output and not _differentiable(x, self.bias):
            return call_linear(x, self.bias, None, self._handle, False, None)
        return self._forward(x)

    @torch.compiler.disable
    def _forward(self, x):
        y = _Product.apply(x, self.bias, self._layer)
        return _Gather.apply(y, self._layer) if self.gather_output else y


class RowParallelLinear(ParallelLinear):
    """y = x W^T + bias with the columns of W [N, K] shared out over ranks: each has its `rows` of x's columns, as a
    column-parallel layer before it leaves them, and all get the same y."""

    _native = _octavo.RowParallelLinear

    @property
    def rows(self) -> tuple[int, int]:
        """(begin, end) of the columns of x that this rank multiplies."""
        return self._layer.rows

    def takes(self, x: torch.Tensor) -> bool:
        """Whether x has this rank's columns alone."""
        begin, end = self.rows
        return x.shape[-1] == end - begin

    def _shown(self):
        begin, end = self.rows
        return _Part(self._layer, end - begin, self.out_features)

    @torch.compiler.disable
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., rows], or [..., in_features], of which the rank takes its part; y [..., out_features]. A NaN in one rank's
        part shows in every rank's row."""
        check_float("RowParallelLinear", "x.dtype", x.dtype)
        x = autocast(x)
        if x.shape[-1] == self.in_features and not self.takes(x):
            x = _OwnColumns.apply(x, *self.rows, self.group)
        return _Product.apply(x, self.bias, self._layer)


def _differentiable(*tensors):
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
