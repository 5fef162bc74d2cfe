# SPDX-License-Identifier: Apache-2.0
"""Quantisers: float tensors to codes and scales, and back."""

from . import _octavo
from ._lines import by_lines
from ._octavo import Quantized
from ._routing import is_torch, torch_operations
from ._taking import taking
from ._typing import DTypeLike, NonFinite, Result, Rounding, Side, Tensor

_INFINITY = float("inf")


@taking()
def quantize_mxfp8(x: Tensor, dtype: DTypeLike = "float8_e4m3fn", *, side: Side = "a") -> Quantized:
    """MX fp8: groups of 32 along K with e8m0 scales (OCP MX 1.0).

    Args:
        x: [R, C], a float type.
        dtype: of the codes: an fp8 type.
        side: "a": K is x's columns; "b": its rows.

    Returns:
        octavo.Quantized.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> q = octavo.quantizers.quantize_mxfp8(numpy.ones((2, 64), numpy.float32))
        >>> q.data.shape, q.scale.shape
        ((2, 64), (2, 2))
    """
    return _octavo.quantize_mxfp8(x, dtype, side)


@taking()
def compute_scale(x: Tensor, dtype: DTypeLike = "int8", granularity: str = "token", *,
                  side: Side = "a", azp: bool = False, scale_ub: float = _INFINITY,
                  min_scale: float = 0.0, qmax: float | None = None, rounding: Rounding = "none",
                  scale_dtype: DTypeLike = "float32", non_finite: NonFinite = "propagate",
                  widen: bool = False) -> Quantized:
    """The scales (and zero points) that octavo.quantize would use; `data` is None.

    Args:
        x, dtype, granularity, side, azp, scale_ub, min_scale, qmax, rounding, scale_dtype, non_finite, widen: as in octavo.quantize.

    Returns:
        octavo.Quantized without data.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> octavo.quantizers.compute_scale(numpy.float32([[127, 0], [0, 254]])).scale.tolist()
        [[1.0], [2.0]]
    """
    granularity, side = by_lines(granularity, side)
    return _octavo.compute_scale(x, dtype, granularity, side=side, azp=azp, scale_ub=scale_ub,
                                 min_scale=min_scale, qmax=0.0 if qmax is None else qmax, rounding=rounding,
                                 scale_dtype=scale_dtype, non_finite=non_finite, widen=widen)


@taking()
def dequantize(q: Quantized, out_dtype: DTypeLike = "float32") -> Result:
    """(codes - azp) * scale, in float32, converted once.

    Args:
        q: what octavo.quantize gave, or an octavo.Quantized of codes and scales of your own.
        out_dtype: float32, bfloat16 or float16.

    Returns:
        A tensor of q's framework and shape.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: a scale of PyTorch's that needs a gradient, which this has not.

    Example:
        >>> import numpy, octavo
        >>> octavo.dequantize(octavo.quantize(numpy.float32([[1, -127]]))).tolist()
        [[1.0, -127.0]]
    """
    if is_torch(q):
        torch_operations().check_no_gradient("dequantize", "q", q.scale)
    return _octavo.dequantize(q, out_dtype)
