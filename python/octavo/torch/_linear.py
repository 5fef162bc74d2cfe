# SPDX-License-Identifier: Apache-2.0
"""octavo::linear over packed weights, and its gradient.

An operator's arguments are tensors and numbers, so a packed weight goes by a number: its handle in
the table below, which keeps no weight alive.
"""

import itertools
import weakref

import torch

from .. import _octavo
from .._octavo import UNDEFINED
from ._library import define, differentiate, direct

_weights: "weakref.WeakValueDictionary[int, object]" = weakref.WeakValueDictionary()
_handles: "weakref.WeakKeyDictionary[object, int]" = weakref.WeakKeyDictionary()
_next = itertools.count(1)


def handle_of(weight):
    """The number that stands for a packed weight in operators of this process."""
    handle = _handles.get(weight)
    if handle is None:
        handle = next(_next)
        _handles[weight] = handle
        _weights[handle] = weight
    return handle


def _kernel(x, bias, out_dtype, weight, n, batch_invariant, backend):
    return _octavo.linear(x, _weights[weight], bias, out_dtype, batch_invariant, backend)


def _fake(x, bias, out_dtype, weight, n, batch_invariant, backend):
    return x.new_empty((*x.shape[:-1], n), dtype=out_dtype or x.dtype)


def _vjp(grad, wanted, options, x, bias, out_dtype, weight, n, batch_invariant, backend):
    return _octavo.linear_vjp(grad, wanted, x, _weights[weight], bias, out_dtype)


def _codes_kernel(x, scale, granularity, azp, bias, out_dtype, weight, n, backend):
    rows = x if x.dim() == 2 else x.reshape(x.numel() // max(x.shape[-1], 1), x.shape[-1])
    if granularity == "tensor":
        scale = scale.reshape(1, 1)
    elif scale.dim() != 2:
        scale = scale.reshape(rows.shape[0], scale.shape[-1])
    y = _octavo.scaled_mm(rows, _weights[weight], scale, UNDEFINED, bias, None, out_dtype,
                          granularity, azp=None if azp is None else azp.reshape(-1),
                          backend=backend)
    return y if rows is x else y.reshape(*x.shape[:-1], n)


def _codes_fake(x, scale, granularity, azp, bias, out_dtype, weight, n, backend):
    return x.new_empty((*x.shape[:-1], n), dtype=out_dtype)


# Activations that are quantised already, by a scale for the tensor, each row, or each row and group.
linear_codes = define("linear_codes(Tensor x, Tensor scale, str granularity, Tensor? azp, Tensor? bias, "
                      "ScalarType out_dtype, int weight, SymInt n, str? backend) -> Tensor",
                      _codes_kernel, _codes_fake)

_ARGUMENTS = ("Tensor x, Tensor? bias, ScalarType? out_dtype, int weight, SymInt n, "
              "bool batch_invariant, str? backend")
linear = define(f"linear({_ARGUMENTS}) -> Tensor", _kernel, _fake)
# The weight may be a temporary of the forward call: octavo.linear(x, octavo.pack(...)).
differentiate(linear, _ARGUMENTS, _vjp, (0, 1), (0,), keep=lambda inputs: _weights.get(inputs[3]))

call_linear, call_linear_codes = direct(linear), direct(linear_codes)
