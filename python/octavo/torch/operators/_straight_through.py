# SPDX-License-Identifier: Apache-2.0
"""octavo::quantize and octavo::straight_through_mm: products of quantised tensors that train.

straight_through_mm(x, weight, codes and scales of both) multiplies the codes. Its gradients are those
of the dequantised values, handed straight through the quantisers to x and weight; a learned scale gets
its gradient by learned step size quantisation (specification section 5).
"""

import torch

from ... import _octavo
from ._dtypes import FLOAT8_MAX
from ._library import as_gradient, define, differentiate_once, register_gradient

# ---- codes and scales -----------------------------------------------------------------------------


def _quantize_kernel(x, scale, dtype, granularity, scale_ub=None, min_scale=0.0, qmax=0.0, rounding="none"):
    given = {} if scale is None else {"scale": scale}
    if scale_ub is not None:
        given["scale_ub"] = scale_ub.item()
    q = _octavo.quantize(x, dtype, granularity, min_scale=min_scale, qmax=qmax, rounding=rounding, **given)
    return q.data, q.scale


def _quantize_fake(x, scale, dtype, granularity, scale_ub=None, min_scale=0.0, qmax=0.0, rounding="none"):
    return _dense_like(x, dtype), x.new_empty(scale_shape(*x.shape, granularity), dtype=torch.float32)


def scale_shape(rows, cols, granularity):
    """Of the scales of activations [rows, cols]."""
    if granularity == "tensor":
        return 1, 1
    if granularity == "token":
        return rows, 1
    if granularity.startswith("group"):
        return rows, -(-cols // int(granularity[5:]))
    down, across = (int(size) for size in granularity[5:].split("x"))
    return -(-rows // down), -(-cols // across)


def _dense_like(x, dtype):
    """A matrix without gaps in the order of x, as results of the extension module lie."""
    if x.stride(0) < x.stride(1):
        return x.new_empty((x.shape[1], x.shape[0]), dtype=dtype).t()
    return x.new_empty(x.shape, dtype=dtype)


quantize = define("quantize(Tensor x, Tensor? scale, ScalarType dtype, str granularity, Tensor? scale_ub=None, "
                  "float min_scale=0., float qmax=0., str rounding='none') -> (Tensor, Tensor)", _quantize_kernel, _quantize_fake)


def _no_gradient(ctx, *grads):
    return (None,) * 8


register_gradient(quantize, _no_gradient, lambda ctx, inputs, output: ctx.mark_non_differentiable(*output))


def _quantize_vjp_kernel(grad, x, scale, dtype, granularity, gradient_scale):
    return _octavo.quantize_vjp(grad, x, scale, dtype, granularity, gradient_scale)


def _quantize_vjp_fake(grad, x, scale, dtype, granularity, gradient_scale):
    return torch.empty_like(x), torch.empty_like(scale, dtype=torch.float32)


quantize_vjp = define(
    "quantize_vjp(Tensor grad, Tensor x, Tensor scale, ScalarType dtype, str granularity, "
    "float gradient_scale) -> (Tensor, Tensor)", _quantize_vjp_kernel, _quantize_vjp_fake)
differentiate_once(quantize_vjp, "quantize")

# ---- the product ----------------------------------------------------------------------------------

_CODES = ("Tensor x_codes, Tensor x_scale, str x_granularity, Tensor w_codes, Tensor w_scale, "
          "str w_granularity, Tensor? bias")


def _kernel(x, weight, x_codes, x_scale, x_granularity, w_codes, w_scale, w_granularity, bias,
            learned_x, learned_w):
    return _octavo.scaled_mm(x_codes, w_codes.t(), x_scale, w_scale.t(), bias, None, x.dtype,
                             x_granularity, w_granularity)


def _fake(x, weight, x_codes, x_scale, x_granularity, w_codes, w_scale, w_granularity, bias,
          learned_x, learned_w):
    return x.new_empty((x.shape[0], w_codes.shape[0]))


straight_through_mm = define(
    f"straight_through_mm(Tensor x, Tensor weight, {_CODES}, Tensor? learned_x, Tensor? learned_w) "
    "-> Tensor", _kernel, _fake)


def _vjp_kernel(grad, x_codes, x_scale, x_granularity, w_codes, w_scale, w_granularity, bias, dtype,
                float32, wanted):
    gradients = _octavo.scaled_mm_vjp(grad, wanted, (dtype, float32, True), x_codes, w_codes.t(),
                                      x_scale, w_scale.t(), bias, None, dtype, x_granularity,
                                      w_granularity)
    if wanted[1]:  # of the weight as it is stored
        at = int(wanted[0])
        gradients[at] = gradients[at].t()
    return gradients


def _vjp_fake(grad, x_codes, x_scale, x_granularity, w_codes, w_scale, w_granularity, bias, dtype,
              float32, wanted):
    arguments = ((x_codes, dtype), (w_codes, dtype), (bias, torch.float32))
    return [torch.empty_like(argument, dtype=gradient_dtype)
            for (argument, gradient_dtype), want in zip(arguments, wanted) if want]


straight_through_mm_vjp = define(
    f"straight_through_mm_vjp(Tensor grad, {_CODES}, ScalarType dtype, bool float32, bool[] wanted) "
    "-> Tensor[]", _vjp_kernel, _vjp_fake)
differentiate_once(straight_through_mm_vjp, "straight_through_mm")


def _save(ctx, inputs, output):
    (x, weight, x_codes, x_scale, ctx.x_granularity, w_codes, w_scale, ctx.w_granularity, bias,
     learned_x, learned_w) = inputs
    # The float operands are needed by learned scales alone: activations are kept in 8 bits.
    ctx.save_for_backward(x if learned_x is not None else None,
                          weight if learned_w is not None else None,
                          x_codes, x_scale, w_codes, w_scale, bias, learned_x, learned_w)


def _backward(ctx, grad):
    x, weight, x_codes, x_scale, w_codes, w_scale, bias, learned_x, learned_w = ctx.saved_tensors
    needs = ctx.needs_input_grad
    wanted = [needs[0] or needs[9], needs[1] or needs[10], needs[8]]
    # A scale's gradient is a sum whose terms cancel: what it is made of must not be rounded to bfloat16.
    learned = needs[9] or needs[10]
    found = iter(straight_through_mm_vjp(as_gradient(grad), x_codes, x_scale, ctx.x_granularity,
                                         w_codes, w_scale, ctx.w_granularity, bias,
                                         torch.float32 if learned else grad.dtype, learned, wanted))
    dx, dw, db = (next(found) if want else None for want in wanted)
    dsx = dsw = None
    if learned_x is not None and dx is not None:
        dx, dsx = quantize_vjp(dx, x, learned_x, x_codes.dtype, ctx.x_granularity,
                               _lsq_scale(x_codes, learned_x))
    if learned_w is not None and dw is not None:
        granularity = _TRANSPOSED.get(ctx.w_granularity, ctx.w_granularity)
        dw, dsw = quantize_vjp(dw, weight, learned_w, w_codes.dtype, granularity,
                               _lsq_scale(w_codes, learned_w))
    dx, dw = (d if d is None else d.to(grad.dtype) for d in (dx, dw))
    return dx, dw, None, None, None, None, None, None, db, dsx, dsw


_TRANSPOSED = {"channel": "token"}
QMAX = {torch.int8: 127.0, **FLOAT8_MAX}


def _lsq_scale(codes, scale):
    """LSQ's factor of a learned scale's gradient, which is 0 without elements: 1 / sqrt(elements under one scale * qmax)."""
    return (max(codes.numel(), 1) / max(scale.numel(), 1) * QMAX[codes.dtype]) ** -0.5


register_gradient(straight_through_mm, _backward, _save)
