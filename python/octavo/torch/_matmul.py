# SPDX-License-Identifier: Apache-2.0
"""octavo::scaled_mm and its gradient."""

import torch

from .. import _octavo
from ._library import default_out_dtype, define, differentiate

# The arguments of the extension module's function, in its order: it is the kernel itself.
_ARGUMENTS = (
    "Tensor input, Tensor mat2, Tensor? scale_a, Tensor? scale_b, Tensor? bias, "
    "Tensor? scale_result, ScalarType? out_dtype, str? granularity_a, str? granularity_b, "
    "Tensor? alpha, Tensor? beta, Tensor? c, Tensor? azp, bool trans_a, bool trans_b, "
    "bool saturate, bool torch_compat, str? subnormals, str? backend"
)
# Positions of input, mat2, bias, scale_a, scale_b, alpha, beta, c, scale_result.
_SLOTS = (0, 1, 4, 2, 3, 9, 10, 11, 5)
# Which of them are operands: their gradients keep their types; all others are float32.
_TYPED = (0, 1, 11)


def _fake(input, mat2, scale_a, scale_b, bias, scale_result, out_dtype, granularity_a,
          granularity_b, alpha, beta, c, azp, trans_a, trans_b, *rest):
    torch._check(input.dim() == 2 and mat2.dim() == 2,
                 lambda: "scaled_mm: input and mat2 must be 2-D")
    m, k = (input.shape[1], input.shape[0]) if trans_a else input.shape
    k_b, n = (mat2.shape[1], mat2.shape[0]) if trans_b else mat2.shape
    torch._check(k == k_b, lambda: "scaled_mm: mat2.shape[0] must equal input.shape[1]")
    return input.new_empty((m, n), dtype=out_dtype or default_out_dtype(input.dtype, mat2.dtype))


scaled_mm = define(f"scaled_mm({_ARGUMENTS}) -> Tensor", _octavo.scaled_mm, _fake)
differentiate(scaled_mm, _ARGUMENTS, _octavo.scaled_mm_vjp, _SLOTS, _TYPED)
