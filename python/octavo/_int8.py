# SPDX-License-Identifier: Apache-2.0
"""The steps of LLM.int8() (specification section 8)."""

from typing import Any

from . import _octavo
from ._taking import taking
from ._typing import DTypeLike, Tensor


@taking(outlier_columns="?columns")
def int8_vectorwise_quant(a: Tensor, threshold: float = 0.0, whole_columns: bool = False, by_element: bool = False,
                          outlier_columns: Any = None) -> tuple[Any, Any, Any]:
    """Quantises A [..., K] by row: code = round(a * 127 / row_absmax).

    Args:
        a: [..., K], bfloat16, float16 or float32.
        threshold: |a| >= threshold is an outlier; 0: none.
        whole_columns: all of an outlier column stays out of row_absmax.
        by_element: codes are 0 at outlier elements alone.
        outlier_columns: int64, ascending: columns of code 0 whatever they hold.

    Returns:
        (codes, row_absmax, outlier_cols): int8 of a's shape, float32 [rows], int64 ascending or None.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> a = numpy.float32([[1, 8], [-2, 0.5]])
        >>> codes, absmax, columns = octavo.llm_int8.int8_vectorwise_quant(a, threshold=6.0)
        >>> codes.tolist(), absmax.tolist(), columns.tolist()
        ([[127, 0], [-127, 0]], [1.0, 2.0], [1])
    """
    return _octavo.int8_vectorwise_quant(a, threshold, whole_columns, by_element, outlier_columns)


@taking(outlier_columns="?columns")
def int8_double_quant(a: Tensor, threshold: float = 0.0, whole_columns: bool = False, by_element: bool = False,
                      outlier_columns: Any = None) -> tuple[Any, Any, Any, Any, Any]:
    """Quantises one matrix by row and by column.

    Args:
        a, threshold, whole_columns, by_element, outlier_columns: as in int8_vectorwise_quant.

    Returns:
        (row_codes, col_codes, row_absmax, col_absmax, outlier_cols); outlier columns are 0 in both codes.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> a = numpy.float32([[127, 1], [0, 127]])
        >>> rows, columns, *_ = octavo.llm_int8.int8_double_quant(a)
        >>> rows.tolist(), columns.tolist()
        ([[127, 1], [0, 127]], [[127, 1], [0, 127]])
    """
    return _octavo.int8_double_quant(a, threshold, whole_columns, by_element, outlier_columns)


@taking(a="plain", w="plain", out="?out")
def int8_linear_matmul(a: Tensor, w: Tensor, out: Tensor | None = None) -> Any:
    """A [..., K] int8 times W [N, K] int8, transposed: exact int32.

    Args:
        a: int8 [..., K].
        w: int8 [N, K].
        out: int32 [..., N]; default: allocated by the call.

    Returns:
        int32 [..., N].

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> octavo.llm_int8.int8_linear_matmul(numpy.int8([[1, 2]]), numpy.int8([[3, 4], [5, 6]])).tolist()
        [[11, 17]]
    """
    return _octavo.int8_linear_matmul(a, w, out)


@taking(acc="indices")
def int8_mm_dequant(acc: Tensor, row_absmax: Tensor, col_absmax: Tensor, bias: Tensor | None = None,
                    out_dtype: DTypeLike = "float16") -> Any:
    """acc * (row_absmax / 127) * (col_absmax / 127) + bias.

    Args:
        acc: int32 [..., N].
        row_absmax: float32 [rows].
        col_absmax: float32 [N].
        bias: a float type, [N].
        out_dtype: a float type.

    Returns:
        [..., N] of out_dtype, from float32 converted once.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> sums = numpy.int32([[127 * 127]])
        >>> octavo.llm_int8.int8_mm_dequant(sums, numpy.float32([2]), numpy.float32([0.5])).tolist()
        [[1.0]]
    """
    return _octavo.int8_mm_dequant(acc, row_absmax, col_absmax, bias, out_dtype)


@taking(a="plain", w="plain")
def int8_scaled_mm(a: Tensor, w: Tensor, row_absmax: Tensor, col_absmax: Tensor, bias: Tensor | None = None,
                   out_dtype: DTypeLike = "float16") -> Any:
    """int8_linear_matmul and int8_mm_dequant in one step.

    Args:
        a: int8 [..., K].
        w: int8 [N, K].
        row_absmax, col_absmax: float32 [rows], [N].
        bias: a float type, [N].
        out_dtype: a float type.

    Returns:
        [..., N] of out_dtype.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> a, w, one = numpy.int8([[127, 0]]), numpy.int8([[127, 5]]), numpy.float32([1])
        >>> octavo.llm_int8.int8_scaled_mm(a, w, one, one, out_dtype="float32").tolist()
        [[1.0]]
    """
    return _octavo.int8_scaled_mm(a, w, row_absmax, col_absmax, bias, out_dtype)


@taking(codes="plain", w="plain", outlier_cols="?indices", out="?out")
def int8_mixed_scaled_mm(a: Tensor, codes: Tensor, w: Tensor, row_absmax: Tensor, col_absmax: Tensor,
                         outlier_cols: Tensor | None = None, bias: Tensor | None = None, original_weight: Tensor | None = None,
                         out_dtype: DTypeLike | None = None, out: Tensor | None = None) -> Any:
    """int8_scaled_mm plus the outlier columns of A in float.

    Args:
        a: [..., K], a float type: what the codes were made of.
        codes: int8 [..., K], 0 in outlier columns.
        w: int8 [N, K].
        row_absmax, col_absmax: float32 [rows], [N].
        outlier_cols: int64, ascending; None: no outliers.
        bias: a float type, [N].
        original_weight: [N, K]: outliers meet this instead of w's codes.
        out_dtype: a float type; default: a's.
        out: [..., N]; default: allocated by the call.

    Returns:
        [..., N] of out_dtype.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> a, w = numpy.float32([[1, 8]]), numpy.int8([[127, 127]])
        >>> codes, absmax, columns = octavo.llm_int8.int8_vectorwise_quant(a, threshold=6.0)
        >>> octavo.llm_int8.int8_mixed_scaled_mm(a, codes, w, absmax, numpy.float32([1]), columns).tolist()
        [[9.0]]
    """
    return _octavo.int8_mixed_scaled_mm(a, codes, w, row_absmax, col_absmax, outlier_cols, bias, original_weight, out_dtype, out)


@taking(codes="plain")
def int8_vectorwise_dequant(codes: Tensor, row_absmax: Tensor) -> Any:
    """codes * (row_absmax / 127), float32.

    Args:
        codes: int8 [..., K].
        row_absmax: float32 [rows].

    Returns:
        float32 of codes' shape.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> octavo.llm_int8.int8_vectorwise_dequant(numpy.int8([[127, 0]]), numpy.float32([2])).tolist()
        [[2.0, 0.0]]
    """
    return _octavo.int8_vectorwise_dequant(codes, row_absmax)
