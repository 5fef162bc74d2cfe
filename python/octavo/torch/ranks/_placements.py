# SPDX-License-Identifier: Apache-2.0
"""DTensors that operators multiply where they lie: rows of the activations, columns of the weight.

A row's bits depend on no other row, nor a column's on another column, so that a shard of the result is that of the whole.
Operands whose K is cut are brought together first: the sum of rounded parts would be another result. What is
not listed here is replicated, or has no rule and is refused by DTensor.
"""

from typing import Any

from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor._op_schema import RuntimeSchemaInfo
from torch.distributed.tensor.experimental import register_sharding

from ... import _octavo
from ..operators import _linear
from ..operators._library import define, differentiate, rows_like
from ..operators._products import scaled_mm
from ..operators._straight_through import quantize

_WHOLE = Replicate()


class _CutScale(Exception):
    """A scale that has no part for a part of its operand."""


def _whole(arguments):
    return [_WHOLE if hasattr(value, "placements") else None for value in arguments]


def _along(value: Any, dim: int, extent: int, by_cells: bool = False) -> Any:
    """The placement of what has one entry for each row or column of what is cut, or one for all."""
    if value is None or not hasattr(value, "placements"):
        return None
    if value.shape.numel() == 1:
        return _WHOLE
    if by_cells or value.ndim != 2 or value.shape[dim] != extent:
        raise _CutScale
    return Shard(dim)


def _of_scaled_mm(*arguments):
    """(output, inputs) that a product takes: replicated, M cut, N cut."""
    a, b, scale_a, scale_b, bias, _, _, granularity_a, granularity_b, _, _, c, azp, trans_a, trans_b = arguments[:15]
    found = [([_WHOLE], _whole(arguments))]
    if not trans_a:
        try:
            own = _whole(arguments)
            own[0] = Shard(0)
            own[2] = _along(scale_a, 0, a.shape[0], str(granularity_a).startswith("block"))
            own[11], own[12] = _along(c, 0, a.shape[0]), _along(azp, 0, a.shape[0])
            found.append(([Shard(0)], own))
        except _CutScale:
            pass
    if not trans_b:
        n = b.shape[1]
        try:
            own = _whole(arguments)
            own[1] = Shard(1)
            own[3] = _along(scale_b, 1, n, str(granularity_b).startswith("block"))
            own[11] = _along(c, 1, n)
            if bias is not None and bias.shape.numel() > 1:
                own[4] = Shard(bias.ndim - 1)
            found.append(([Shard(1)], own))
        except _CutScale:
            pass
    return found


def _of_linear(*arguments):
    """Any dimension of x but the last, where a row is quantised by itself."""
    x, weight = arguments[0], arguments[3]
    found = [([_WHOLE], _whole(arguments))]
    rule = _linear.weight_of_number(weight).activation or {}
    shared = rule.get("llm_int8") or (rule.get("activation_granularity") == "tensor" and not rule.get("static_scale"))
    for dim in range(0 if shared else x.ndim - 1):
        own = _whole(arguments)
        own[0] = Shard(dim)
        found.append(([Shard(dim)], own))
    return found


def _of_quantize(*arguments):
    """Rows, where each has scales of its own."""
    x, scale, granularity = arguments[0], arguments[1], arguments[3]
    found = [([_WHOLE, _WHOLE], _whole(arguments))]
    if granularity == "token" or granularity.startswith("group"):
        own = _whole(arguments)
        own[0], own[1] = Shard(0), None if scale is None else Shard(0)
        found.append(([Shard(0), Shard(0)], own))
    return found


def _kernel(x, bias, out_dtype, weight, n, batch_invariant, backend):
    return _octavo.linear(x, _linear.weight_of_number(weight), bias, out_dtype, batch_invariant, backend)


def _fake(x, bias, out_dtype, weight, n, batch_invariant, backend):
    return x.new_empty((*x.shape[:-1], n), dtype=out_dtype or x.dtype)


def _vjp(grad, wanted, options, x, bias, out_dtype, weight, n, batch_invariant, backend):
    return _octavo.linear_vjp(grad, wanted, x, _linear.weight_of_number(weight), bias, out_dtype)


_ARGUMENTS = ("Tensor x, Tensor? bias, ScalarType? out_dtype, int weight, SymInt n, "
              "bool batch_invariant, str? backend")
_linear_by_number = define(f"linear_by_number({_ARGUMENTS}) -> Tensor", _kernel, _fake)
differentiate(_linear_by_number, _ARGUMENTS, _vjp, (0, 1), (0,), keep=lambda inputs: _linear.weight_of_number(inputs[3]), like=rows_like)
_linear.dtensors = DTensor, _linear_by_number

for _operator, _rule in ((scaled_mm, _of_scaled_mm), (_linear_by_number, _of_linear), (quantize, _of_quantize)):
    register_sharding(_operator)(_rule)
    # Rules are kept by their arguments, of which register_sharding counts those from the first integer on.
    DTensor._op_dispatcher.sharding_propagator.op_to_schema_info[_operator] = RuntimeSchemaInfo(1, needs_pytree=True)
