# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes.functional: the int8 functions, over torch tensors.

Statistics are raw absolute maxima in float32: value = code * (statistic / 127). The same functions are
operators: torch.ops.octavo.int8_*. Source: specification section 8.
"""

import torch

from ..torch.operators import _int8

__all__ = ["int8_double_quant", "int8_linear_matmul", "int8_mixed_scaled_mm", "int8_mm_dequant", "int8_scaled_mm",
           "int8_vectorwise_dequant", "int8_vectorwise_quant"]


def int8_vectorwise_quant(A: torch.Tensor, threshold: float = 0.0
                          ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Quantises A [..., K] (bfloat16, float16, float32, any strides) by row, from its own type.

    Returns:
        Int8 codes of A's shape, float32 absolute maxima [rows] without outliers, and the outlier columns (int64,
        ascending; empty where there are none, None at threshold 0), whose codes are 0.

    Example:
        >>> import torch, octavo.bnb.functional as F
        >>> codes, absmax, columns = F.int8_vectorwise_quant(torch.tensor([[1.0, 8.0], [-2.0, 0.5]]), threshold=6.0)
        >>> codes.tolist(), absmax.tolist(), columns.tolist()
        ([[127, 0], [-127, 0]], [1.0, 2.0], [1])
    """
    return _int8.vectorwise_quant(A, threshold)


def int8_double_quant(A: torch.Tensor, col_stats: None = None, row_stats: None = None, out_col: None = None,
                      out_row: None = None, threshold: float = 0.0
                      ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Quantises A [..., K] by row and by column; outlier columns are 0 in both.

    Returns:
        Codes by row, codes by column, absolute maxima [rows], [K], outlier columns.

    Example:
        >>> import torch, octavo.bnb.functional as F
        >>> rows, columns, *_ = F.int8_double_quant(torch.tensor([[127.0, 1.0], [0.0, 127.0]]))
        >>> rows.tolist(), columns.tolist()
        ([[127, 1], [0, 127]], [[127, 1], [0, 127]])
    """
    given = {"col_stats": col_stats, "row_stats": row_stats, "out_col": out_col, "out_row": out_row}
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"int8_double_quant: {name} must be None (results are allocated); got a tensor")
    return _int8.double_quant(A, threshold)


def int8_linear_matmul(A: torch.Tensor, B: torch.Tensor, out: torch.Tensor | None = None,
                       dtype: torch.dtype = torch.int32) -> torch.Tensor:
    """A [..., K] times B [N, K], transposed, both int8: exact int32 [..., N], whatever K.

    Example:
        >>> import torch, octavo.bnb.functional as F
        >>> a = torch.tensor([[1, 2]], dtype=torch.int8)
        >>> F.int8_linear_matmul(a, a).tolist()
        [[5]]
    """
    if dtype is not torch.int32:
        raise ValueError(f"int8_linear_matmul: dtype must be torch.int32 (the exact sums); got {dtype}")
    if out is None:
        return _int8.linear_matmul(A, B)
    _int8.linear_matmul_out(A, B, out)
    return out


def int8_mm_dequant(A: torch.Tensor, row_stats: torch.Tensor, col_stats: torch.Tensor,
                    out: torch.Tensor | None = None, bias: torch.Tensor | None = None) -> torch.Tensor:
    """A (int32 [..., N]) * row_stats/127 * col_stats/127 + bias in float32; float16, or out's type.

    Example:
        >>> import torch, octavo.bnb.functional as F
        >>> one = torch.tensor([1.0])
        >>> F.int8_mm_dequant(torch.tensor([[127 * 127]], dtype=torch.int32), one, one).tolist()
        [[1.0]]
    """
    y = _int8.mm_dequant(A, row_stats, col_stats, torch.float16 if out is None else out.dtype, bias)
    return y if out is None else out.copy_(y)


def int8_scaled_mm(A: torch.Tensor, B: torch.Tensor, row_stats: torch.Tensor, col_stats: torch.Tensor,
                   bias: torch.Tensor | None = None, dtype: torch.dtype | None = None) -> torch.Tensor:
    """int8_linear_matmul and int8_mm_dequant in one step; dtype: float16 by default.

    Example:
        >>> import torch, octavo.bnb.functional as F
        >>> a, one = torch.tensor([[127, 0]], dtype=torch.int8), torch.tensor([1.0])
        >>> F.int8_scaled_mm(a, a, one, one).tolist()
        [[1.0]]
    """
    return _int8.scaled_mm(A, B, row_stats, col_stats, bias, dtype)


def int8_mixed_scaled_mm(A: torch.Tensor, CA: torch.Tensor, CB: torch.Tensor, SCA: torch.Tensor, SCB: torch.Tensor,
                         outlier_cols: torch.Tensor | None = None, bias: torch.Tensor | None = None
                         ) -> tuple[torch.Tensor, torch.Tensor]:
    """int8_scaled_mm plus the outlier columns of A in float, rounded once, in A's type.

    Returns:
        [..., N], and A's outlier columns [rows, columns].

    Example:
        >>> import torch, octavo.bnb.functional as F
        >>> x, w, one = torch.tensor([[1.0, 8.0]]), torch.tensor([[127, 127]], dtype=torch.int8), torch.tensor([1.0])
        >>> codes, absmax, columns = F.int8_vectorwise_quant(x, threshold=6.0)
        >>> F.int8_mixed_scaled_mm(x, codes, w, absmax, one, columns)[0].tolist()
        [[9.0]]
    """
    return _int8.mixed_scaled_mm(A, CA, CB, SCA, SCB, outlier_cols, bias)


def int8_vectorwise_dequant(A: torch.Tensor, stats: torch.Tensor) -> torch.Tensor:
    """A (int8 [..., K]) * (stats / 127) by row, float32.

    Example:
        >>> import torch, octavo.bnb.functional as F
        >>> F.int8_vectorwise_dequant(torch.tensor([[127, 0]], dtype=torch.int8), torch.tensor([2.0])).tolist()
        [[2.0, 0.0]]
    """
    return _int8.vectorwise_dequant(A, stats)
