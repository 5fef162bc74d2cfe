# SPDX-License-Identifier: Apache-2.0
"""octavo::linear over packed weights, and its gradient.

An operator's arguments are tensors and numbers, so a packed weight goes by a number: its handle in
the table below, which keeps no weight alive.
"""

import itertools
import weakref

import torch

from .. import _octavo
from ._library import define, differentiate

_weights = weakref.WeakValueDictionary()
_handles = weakref.WeakKeyDictionary()
_next = itertools.count(1)


def handle_of(weight):
    """The number that stands for a packed weight in operators of this process."""
    handle = _handles.get(weight)
    if handle is None:
        handle = next(_next)
        _handles[weight] = handle
        _weights[handle] = weight
    return handle


def _kernel(x, bias, out_dtype, weight, n, backend):
    return _octavo.linear(x, _weights[weight], bias, out_dtype, backend=backend)


def _fake(x, bias, out_dtype, weight, n, backend):
    return x.new_empty((*x.shape[:-1], n), dtype=out_dtype or x.dtype)


def _vjp(grad, wanted, options, x, bias, out_dtype, weight, n, backend):
    return _octavo.linear_vjp(grad, wanted, x, _weights[weight], bias, out_dtype)


_ARGUMENTS = "Tensor x, Tensor? bias, ScalarType? out_dtype, int weight, SymInt n, str? backend"
linear = define(f"linear({_ARGUMENTS}) -> Tensor", _kernel, _fake)
# The weight may be a temporary of the forward call: octavo.linear(x, octavo.pack(...)).
differentiate(linear, _ARGUMENTS, _vjp, (0, 1), (0,), keep=lambda inputs: _weights.get(inputs[3]))
