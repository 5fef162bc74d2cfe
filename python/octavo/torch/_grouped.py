# SPDX-License-Identifier: Apache-2.0
"""octavo::grouped_mm (tensor forms), octavo::scaled_grouped_mm, octavo::grouped_mm_list; gradients."""

import torch

from .. import _octavo
from ._library import (
    WIDE,
    _library,
    as_gradient,
    default_out_dtype,
    define,
    differentiate,
    differentiate_once,
    gradient_dtype,
    no_gradients,
    save_inputs,
    saved_inputs,
)

# ---- the four tensor forms ------------------------------------------------------------------------

_ARGUMENTS = (
    "Tensor input, Tensor mat2, Tensor? offs, Tensor? bias, Tensor? scale_a, Tensor? scale_b, "
    "Tensor? alpha, Tensor? beta, Tensor? c, Tensor? scale_result, ScalarType? out_dtype, "
    "str? granularity_a, str? granularity_b, bool offs_prefix, str? subnormals, str? backend"
)
# Positions of input, mat2, bias, scale_a, scale_b, alpha, beta, c, scale_result.
_SLOTS = (0, 1, 3, 4, 5, 6, 7, 8, 9)
_TYPED = (0, 1, 8)


def _kernel(input, mat2, offs, bias, scale_a, scale_b, alpha, beta, c, scale_result, out_dtype,
            granularity_a, granularity_b, offs_prefix, subnormals, backend):
    return _octavo.grouped_mm(input, mat2, offs, bias, out_dtype, scale_a=scale_a, scale_b=scale_b,
                              granularity_a=granularity_a, granularity_b=granularity_b,
                              alpha=alpha, beta=beta, c=c, scale_result=scale_result,
                              offs_prefix=offs_prefix, subnormals=subnormals, backend=backend)


def _fake(input, mat2, offs, bias, scale_a, scale_b, alpha, beta, c, scale_result, out_dtype,
          granularity_a, granularity_b, offs_prefix, subnormals, backend):
    torch._check(input.dim() in (2, 3) and mat2.dim() in (2, 3),
                 lambda: "grouped_mm: input and mat2 must be 2-D or 3-D")
    torch._check(input.shape[-1] == mat2.shape[-2],
                 lambda: "grouped_mm: mat2.shape[-2] must equal input.shape[-1]")
    shape = (input.shape[-2], mat2.shape[-1])
    if input.dim() == 3 and mat2.dim() == 3:
        shape = (input.shape[0], *shape)
    elif input.dim() == 2 and mat2.dim() == 2:
        shape = (offs.shape[0] - int(offs_prefix), *shape)
    return input.new_empty(shape, dtype=out_dtype or default_out_dtype(input.dtype, mat2.dtype))


def _vjp(grad, wanted, options, input, mat2, offs, bias, scale_a, scale_b, alpha, beta, c,
         scale_result, out_dtype, granularity_a, granularity_b, offs_prefix, subnormals, backend):
    return _octavo.grouped_mm_vjp(grad, wanted, options, input, mat2, offs, bias, out_dtype,
                                  scale_a=scale_a, scale_b=scale_b, granularity_a=granularity_a,
                                  granularity_b=granularity_b, alpha=alpha, beta=beta, c=c,
                                  scale_result=scale_result, offs_prefix=offs_prefix,
                                  subnormals=subnormals, backend=backend)


grouped_mm = define(f"grouped_mm({_ARGUMENTS}) -> Tensor", _kernel, _fake)
differentiate(grouped_mm, _ARGUMENTS, _vjp, _SLOTS, _TYPED)

# ---- batches with one scale -----------------------------------------------------------------------

_BATCH = "Tensor input, Tensor weight, Tensor? scale, ScalarType? out_dtype, bool trans_b, str? backend"


def _batch_kernel(input, weight, scale, out_dtype, trans_b, backend):
    return _octavo.scaled_grouped_mm(input, weight, scale, out_dtype, trans_b=trans_b,
                                     backend=backend)


def _batch_fake(input, weight, scale, out_dtype, trans_b, backend):
    torch._check(input.dim() == 3 and weight.dim() == 3,
                 lambda: "scaled_grouped_mm: input and weight must be 3-D")
    return input.new_empty((*input.shape[:2], weight.shape[1 if trans_b else 2]),
                           dtype=out_dtype or default_out_dtype(input.dtype, weight.dtype))


def _batch_vjp(grad, wanted, options, input, weight, scale, out_dtype, trans_b, backend):
    return _octavo.scaled_grouped_mm_vjp(grad, wanted, options, input, weight, scale, out_dtype,
                                         trans_b=trans_b, backend=backend)


scaled_grouped_mm = define(f"scaled_grouped_mm({_BATCH}) -> Tensor", _batch_kernel, _batch_fake)
differentiate(scaled_grouped_mm, _BATCH, _batch_vjp, (0, 1, 2), (0, 1))

# ---- lists ----------------------------------------------------------------------------------------

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


torch.library.register_autograd("octavo::grouped_mm_list", _list_backward, setup_context=_list_save,
                                lib=_library)
