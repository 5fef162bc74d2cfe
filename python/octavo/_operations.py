# SPDX-License-Identifier: Apache-2.0
# Written by api/ from api/operations.toml; `python3 api` writes it again.
"""The operations: arguments and defaults here, the work in the extension module."""

from typing import Sequence

from . import _octavo
from ._integers import narrow
from ._lists import grouped_mm_list, refuse_given
from ._octavo import UNDEFINED, Quantized
from ._routing import is_torch, torch_operations
from ._typing import (
    DTypeLike, NonFinite, Operand, Result, Rounding, ScaleArgument, Side, Subnormals, Tensor, TensorList, Weight,
)


def scaled_mm(input: Operand, mat2: Weight, scale_a: ScaleArgument = UNDEFINED, scale_b: ScaleArgument = UNDEFINED,
              bias: Tensor | None = None, scale_result: ScaleArgument = UNDEFINED,
              out_dtype: DTypeLike | None = None, *, granularity_a: str | None = None,
              granularity_b: str | None = None, alpha: ScaleArgument = UNDEFINED, beta: ScaleArgument = UNDEFINED,
              c: Tensor | None = None, azp: Tensor | None = None, trans_a: bool = False, trans_b: bool = False,
              saturate: bool = True, torch_compat: bool = False, subnormals: Subnormals = None,
              backend: str | None = None, out: Tensor | None = None) -> Result:
    """out = cast(((input * scale_a) @ (mat2 * scale_b) * alpha + beta * c + bias) * scale_result)

    Args:
        input: [M, K], or an octavo.Quantized. int8, uint8, any fp8, bfloat16, float16 or float32; int64 whose
            values fit int8, else uint8, is taken as that.
        mat2: [K, N], an octavo.Quantized, or an octavo.PackedWeight. Any of these types with any other: all widen
            exactly.
        scale_a, scale_b: decode multipliers: undefined (the scale that the operand carries, else none), null
            (explicitly none), a number, or a tensor (float32, bfloat16, float16, float8_e8m0fnu). Without a
            granularity a tensor is broadcast: a 1-D scale_a has K elements, a 1-D scale_b N.
        bias: float type: N elements (or 1, or [1, N]), one for each row [M, 1], or [M, N].
        scale_result: a number, one element or [N]; multiplies every output, whatever its type.
        out_dtype: default: that of a 16- or 32-bit float type with itself or with 8 bits, bfloat16 for fp8 with
            fp8, else float32. int32: the exact sum of integers.
        granularity_a, granularity_b: what a scale tensor means: tensor, token (rows of A), channel (columns of B),
            group128, block128x128, per_k, element, mx.
        alpha: a number or one element.
        beta: a number or one element; needs c; the number 0: c is not read.
        c: [M, N], any float type; without beta: beta = 1.
        azp: zero points of an integer A: int32, int8 or uint8; one element or [M].
        trans_a: A is given as [K, M].
        trans_b: B is given as [N, K].
        saturate: fp8 output beyond the largest finite value becomes that (else infinity or NaN).
        torch_compat: K = 0 gives zeros, as PyTorch does.
        subnormals: exact: no path that counts bfloat16 elements, products and sums below 2^-126 as 0 (`explain`
            says where one does).
        backend: force a backend by name (reference, ...); default: the best that accepts.
        out: where the result goes; default: allocated by the call. No gradient flows through it.

    Returns: [M, N]. Integer sums are exact; floating sums are float32 in ascending k (specification sections 3 and
        9).
    Raises: ValueError, NotImplementedError, MemoryError, RuntimeError.
    """
    input, mat2 = narrow("scaled_mm", "input", input), narrow("scaled_mm", "mat2", mat2)
    function = torch_operations().scaled_mm if is_torch(input) else _octavo.scaled_mm
    return function(input, mat2, scale_a, scale_b, bias, scale_result, out_dtype, granularity_a, granularity_b,
                    alpha, beta, c, azp, trans_a, trans_b, saturate, torch_compat, subnormals, backend, out)


def grouped_mm(inputs: Operand | Sequence[Operand], weights: Weight | Sequence[Weight],
               biases: Tensor | TensorList | None = None, out_dtype: DTypeLike | None = None, *,
               offs: Tensor | None = None, offs_prefix: bool = False,
               scale_a: ScaleArgument | Sequence[ScaleArgument] = UNDEFINED,
               scale_b: ScaleArgument | Sequence[ScaleArgument] = UNDEFINED, granularity_a: str | None = None,
               granularity_b: str | None = None, alpha: ScaleArgument = UNDEFINED, beta: ScaleArgument = UNDEFINED,
               c: Tensor | None = None, scale_result: ScaleArgument = UNDEFINED, subnormals: Subnormals = None,
               backend: str | None = None, out: Tensor | TensorList | None = None) -> Result:
    """Many products in one call.

    Lists: outputs[i] = cast(inputs[i] @ weights[i] + biases[i]). inputs[i] is [k], [p, k] or [..., k],
    weights[i] [k, m] (or an octavo.PackedWeight); sizes and types are free per entry; entries of
    `biases`, `scale_a`, `scale_b` and `out` (lists, too) may be None. An empty list gives an empty
    list; lists are not broadcast. Errors name the entry's index.

    Tensors: one of four products by the ranks of `inputs` and `weights`, cut by `offs`: 2-D by 3-D cuts
    rows, 3-D by 2-D columns, 2-D by 2-D K (the result is [G, M, N]); 3-D by 3-D takes no offs. Rows past
    the last offset are zero, empty groups are legal. Scales are PyTorch's grouped shapes ([M] or [G, M],
    [N] or [G, N]), vLLM's ([M, 1], [G, 1], [G, 1, N]), or what a granularity says.

    Args:
        inputs: as input of octavo.scaled_mm, [M, K] or [G, M, K].
        weights: as mat2 of octavo.scaled_mm, [G, K, N] or [K, N].
        offs, offs_prefix: int32 or int64 [G]: cumulative ends; [G + 1] from 0 with `offs_prefix`.
        biases: [N] or [G, N]; 3-D by 2-D: [N] of the whole output.
        out_dtype: default: as of scaled_mm.
        scale_a, scale_b: one element, [M] per row, or what a granularity says.
        granularity_a, granularity_b: as of octavo.scaled_mm.
        alpha, beta: a number or one element; beta needs c.
        c: the shape of the output; without beta: beta = 1; not added past the last group.
        scale_result: a number, one element or [N]; multiplies every output.
        subnormals: exact: no path that counts bfloat16 elements, products and sums below 2^-126 as 0 (`explain`
            says where one does).
        backend: force a backend by name; default: the best that accepts.
        out: where the result goes; default: allocated by the call. No gradient flows through it.

    Returns: the outputs: a list for lists, else a tensor.
    Raises: ValueError, NotImplementedError, MemoryError, RuntimeError.
    """
    if isinstance(inputs, (list, tuple)):
        refuse_given("grouped_mm", (
            ("offs", offs is not None),
            ("offs_prefix", offs_prefix is not False),
            ("alpha", alpha is not UNDEFINED),
            ("beta", beta is not UNDEFINED),
            ("c", c is not None),
            ("scale_result", scale_result is not UNDEFINED),
        ))
        return grouped_mm_list(inputs, weights, biases, out_dtype, scale_a, scale_b, granularity_a, granularity_b,
                               subnormals, backend, out)
    inputs, weights = narrow("grouped_mm", "inputs", inputs), narrow("grouped_mm", "weights", weights)
    function = torch_operations().grouped_mm if is_torch(inputs) else _octavo.grouped_mm
    return function(inputs, weights, offs, offs_prefix, biases, out_dtype, scale_a, scale_b, granularity_a,
                    granularity_b, alpha, beta, c, scale_result, subnormals, backend, out)


def scaled_grouped_mm(input: Tensor, weight: Tensor, scale: float | Tensor = 1.0, *,
                      out_dtype: DTypeLike | None = None, trans_b: bool = False, backend: str | None = None,
                      out: Tensor | None = None) -> Result:
    """output[b] = (input[b] @ weight[b]) * scale, strictly 3-D, equal batch and inner sizes.

    Args:
        input: [batch, m, k].
        weight: [batch, k, n], or [batch, n, k] with trans_b.
        scale: a number or one element; 1 skips the multiply.
        out_dtype: default: as of scaled_mm.
        trans_b: weight is given as [batch, n, k] (attention: keys as they are).
        backend: force a backend by name; default: the best that accepts.
        out: where the result goes; default: allocated by the call. No gradient flows through it.

    Returns: [batch, m, n].
    Raises: ValueError, NotImplementedError, MemoryError, RuntimeError.
    """
    input, weight = narrow("scaled_grouped_mm", "input", input), narrow("scaled_grouped_mm", "weight", weight)
    function = torch_operations().scaled_grouped_mm if is_torch(input) else _octavo.scaled_grouped_mm
    return function(input, weight, scale, out_dtype, trans_b, backend, out)


def quantize(x: Tensor, dtype: DTypeLike = "int8", granularity: str = "token", *, side: Side = "a",
             azp: bool = False, scale_ub: float = float("inf"), min_scale: float = 0.0, qmax: float = 0.0,
             rounding: Rounding = "none", scale_dtype: DTypeLike = "float32", non_finite: NonFinite = "propagate",
             saturate: bool = True, widen: bool = False, scale: ScaleArgument = UNDEFINED,
             azp_in: Tensor | None = None, finite: bool = False) -> Quantized:
    """Quantises a matrix x [R, C] (specification section 6).

    scale = absmax / qmax of each cell, code = cast(x / scale); codes and scales are the same bits on
    every machine. A weight stored as [N, K] is quantised per output channel by granularity "token",
    or as `w.T` with side "b" and "channel".

    Args:
        x: [R, C], bfloat16, float16 or float32.
        dtype: of the codes: int8, uint8 (with azp), float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, ....
        granularity: tensor, token, channel, group128, block128x128.
        side: how granularities read the matrix: a as [M, K], b as [K, N].
        azp: with zero points, over the cell's own range; they may lie far outside the codes.
        scale_ub: upper bound of absmax.
        min_scale: lower bound of the scale, and the scale of zeros.
        qmax: the magnitude that scales aim at; 0: the type's largest.
        rounding: none, power_of_two (up, before quantising: DeepSeek) or mx_floor (OCP MX).
        scale_dtype: float32, or float8_e8m0fnu for power-of-two scales.
        non_finite: propagate: NaN and infinity show. fp8 codes become NaN (infinity stays in e5m2); integer cells
            with one get the scale NaN, codes and zero point 0. With a given scale integer codes cannot show them:
            NaN is 0, infinities saturate. ignore: scales come from the finite elements, infinities saturate where
            the type has none, NaN is 0 in integers. error: refused.
        saturate: fp8 codes beyond the range become its end (else infinity or NaN).
        widen: with azp, ranges include 0, so that zero points fit 8 bits (ONNX, compressed-tensors).
        scale: static quantisation: this scale instead of a computed one.
        azp_in: static quantisation with azp: the zero points, int32.
        finite: True is non_finite="error", by its former name.

    Returns: octavo.Quantized. No gradient flows through it; see octavo.torch.nn for training.
    Raises: ValueError, NotImplementedError, MemoryError, RuntimeError.
    """
    if finite:
        non_finite = "error"
    return _octavo.quantize(x, dtype, granularity, side, azp, scale_ub, min_scale, qmax, rounding, scale_dtype,
                            non_finite, saturate, widen, scale, azp_in)
