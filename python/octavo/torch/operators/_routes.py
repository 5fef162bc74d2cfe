# SPDX-License-Identifier: Apache-2.0
# Written by api/ from api/operations.toml; `python3 api` writes it again.
"""The products over torch tensors: arguments as users write them to operators' arguments."""

from torch import Tensor

from ... import _octavo
from ..._octavo import UNDEFINED, PackedWeight, Quantized
from . import _products
from ._arguments import as_dtype, as_tensor, check_no_gradient, parts


def scaled_mm(input, mat2, scale_a=UNDEFINED, scale_b=UNDEFINED, bias=None, scale_result=UNDEFINED, out_dtype=None,
              granularity_a=None, granularity_b=None, alpha=UNDEFINED, beta=UNDEFINED, c=None, azp=None,
              trans_a=False, trans_b=False, saturate=True, torch_compat=False, k_chunks=0, subnormals=None,
              backend=None, out=None):
    """octavo.scaled_mm."""
    if out is not None or type(mat2) is PackedWeight:
        check_no_gradient("scaled_mm", "out" if out is not None else "a packed weight", input, mat2, scale_a,
                          scale_b, bias, scale_result, alpha, beta, c, azp)
        return _octavo.scaled_mm(input, mat2, scale_a, scale_b, bias, scale_result, out_dtype, granularity_a,
                                 granularity_b, alpha, beta, c, azp, trans_a, trans_b, saturate, torch_compat,
                                 k_chunks, subnormals, backend, out)
    if type(input) is Quantized:
        input, scale_a, granularity_a, carried = parts(input, scale_a, granularity_a, "a")
        azp = carried if azp is None else azp
    if type(mat2) is Quantized:
        mat2, scale_b, granularity_b, _ = parts(mat2, scale_b, granularity_b, "b")
    return _products.call_scaled_mm(input, mat2, scale_a if type(scale_a) is Tensor else as_tensor(scale_a),
                                    scale_b if type(scale_b) is Tensor else as_tensor(scale_b), bias,
                                    None if scale_result is UNDEFINED else as_tensor(scale_result),
                                    None if out_dtype is None else as_dtype(out_dtype, "scaled_mm"), granularity_a,
                                    granularity_b, None if alpha is UNDEFINED else as_tensor(alpha),
                                    None if beta is UNDEFINED else as_tensor(beta), c, azp, trans_a, trans_b,
                                    saturate, torch_compat, k_chunks, subnormals, backend)


def grouped_mm(input, mat2, offs=None, offs_prefix=False, bias=None, out_dtype=None, scale_a=UNDEFINED,
               scale_b=UNDEFINED, granularity_a=None, granularity_b=None, alpha=UNDEFINED, beta=UNDEFINED, c=None,
               scale_result=UNDEFINED, subnormals=None, backend=None, out=None):
    """octavo.grouped_mm."""
    if out is not None or type(mat2) is PackedWeight:
        check_no_gradient("grouped_mm", "out" if out is not None else "a packed weight", input, mat2, offs, bias,
                          scale_a, scale_b, alpha, beta, c, scale_result)
        return _octavo.grouped_mm(input, mat2, offs, offs_prefix, bias, out_dtype, scale_a, scale_b, granularity_a,
                                  granularity_b, alpha, beta, c, scale_result, subnormals, backend, out)
    if type(input) is Quantized:
        input, scale_a, granularity_a, _ = parts(input, scale_a, granularity_a, "a")
    if type(mat2) is Quantized:
        mat2, scale_b, granularity_b, _ = parts(mat2, scale_b, granularity_b, "b")
    return _products.call_grouped_mm(input, mat2, offs, offs_prefix, bias,
                                     None if out_dtype is None else as_dtype(out_dtype, "grouped_mm"),
                                     scale_a if type(scale_a) is Tensor else as_tensor(scale_a),
                                     scale_b if type(scale_b) is Tensor else as_tensor(scale_b), granularity_a,
                                     granularity_b, None if alpha is UNDEFINED else as_tensor(alpha),
                                     None if beta is UNDEFINED else as_tensor(beta), c,
                                     None if scale_result is UNDEFINED else as_tensor(scale_result), subnormals,
                                     backend)


def scaled_grouped_mm(input, weight, scale=1.0, out_dtype=None, trans_b=False, backend=None, out=None):
    """octavo.scaled_grouped_mm."""
    if out is not None:
        check_no_gradient("scaled_grouped_mm", "out", input, weight, scale)
        return _octavo.scaled_grouped_mm(input, weight, scale, out_dtype, trans_b, backend, out)
    return _products.call_scaled_grouped_mm(input, weight,
                                            None if isinstance(scale, (int, float)) and scale == 1 else as_tensor(scale),
                                            None if out_dtype is None else as_dtype(out_dtype, "scaled_grouped_mm"),
                                            trans_b, backend)
