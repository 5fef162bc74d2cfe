# SPDX-License-Identifier: Apache-2.0
"""octavo::grouped_mm_list and its gradient."""

import torch

from ... import _octavo
from ._library import (
    WIDE,
    as_gradient,
    default_out_dtype,
    define,
    differentiate_once,
    gradient_dtype,
    no_gradients,
    register_gradient,
    save_inputs,
    saved_inputs,
)

# Optional entries come as the tensors that there are and the entries that they belong to.
_LIST = (
    "Tensor[] inputs, Tensor[] weights, Tensor[] biases, Tensor[] scales_a, Tensor[] scales_b, "
    "int[] bias_at, int[] scale_a_at, int[] scale_b_at, ScalarType? out_dtype, str? granularity_a, "
    "str? granularity_b, str? subnormals, str? backend"
)


def present(entries):
    """([the tensors], [their entries]) of an optional list of optional tensors."""
    at = [i for i, entry in enumerate(entries or ()) if entry is not None]
    return [entries[i] for i in at], at


def _spread(tensors, at, count):
    if not at:
        return None
    entries = [None] * count
    for tensor, i in zip(tensors, at):
        entries[i] = tensor
    return entries


def _list_arguments(inputs, weights, biases, scales_a, scales_b, bias_at, scale_a_at, scale_b_at,
                    out_dtype, granularity_a, granularity_b, subnormals, backend):
    """The extension module's arguments."""
    count = len(inputs)
    return ((list(inputs), list(weights), _spread(biases, bias_at, count), out_dtype),
            {"scales_a": _spread(scales_a, scale_a_at, count),
             "scales_b": _spread(scales_b, scale_b_at, count), "granularity_a": granularity_a,
             "granularity_b": granularity_b, "subnormals": subnormals, "backend": backend})


def _list_kernel(*inputs):
    positional, named = _list_arguments(*inputs)
    return _octavo.grouped_mm_list(*positional, **named)


def _list_fake(inputs, weights, biases, scales_a, scales_b, bias_at, scale_a_at, scale_b_at,
               out_dtype, *rest):
    return [x.new_empty((*x.shape[:-1], w.shape[-1]), dtype=out_dtype or default_out_dtype(x.dtype, w.dtype))
            for x, w in zip(inputs, weights)]


def _list_vjp_kernel(grads, *inputs):
    *inputs, wanted = inputs
    positional, named = _list_arguments(*inputs)
    return _octavo.grouped_mm_list_vjp(list(grads), wanted, (None, False, False), *positional, **named)


def _wanted_entries(lists, ats, wanted):
    """(list, index in it) of each gradient, in the order that they come in: entry by entry."""
    for i in range(len(lists[0])):
        for which, (at, want) in enumerate(zip(ats, wanted)):
            if want and (at is None or i in at):
                yield which, i if at is None else at.index(i)


def _list_vjp_fake(grads, inputs, weights, biases, scales_a, scales_b, bias_at, scale_a_at,
                   scale_b_at, *rest):
    lists = (inputs, weights, biases, scales_a, scales_b)
    ats = (None, None, bias_at, scale_a_at, scale_b_at)
    gradients = []
    for which, index in _wanted_entries(lists, ats, rest[-1]):
        argument = lists[which][index]
        dtype = gradient_dtype(argument, grads[index]) if which < 2 else torch.float32
        gradients.append(torch.empty_like(argument, dtype=dtype))
    return gradients


grouped_mm_list = define(f"grouped_mm_list({_LIST}) -> Tensor[]", _list_kernel, _list_fake)
grouped_mm_list_vjp = define(
    f"grouped_mm_list_vjp(Tensor[] grads, {_LIST}, bool[] wanted) -> Tensor[]",
    _list_vjp_kernel, _list_vjp_fake)
differentiate_once(grouped_mm_list_vjp, "grouped_mm")


def _list_save(ctx, inputs, output):
    save_inputs(ctx, inputs)
    ctx.results = [(y.shape, y.dtype) for y in output]


def _list_backward(ctx, grads):
    inputs = saved_inputs(ctx)
    grads = [torch.zeros(shape, dtype=dtype if dtype in WIDE else torch.float32)
             if grad is None else as_gradient(grad) for grad, (shape, dtype) in zip(grads, ctx.results)]
    # One answer for a whole list: an entry that needs no gradient gets one that nobody reads.
    wanted = [any(needs) for needs in ctx.needs_input_grad[:5]]
    found = iter(grouped_mm_list_vjp(grads, *inputs, wanted))
    gradients = no_gradients(inputs)
    for which, index in _wanted_entries(inputs[:5], (None, None, *inputs[5:8]), wanted):
        gradients[which][index] = next(found)
    return tuple(gradients)


register_gradient(grouped_mm_list, _list_backward, _list_save)
