# SPDX-License-Identifier: Apache-2.0
"""octavo::scaled_mm and its gradient."""

import torch

from .. import _octavo
from ._library import default_out_dtype, define, differentiate, gradient_dtype

_ARGUMENTS = (
    "Tensor input, Tensor mat2, Tensor? scale_a, Tensor? scale_b, Tensor? bias, "
    "Tensor? scale_result, Tensor? alpha, Tensor? beta, Tensor? c, Tensor? azp, "
    "ScalarType? out_dtype, str? granularity_a, str? granularity_b, bool saturate, "
    "bool torch_compat, str? backend"
)
# Positions of input, mat2, bias, scale_a, scale_b, alpha, beta, c, scale_result.
_SLOTS = (0, 1, 4, 2, 3, 6, 7, 8, 5)
# Which of them are operands: their gradients keep their types; all others are float32.
_TYPED = (0, 1, 8)


def _kernel(input, mat2, scale_a, scale_b, bias, scale_result, alpha, beta, c, azp, out_dtype,
            granularity_a, granularity_b, saturate, torch_compat, backend):
    return _octavo.scaled_mm(input, mat2, scale_a, scale_b, bias, scale_result, out_dtype,
                             granularity_a=granularity_a, granularity_b=granularity_b, alpha=alpha,
                             beta=beta, c=c, azp=azp, saturate=saturate,
                             torch_compat=torch_compat, backend=backend)


def _fake(input, mat2, scale_a, scale_b, bias, scale_result, alpha, beta, c, azp, out_dtype, *rest):
    torch._check(input.dim() == 2 and mat2.dim() == 2,
                 lambda: "scaled_mm: input and mat2 must be 2-D")
    torch._check(input.shape[1] == mat2.shape[0],
                 lambda: "scaled_mm: mat2.shape[0] must equal input.shape[1]")
    dtype = default_out_dtype(input.dtype) if out_dtype is None else out_dtype
    return input.new_empty((input.shape[0], mat2.shape[1]), dtype=dtype)


def _vjp_kernel(grad, input, mat2, scale_a, scale_b, bias, scale_result, alpha, beta, c, azp,
                out_dtype, granularity_a, granularity_b, saturate, torch_compat, backend, wanted):
    return _octavo.scaled_mm_vjp(grad, wanted, (None, False, False), input, mat2, scale_a, scale_b,
                                 bias, scale_result, out_dtype, granularity_a=granularity_a,
                                 granularity_b=granularity_b, alpha=alpha, beta=beta, c=c, azp=azp,
                                 saturate=saturate, torch_compat=torch_compat, backend=backend)


def _vjp_fake(grad, *inputs):
    *inputs, wanted = inputs
    return [
        torch.empty_like(inputs[slot],
                         dtype=gradient_dtype(inputs[slot], grad) if slot in _TYPED else torch.float32)
        for slot, want in zip(_SLOTS, wanted) if want
    ]


scaled_mm = define(f"scaled_mm({_ARGUMENTS}) -> Tensor", _kernel, _fake)
scaled_mm_vjp = define(f"scaled_mm_vjp(Tensor grad, {_ARGUMENTS}, bool[] wanted) -> Tensor[]",
                       _vjp_kernel, _vjp_fake)
differentiate(scaled_mm, scaled_mm_vjp, _SLOTS)
