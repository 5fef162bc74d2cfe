# SPDX-License-Identifier: Apache-2.0
"""The steps of LLM.int8() (specification section 8)."""

from typing import Any

from . import _octavo
from ._taking import taking
from ._typing import DTypeLike, Tensor


@taking(outlier_columns="?columns")
def int8_vectorwise_quant(a: Tensor, threshold: float = 0.0, whole_columns: bool = False, by_element: bool = False,
                          outlier_columns: Any = None) -> tuple[Any, Any, Any]:
    """(codes, row_absmax, outlier_cols) of A [..., K]."""
    return _octavo.int8_vectorwise_quant(a, threshold, whole_columns, by_element, outlier_columns)


@taking(outlier_columns="?columns")
def int8_double_quant(a: Tensor, threshold: float = 0.0, whole_columns: bool = False, by_element: bool = False,
                      outlier_columns: Any = None) -> tuple[Any, Any, Any, Any, Any]:
    """(row_codes, col_codes, row_absmax, col_absmax, outlier_cols) of one matrix."""
    return _octavo.int8_double_quant(a, threshold, whole_columns, by_element, outlier_columns)


@taking(a="plain", w="plain", out="?out")
def int8_linear_matmul(a: Tensor, w: Tensor, out: Tensor | None = None) -> Any:
    """A [..., K] int8 times W [N, K] int8, transposed: exact int32."""
    return _octavo.int8_linear_matmul(a, w, out)


@taking(acc="indices")
def int8_mm_dequant(acc: Tensor, row_absmax: Tensor, col_absmax: Tensor, bias: Tensor | None = None,
                    out_dtype: DTypeLike = "float16") -> Any:
    """acc * (row_absmax / 127) * (col_absmax / 127) + bias."""
    return _octavo.int8_mm_dequant(acc, row_absmax, col_absmax, bias, out_dtype)


@taking(a="plain", w="plain")
def int8_scaled_mm(a: Tensor, w: Tensor, row_absmax: Tensor, col_absmax: Tensor, bias: Tensor | None = None,
                   out_dtype: DTypeLike = "float16") -> Any:
    """int8_linear_matmul and int8_mm_dequant in one step."""
    return _octavo.int8_scaled_mm(a, w, row_absmax, col_absmax, bias, out_dtype)


@taking(codes="plain", w="plain", outlier_cols="?indices", out="?out")
def int8_mixed_scaled_mm(a: Tensor, codes: Tensor, w: Tensor, row_absmax: Tensor, col_absmax: Tensor,
                         outlier_cols: Tensor | None = None, bias: Tensor | None = None, original_weight: Tensor | None = None,
                         out_dtype: DTypeLike | None = None, out: Tensor | None = None) -> Any:
    """int8_scaled_mm plus the outlier columns of A in float."""
    return _octavo.int8_mixed_scaled_mm(a, codes, w, row_absmax, col_absmax, outlier_cols, bias, original_weight, out_dtype, out)


@taking(codes="plain")
def int8_vectorwise_dequant(codes: Tensor, row_absmax: Tensor) -> Any:
    """codes * (row_absmax / 127), float32."""
    return _octavo.int8_vectorwise_dequant(codes, row_absmax)
