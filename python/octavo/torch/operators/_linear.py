# SPDX-License-Identifier: Apache-2.0
"""octavo::linear over packed weights, and its gradient.

An operator's arguments are tensors and numbers, so a packed weight goes by its handle: an int64 tensor that holds the
weight's number in the table below, which keeps no weight alive. A compiler takes tensors as inputs, so one graph serves
all weights of a size. No other process takes the number, which programs of torch.export and torch.jit keep, for its own.
"""

import itertools
import secrets
import weakref

import torch

from ... import _octavo, _routing
from ..._octavo import UNDEFINED
from ._library import define, differentiate, direct, rows_like

_weights: "weakref.WeakValueDictionary[int, object]" = weakref.WeakValueDictionary()
_numbers = itertools.count(secrets.randbits(30) + 1 << 32)


def handle_of(weight):
    """The handle of a packed weight or of packed experts: int64 [N], their number, N times, in the memory of one.

    It is an attribute of the weight, where a compiler finds it.
    """
    try:
        return weight._handle
    except AttributeError:
        return _make_handle(weight)


def _make_handle(weight):
    number = next(_numbers)
    _weights[number] = weight
    with torch.inference_mode(False):  # backward passes keep it
        handle = torch.tensor(number).expand(weight.n)
    handle._number = number  # at hand: to read a tensor takes as long as all else of a small call
    weight._handle = handle
    return handle


# What is packed from now on has one. A graph guards what it reads of a module: that does not change any more.
_routing.handle_of, _routing._tensor = handle_of, torch.Tensor


def weight_of(handle):
    """The weight of a handle. Raises RuntimeError where there is none."""
    number = getattr(handle, "_number", None)
    return weight_of_number(handle[:1].sum().item() if number is None else number)


def weight_of_number(number):
    weight = _weights.get(number)
    if weight is None:
        raise RuntimeError("linear: weight must be a packed weight of this process; got the number of another one (of "
                           "a quantised layer's weight torch.export and torch.jit save no more than that: save the "
                           "state_dict)")
    return weight


def held(*handles):
    """The weights of handles, for the time until a backward pass; none while a compiler looks on."""
    return [_weights.get(getattr(handle, "_number", None)) for handle in handles]


def _kernel(x, bias, out_dtype, weight, batch_invariant, backend):
    return _octavo.linear(x, weight_of(weight), bias, out_dtype, batch_invariant, backend)


def _fake(x, bias, out_dtype, weight, batch_invariant, backend):
    return x.new_empty((*x.shape[:-1], weight.shape[0]), dtype=out_dtype or x.dtype)


def _vjp(grad, wanted, options, x, bias, out_dtype, weight, batch_invariant, backend):
    return _octavo.linear_vjp(grad, wanted, x, weight_of(weight), bias, out_dtype)


def _codes_kernel(x, scale, granularity, azp, bias, out_dtype, weight, backend):
    rows = x if x.dim() == 2 else x.reshape(x.numel() // max(x.shape[-1], 1), x.shape[-1])
    if granularity == "tensor":
        scale = scale.reshape(1, 1)
    elif scale.dim() != 2:
        scale = scale.reshape(rows.shape[0], scale.shape[-1])
    y = _octavo.scaled_mm(rows, weight_of(weight), scale, UNDEFINED, bias, None, out_dtype,
                          granularity, azp=None if azp is None else azp.reshape(-1),
                          backend=backend)
    return y if rows is x else y.reshape(*x.shape[:-1], weight.shape[0])


def _codes_fake(x, scale, granularity, azp, bias, out_dtype, weight, backend):
    return x.new_empty((*x.shape[:-1], weight.shape[0]), dtype=out_dtype)


# Activations that are quantised already, by a scale for the tensor, each row, or each row and group.
linear_codes = define("linear_codes(Tensor x, Tensor scale, str granularity, Tensor? azp, Tensor? bias, "
                      "ScalarType out_dtype, Tensor weight, str? backend) -> Tensor",
                      _codes_kernel, _codes_fake)

_ARGUMENTS = ("Tensor x, Tensor? bias, ScalarType? out_dtype, Tensor weight, "
              "bool batch_invariant, str? backend")
linear = define(f"linear({_ARGUMENTS}) -> Tensor", _kernel, _fake)
# The weight may be a temporary of the forward call: octavo.linear(x, octavo.pack(...)).
differentiate(linear, _ARGUMENTS, _vjp, (0, 1), (0,), keep=lambda inputs: held(inputs[3]), like=rows_like)

dtensors = None  # (DTensor, octavo::linear by number), once ranks/_placements.py is there


def _of_dtensors(arguments):
    """DTensor knows no tensors beside its own, and asks for the weight's rule: its operator takes the number."""
    if dtensors is None or not isinstance(arguments[0], dtensors[0]):
        return None
    x, bias, out_dtype, handle, *options = arguments
    return dtensors[1], (x, bias, out_dtype, handle._number, handle.shape[0], *options)


call_linear, call_linear_codes = direct(linear, _of_dtensors), direct(linear_codes)
