# SPDX-License-Identifier: Apache-2.0
"""octavo::linear over packed weights, and its gradient.

An operator's arguments are tensors and numbers, so a packed weight goes by a number: its handle in
the table below, which keeps no weight alive. Programs that torch.export and torch.jit save keep a number
that no other process takes for one of its own.
"""

import itertools
import secrets
import weakref

import torch

from ... import _octavo
from ..._octavo import UNDEFINED
from ._library import define, differentiate, direct, rows_like

_weights: "weakref.WeakValueDictionary[int, object]" = weakref.WeakValueDictionary()
_handles: "weakref.WeakKeyDictionary[object, int]" = weakref.WeakKeyDictionary()
_next = itertools.count(1)
_process = secrets.randbits(30) + 1 << 32  # above every handle
_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # PyTorch 2.6 has none


def handle_of(weight):
    """The number that stands for a packed weight in operators of this process, small, so that inductor's cache serves
    the next process."""
    handle = _handles.get(weight)
    if handle is None:
        handle = next(_next)
        _handles[weight] = handle
        _weights[handle] = weight
    return handle


def weight_of(handle):
    """The weight of a handle, as it is or as `recorded` gives it. Raises RuntimeError where there is none."""
    weight = _weights.get(handle if handle < 1 << 32 else handle ^ _process)
    if weight is None:
        raise RuntimeError("linear: weight must be a packed weight of this process; got the number of another one (of "
                           "a quantised layer's weight torch.export and torch.jit save no more than that: save the "
                           "state_dict)")
    return weight


def recorded(*handles):
    """For `direct`: handles at these positions as a program that is saved may keep them."""

    def of_process(arguments):
        if not (_is_exporting() or torch.jit.is_tracing()):
            return arguments
        return [value ^ _process if position in handles else value for position, value in enumerate(arguments)]

    return of_process


def _kernel(x, bias, out_dtype, weight, n, batch_invariant, backend):
    return _octavo.linear(x, weight_of(weight), bias, out_dtype, batch_invariant, backend)


def _fake(x, bias, out_dtype, weight, n, batch_invariant, backend):
    return x.new_empty((*x.shape[:-1], n), dtype=out_dtype or x.dtype)


def _vjp(grad, wanted, options, x, bias, out_dtype, weight, n, batch_invariant, backend):
    return _octavo.linear_vjp(grad, wanted, x, weight_of(weight), bias, out_dtype)


def _codes_kernel(x, scale, granularity, azp, bias, out_dtype, weight, n, backend):
    rows = x if x.dim() == 2 else x.reshape(x.numel() // max(x.shape[-1], 1), x.shape[-1])
    if granularity == "tensor":
        scale = scale.reshape(1, 1)
    elif scale.dim() != 2:
        scale = scale.reshape(rows.shape[0], scale.shape[-1])
    y = _octavo.scaled_mm(rows, weight_of(weight), scale, UNDEFINED, bias, None, out_dtype,
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
differentiate(linear, _ARGUMENTS, _vjp, (0, 1), (0,), keep=lambda inputs: weight_of(inputs[3]), like=rows_like)

call_linear, call_linear_codes = direct(linear, recorded(3)), direct(linear_codes, recorded(6))
