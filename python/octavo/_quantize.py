# SPDX-License-Identifier: Apache-2.0
"""Quantisers: float tensors to codes and scales, and back."""

from . import _octavo
from ._octavo import UNDEFINED, Quantized
from ._typing import DTypeLike, NonFinite, Result, Rounding, ScaleArgument, Side, Tensor

_INFINITY = float("inf")


def quantize(x: Tensor, dtype: DTypeLike = "int8", granularity: str = "token", *, side: Side = "a",
             azp: bool = False, scale_ub: float = _INFINITY, min_scale: float = 0.0, qmax: float = 0.0,
             rounding: Rounding = "none", scale_dtype: DTypeLike = "float32",
             non_finite: NonFinite = "propagate", widen: bool = False, saturate: bool = True, scale: ScaleArgument = UNDEFINED,
             azp_in: Tensor | None = None, finite: bool = False) -> Quantized:
    """Quantises a matrix x [R, C] of bfloat16, float16 or float32 (specification section 6).

    scale = absmax / qmax of each cell, code = cast(x / scale); codes and scales are the same bits on
    every machine. A weight stored as [N, K] is quantised per output channel by granularity "token",
    or as `w.T` with side "b" and "channel".

    Args:
        dtype: "int8", "uint8" (with azp), "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", ...
        granularity: "tensor", "token", "channel", "group128", "block128x128".
        side: how granularities read x: "a" as [M, K], "b" as [K, N].
        azp: with zero points, over the cell's own range; they may lie far outside the codes.
        widen: with azp, ranges include 0, so that zero points fit 8 bits (ONNX, compressed-tensors).
        scale_ub: upper bound of absmax; min_scale: lower bound of the scale, and the scale of zeros.
        qmax: the magnitude that scales aim at; 0 for the type's largest.
        rounding: "none", "power_of_two" (up, before quantising: DeepSeek) or "mx_floor" (OCP MX).
        scale_dtype: "float32", or "float8_e8m0fnu" for power-of-two scales.
        non_finite: "propagate": NaN and infinity show. fp8 codes become NaN (infinity stays in e5m2);
            integer cells with one get the scale NaN, codes and zero point 0. With a given scale integer codes
            cannot show them: NaN is 0, infinities saturate. "ignore": scales come from the finite elements,
            infinities saturate where the type has none, NaN is 0 in integers. "error": refused (ValueError).
        saturate: fp8 codes beyond the range become its end (else infinity or NaN).
        scale, azp_in: static quantisation by these.
        finite: True is non_finite="error", by its former name.

    Returns: octavo.Quantized. No gradient flows through it; see octavo.torch.nn for training.
    """
    if finite:
        non_finite = "error"
    return _octavo.quantize(x, dtype, granularity, side=side, azp=azp, scale_ub=scale_ub,
                            min_scale=min_scale, qmax=qmax, rounding=rounding, scale_dtype=scale_dtype,
                            non_finite=non_finite, widen=widen, saturate=saturate, scale=scale,
                            azp_in=azp_in)


def quantize_mxfp8(x: Tensor, dtype: DTypeLike = "float8_e4m3fn", *, side: Side = "a") -> Quantized:
    """MX fp8: groups of 32 along K with e8m0 scales (OCP MX 1.0)."""
    return _octavo.quantize_mxfp8(x, dtype, side)


def compute_scale(x: Tensor, dtype: DTypeLike = "int8", granularity: str = "token", *,
                  side: Side = "a", azp: bool = False, scale_ub: float = _INFINITY,
                  min_scale: float = 0.0, qmax: float = 0.0, rounding: Rounding = "none",
                  scale_dtype: DTypeLike = "float32", non_finite: NonFinite = "propagate",
                  widen: bool = False) -> Quantized:
    """The scales (and zero points) that octavo.quantize would use; `data` is None."""
    return _octavo.compute_scale(x, dtype, granularity, side=side, azp=azp, scale_ub=scale_ub,
                                 min_scale=min_scale, qmax=qmax, rounding=rounding,
                                 scale_dtype=scale_dtype, non_finite=non_finite, widen=widen)


def dequantize(q: Quantized, out_dtype: DTypeLike = "float32") -> Result:
    """(codes - azp) * scale of an octavo.Quantized, in float32, converted once."""
    return _octavo.dequantize(q, out_dtype)
