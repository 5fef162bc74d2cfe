# SPDX-License-Identifier: Apache-2.0
# Written by api/ from api/operations.toml; `python3 api` writes it again.
"""The operations: arguments and defaults here, the work in the extension module."""

from typing import Any, Sequence

from . import _octavo
from ._again import REFUSED, again
from ._deprecated import deprecated
from ._integers import narrow
from ._kinds import KINDS
from ._lines import by_lines
from ._lists import grouped_mm_list, refuse_given
from ._octavo import UNDEFINED, ExpertWeights, PackedWeight, Quantized
from ._routing import is_torch, torch_operations
from ._typing import (
    DTypeLike, NonFinite, Operand, Result, Rounding, ScaleArgument, Side, Subnormals, Tensor, TensorList, Weight,
)


def scaled_mm(input: Operand, mat2: Weight, scale_a: ScaleArgument = UNDEFINED, scale_b: ScaleArgument = UNDEFINED,
              bias: Tensor | None = None, scale_result: ScaleArgument = UNDEFINED,
              out_dtype: DTypeLike | None = None, *, granularity_a: str | None = None,
              granularity_b: str | None = None, alpha: ScaleArgument = UNDEFINED, beta: ScaleArgument = UNDEFINED,
              c: Tensor | None = None, azp: Tensor | None = None, trans_a: bool = False, trans_b: bool = False,
              saturate: bool = True, torch_compat: bool = False, k_chunks: int = 0, subnormals: Subnormals = None,
              backend: str | None = None, out: Tensor | None = None) -> Result:
    """out = cast(((input * scale_a) @ (mat2 * scale_b) * alpha + beta * c + bias) * scale_result)

    Args:
        input: [M, K], or an octavo.Quantized. int8, uint8, any fp8, bfloat16, float16 or float32; int64 whose
            values fit int8, else uint8, is taken as that.
        mat2: [K, N], an octavo.Quantized, or an octavo.types.PackedWeight. Any of these types with any other: all
            widen exactly.
        scale_a, scale_b: decode multipliers: UNDEFINED (the default: the scale that the operand carries, else
            none), None (explicitly none), a number, or a tensor (float32, bfloat16, float16, float8_e8m0fnu).
            Without a granularity a tensor is broadcast: a 1-D scale_a has K elements, a 1-D scale_b N.
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
        k_chunks: floating sums, those under scales along K and LLM.int8's outlier sums are taken over so many parts
            of K, by shard_range, and added in order: what a row-parallel layer on that many ranks, or on a divisor
            of it, gives. 0 or 1: one.
        subnormals: exact: no path that counts bfloat16 elements, products and sums below 2^-126 as 0 (`explain`
            says where one does).
        backend: force a backend by name (reference, ...); default: the best that accepts.
        out: where the result goes; default: allocated by the call. No gradient flows through it.

    Returns:
        [M, N]. Integer sums are exact; floating sums are float32 in ascending k (specification sections 3 and 9).

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> a = octavo.quantize(numpy.float32([[1, 2], [3, -4]]))        # int8, a scale for each row
        >>> b = octavo.quantize(numpy.float32([[1, 0], [0, 2]])).T       # a weight [N, K], read as [K, N]
        >>> octavo.scaled_mm(a, b).round(1).tolist()
        [[1.0, 4.0], [3.0, -8.0]]
    """
    try:
        input, mat2 = narrow("scaled_mm", "input", input), narrow("scaled_mm", "mat2", mat2)
        function = torch_operations().scaled_mm if is_torch(input) or is_torch(mat2) else _octavo.scaled_mm
        return function(input, mat2, scale_a, scale_b, bias, scale_result, out_dtype, granularity_a, granularity_b,
                        alpha, beta, c, azp, trans_a, trans_b, saturate, torch_compat, k_chunks, subnormals, backend,
                        out)
    except REFUSED as error:
        return again(error, scaled_mm, KINDS["scaled_mm"], locals())


def linear(x: Tensor, weight: PackedWeight, bias: Tensor | None = None, out_dtype: DTypeLike | None = None, *,
           batch_invariant: bool = False, backend: str | None = None, outlier_columns: Any = None,
           outlier_weight: Tensor | None = None, out: Tensor | None = None) -> Result:
    """y = x @ W + bias for a packed weight.

    The weight's activation rule decides: quantised on the fly and multiplied in 8 bits, LLM.int8()
    with float columns, or as they are. Bit-equal to octavo.quantize followed by octavo.scaled_mm.
    With torch tensors a gradient flows to x (straight through the quantiser) and to bias, unless
    the call has outlier_columns, outlier_weight or out.

    Args:
        x: [..., K], bfloat16, float16 or float32.
        weight: [K, N].
        bias: float type, [N].
        out_dtype: default: x's type.
        batch_invariant: a row's bits never depend on other rows: rules are refused under which they do (a computed
            scale that rows share), and LLM.int8's outliers become elements instead of columns. Products on a CPU
            are always so.
        backend: force a backend by name; default: the best that accepts.
        outlier_columns: LLM.int8: further outlier columns of this call (a pool's), int64 [count], ascending.
        outlier_weight: LLM.int8: the original weight [K, N], which outliers meet instead of the codes.
        out: [..., N]; default: allocated by the call.

    Returns:
        [..., N] of out_dtype.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> weight = octavo.pack(octavo.quantize(numpy.eye(3, dtype=numpy.float32)).T, activation="int8")
        >>> octavo.linear(numpy.float32([[1, 2, 4]]), weight, numpy.ones(3, numpy.float32)).round(1).tolist()
        [[2.0, 3.0, 5.0]]
    """
    try:
        function = torch_operations().linear if is_torch(x) else _octavo.linear
        return function(x, weight, bias, out_dtype, batch_invariant, backend, outlier_columns, outlier_weight, out)
    except REFUSED as error:
        return again(error, linear, KINDS["linear"], locals())


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
    weights[i] [k, m] (or an octavo.types.PackedWeight); sizes and types are free per entry; entries of
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

    Returns:
        the outputs: a list for lists, else a tensor.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> rows, experts = numpy.ones((4, 2), numpy.float32), numpy.arange(6, dtype=numpy.float32).reshape(3, 2, 1)
        >>> octavo.grouped_mm(rows, experts, offs=[1, 1, 4]).ravel().tolist()
        [1.0, 9.0, 9.0, 9.0]
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
        try:
            return grouped_mm_list(inputs, weights, biases, out_dtype, scale_a, scale_b, granularity_a, granularity_b,
                                   subnormals, backend, out)
        except REFUSED as error:
            return again(error, grouped_mm, KINDS["grouped_mm"], locals())
    try:
        inputs, weights = narrow("grouped_mm", "inputs", inputs), narrow("grouped_mm", "weights", weights)
        function = torch_operations().grouped_mm if is_torch(inputs) or is_torch(weights) else _octavo.grouped_mm
        return function(inputs, weights, offs, offs_prefix, biases, out_dtype, scale_a, scale_b, granularity_a,
                        granularity_b, alpha, beta, c, scale_result, subnormals, backend, out)
    except REFUSED as error:
        return again(error, grouped_mm, KINDS["grouped_mm"], locals())


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

    Returns:
        [batch, m, n].

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> octavo.scaled_grouped_mm(numpy.ones((2, 1, 4), numpy.int8), numpy.ones((2, 4, 1), numpy.int8), 0.5).ravel().tolist()
        [2.0, 2.0]
    """
    try:
        input, weight = narrow("scaled_grouped_mm", "input", input), narrow("scaled_grouped_mm", "weight", weight)
        function = torch_operations().scaled_grouped_mm if is_torch(input) or is_torch(weight) else _octavo.scaled_grouped_mm
        return function(input, weight, scale, out_dtype, trans_b, backend, out)
    except REFUSED as error:
        return again(error, scaled_grouped_mm, KINDS["scaled_grouped_mm"], locals())


def quantize(x: Tensor, dtype: DTypeLike = "int8", granularity: str = "token", *, side: Side = "a",
             azp: bool = False, scale_ub: float = float("inf"), min_scale: float = 0.0, qmax: float | None = None,
             rounding: Rounding = "none", scale_dtype: DTypeLike = "float32", non_finite: NonFinite = "propagate",
             saturate: bool = True, widen: bool = False, scale: ScaleArgument = UNDEFINED,
             azp_in: Tensor | None = None, finite: bool = False) -> Quantized:
    """Quantises a matrix x [R, C] (specification section 6).

    scale = absmax / qmax of each cell, code = cast(x / scale); codes and scales are the same bits on
    every machine. A weight stored as [N, K] is quantised per output channel by granularity "row".

    Args:
        x: [R, C], bfloat16, float16 or float32.
        dtype: of the codes: int8, uint8 (with azp), float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, ....
        granularity: tensor, row or column (a scale for each), group128 (along K), block128x128; token and channel:
            rows of A, columns of B.
        side: how token and channel read the matrix: a as [M, K], b as [K, N]; row and column need none.
        azp: with zero points, over the cell's own range; they may lie far outside the codes.
        scale_ub: upper bound of absmax.
        min_scale: lower bound of the scale, and the scale of zeros.
        qmax: the magnitude that scales aim at; None: the type's largest.
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
        finite: True is non_finite="error", by its former name, with a DeprecationWarning.

    Returns:
        octavo.Quantized. No gradient flows through it; see octavo.torch.nn for training.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> octavo.quantize(numpy.float32([[1, 2], [0.5, -4]]), granularity="row").data.tolist()
        [[64, 127], [16, -127]]
        >>> octavo.quantize(numpy.float32([[1, 2], [0.5, -4]]), granularity="column").data.tolist()
        [[127, 64], [64, -127]]
    """
    try:
        if finite:
            deprecated("quantize: finite=True", 'non_finite="error"')
            non_finite = "error"
        granularity, side = by_lines(granularity, side)
        return _octavo.quantize(x, dtype, granularity, side, azp, scale_ub, min_scale, 0.0 if qmax is None else qmax,
                                rounding, scale_dtype, non_finite, saturate, widen, scale, azp_in)
    except REFUSED as error:
        return again(error, quantize, KINDS["quantize"], locals())


def rotate(x: Tensor, block: int = 64, *, out_dtype: DTypeLike | None = None, backend: str | None = None,
           out: Tensor | None = None) -> Result:
    """Blocks of neighbours in the last dimension times a normalised Hadamard matrix (specification section 6).

    Outliers are spread over their block, so that 8 bits lose less. The matrix is its own inverse: what is
    rotated twice is x but for rounding. A weight is quantised so for pack(..., rotation=block), whose
    activations linear rotates. The same bits on every CPU; CUDA devices are refused.

    Args:
        x: [..., C], bfloat16, float16 or float32; C a multiple of the block.
        block: neighbours that are rotated together: 16, 64 or 256.
        out_dtype: bfloat16, float16 or float32; default: x's.
        backend: force a backend by name; default: the best that accepts.
        out: [..., C]; default: allocated by the call.

    Returns:
        [..., C] of out_dtype; differentiable for torch tensors.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> x = numpy.zeros((1, 16), numpy.float32)
        >>> x[0, 0] = 8
        >>> octavo.quantizers.rotate(x, 16)[0, :4].tolist()
        [2.0, 2.0, 2.0, -2.0]
    """
    try:
        function = torch_operations().rotate if is_torch(x) else _octavo.rotate
        return function(x, block, out_dtype, backend, out)
    except REFUSED as error:
        return again(error, rotate, KINDS["rotate"], locals())


def pack(weight: Operand, scale: ScaleArgument = UNDEFINED, *, granularity: str | None = None,
         activation: DTypeLike | None = None, activation_granularity: str = "token", azp: bool = False,
         scale_ub: float = float("inf"), min_scale: float = 0.0, qmax: float | None = None,
         rounding: Rounding = "none", non_finite: NonFinite = "propagate", widen: bool = False,
         static_scale: float | None = None, static_azp: int = 0, rotation: int = 0, llm_int8: bool = False,
         outlier_threshold: float | None = None, whole_columns: bool = False, outlier_columns: Any = None,
         backend: str | None = None) -> PackedWeight:
    """Packs a weight once for the kernels of this machine.

    Args:
        weight: [K, N] (a stored [N, K] weight goes in transposed), or an octavo.Quantized.
        scale: the weight's scale, as scale_b of scaled_mm; default: the one that it carries.
        granularity: of the scale, as granularity_b of octavo.scaled_mm.
        activation: the type that activations are quantised to.
        activation_granularity: tensor, row or column (a scale for each), group128 (along K), block128x128; token
            and channel: rows of A, columns of B.
        azp: activations with zero points (dtype uint8 or int8).
        scale_ub, min_scale: of the activations' computed scales, as of quantize.
        qmax, rounding: as of quantize.
        non_finite: as of quantize; with propagate a row with NaN or infinity gives NaN, by a static scale, too.
        widen: with azp, ranges include 0, so that zero points fit 8 bits (ONNX, compressed-tensors).
        static_scale, static_azp: static quantisation by this one scale (and zero point), with a granularity of one
            for all; None: computed ones.
        rotation: blocks of so many neighbours along K are rotated before all else: 16, 64 or 256, as the weight's
            rows were (octavo.quantizers.rotate); 0: none.
        llm_int8: LLM.int8's statistics, and float columns where |x| >= outlier_threshold.
        outlier_threshold: LLM.int8: columns with an element of this magnitude stay in float; None: off.
        whole_columns: LLM.int8: these columns stay out of row statistics.
        outlier_columns: LLM.int8: ascending columns that are float whatever they hold, with or without a threshold
            (a calibrated list).
        backend: whose layout; default, or where that one has none: the first that has.

    Returns:
        octavo.types.PackedWeight, which octavo.scaled_mm, octavo.linear and octavo.grouped_mm take.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> weight = numpy.ones((32, 64), numpy.float32)  # [N, K], as layers store it
        >>> packed = octavo.pack(octavo.quantize(weight).T, activation="int8")
        >>> packed.shape, packed.dtype
        ((64, 32), 'int8')
    """
    try:
        return _octavo.pack(weight, scale, granularity, activation, activation_granularity, azp, scale_ub, min_scale,
                            0.0 if qmax is None else qmax, rounding, non_finite, widen,
                            0.0 if static_scale is None else static_scale, static_azp, rotation, llm_int8,
                            0.0 if outlier_threshold is None else outlier_threshold, whole_columns, outlier_columns,
                            backend)
    except REFUSED as error:
        return again(error, pack, KINDS["pack"], locals())


def pack_experts(weight: Tensor, scale: ScaleArgument = UNDEFINED, *, granularity: str | None = None,
                 activation: DTypeLike | None = None, activation_granularity: str = "token", azp: bool = False,
                 scale_ub: float = float("inf"), min_scale: float = 0.0, qmax: float | None = None,
                 rounding: Rounding = "none", non_finite: NonFinite = "propagate", widen: bool = False,
                 static_scale: float | None = None, static_azp: int = 0, rotation: int = 0, llm_int8: bool = False,
                 outlier_threshold: float | None = None, whole_columns: bool = False, outlier_columns: Any = None,
                 backend: str | None = None) -> ExpertWeights:
    """Packs the weights of all experts once, in one block.

    Args:
        weight: [E, N, K] as checkpoints store it: int8, any fp8, or a float type.
        scale: [E] (one an expert), [E, N] or [E, N, 1] (one a row of N), or with a granularity group128 [E, N,
            ceil(K/128)], block128x128 [E, ceil(N/128), ceil(K/128)]; or a number for all; default: none.
        granularity: of the scale.
        activation: the type that activations are quantised to.
        activation_granularity: tensor, row or column (a scale for each), group128 (along K), block128x128; token
            and channel: rows of A, columns of B.
        azp: activations with zero points (dtype uint8 or int8).
        scale_ub, min_scale: of the activations' computed scales, as of quantize.
        qmax, rounding: as of quantize.
        non_finite: as of quantize; with propagate a row with NaN or infinity gives NaN, by a static scale, too.
        widen: with azp, ranges include 0, so that zero points fit 8 bits (ONNX, compressed-tensors).
        static_scale, static_azp: static quantisation by this one scale (and zero point), with a granularity of one
            for all; None: computed ones.
        rotation: blocks of so many neighbours along K are rotated before all else: 16, 64 or 256, as the weight's
            rows were (octavo.quantizers.rotate); 0: none.
        llm_int8: LLM.int8's statistics, and float columns where |x| >= outlier_threshold.
        outlier_threshold: LLM.int8: columns with an element of this magnitude stay in float; None: off.
        whole_columns: LLM.int8: these columns stay out of row statistics.
        outlier_columns: LLM.int8: ascending columns that are float whatever they hold, with or without a threshold
            (a calibrated list).
        backend: as of pack.

    Returns:
        octavo.types.ExpertWeights; `weights[g]` is an expert's octavo.types.PackedWeight.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> octavo.moe.pack_experts(numpy.ones((8, 32, 64), numpy.int8), 0.5, activation="int8").shape
        (8, 32, 64)
    """
    try:
        return _octavo.pack_experts(weight, scale, granularity, activation, activation_granularity, azp, scale_ub,
                                    min_scale, 0.0 if qmax is None else qmax, rounding, non_finite, widen,
                                    0.0 if static_scale is None else static_scale, static_azp, rotation, llm_int8,
                                    0.0 if outlier_threshold is None else outlier_threshold, whole_columns,
                                    outlier_columns, backend)
    except REFUSED as error:
        return again(error, pack_experts, KINDS["pack_experts"], locals())


def silu_and_mul(x: Tensor, out_dtype: DTypeLike | None = None, *, backend: str | None = None,
                 out: Tensor | None = None) -> Result:
    """silu(x[..., :I]) * x[..., I:] in float32, converted once.

    The bits are the same on every machine; silu is within 4 ulp of its exact value.

    Args:
        x: [..., 2 I], bfloat16, float16 or float32.
        out_dtype: a float type; default: x's.
        backend: force a backend by name; default: the best that accepts.
        out: [..., I]; default: allocated by the call.

    Returns:
        [..., I] of out_dtype.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> octavo.moe.silu_and_mul(numpy.float32([[0, 20, 3, 2]])).tolist()
        [[0.0, 40.0]]
    """
    try:
        function = torch_operations().silu_and_mul if is_torch(x) else _octavo.silu_and_mul
        return function(x, out_dtype, backend, out)
    except REFUSED as error:
        return again(error, silu_and_mul, KINDS["silu_and_mul"], locals())


def silu_and_mul_quantize(x: Tensor, dtype: DTypeLike = "int8", granularity: str = "token", *, side: Side = "a",
                          azp: bool = False, scale_ub: float = float("inf"), min_scale: float = 0.0,
                          qmax: float | None = None, rounding: Rounding = "none",
                          scale_dtype: DTypeLike = "float32", non_finite: NonFinite = "propagate",
                          saturate: bool = True, widen: bool = False, scale: ScaleArgument = UNDEFINED,
                          azp_in: Tensor | None = None, backend: str | None = None) -> Quantized:
    """octavo.quantize of silu_and_mul's rows, in one pass.

    Codes, scales and zero points are those of the two calls, bit for bit: the rows between have x's type.
    `torch.ops.octavo.silu_and_mul_quantize` goes into graphs. non_finite="error" and CUDA devices are refused.

    Args:
        x: [..., 2 I], bfloat16, float16 or float32.
        dtype: of the codes: int8, uint8 (with azp), float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, ....
        granularity: tensor, row or column (a scale for each), group128 (along K), block128x128; token and channel:
            rows of A, columns of B.
        side: how token and channel read the matrix: a as [M, K], b as [K, N]; row and column need none.
        azp: with zero points, over the cell's own range; they may lie far outside the codes.
        scale_ub: upper bound of absmax.
        min_scale: lower bound of the scale, and the scale of zeros.
        qmax: the magnitude that scales aim at; None: the type's largest.
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
        backend: force a backend by name; default: the best that accepts.

    Returns:
        octavo.Quantized of the matrix [R, I] of all rows. No gradient flows through it.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> octavo.moe.silu_and_mul_quantize(numpy.float32([[20, 20, 127, 1]])).data.tolist()
        [[127, 1]]
    """
    try:
        granularity, side = by_lines(granularity, side)
        return _octavo.silu_and_mul_quantize(x, dtype, granularity, side, azp, scale_ub, min_scale,
                                             0.0 if qmax is None else qmax, rounding, scale_dtype, non_finite, saturate,
                                             widen, scale, azp_in, backend)
    except REFUSED as error:
        return again(error, silu_and_mul_quantize, KINDS["silu_and_mul_quantize"], locals())


def rms_norm(x: Tensor, weight: Tensor | None = None, epsilon: float = 1e-6, *, backend: str | None = None,
             residual: Tensor | None = None, out: Tensor | None = None) -> Result:
    """x / sqrt(mean of x^2 over the last dimension + epsilon), times a weight.

    The sum of squares is float64's in a written order, so a row's bits depend on nothing but the row
    and are the same on every CPU. Rounded to the weight's type before it is multiplied, as PyTorch and
    vLLM do. Not differentiable. CUDA devices are refused.

    Args:
        x: [..., C], bfloat16, float16 or float32.
        weight: [C], x's type or float32; default: none.
        epsilon: added to the mean.
        backend: force a backend by name; default: the best that accepts.
        residual: x's type and shape: is added to x in float32 first, and becomes that sum; default: none.
        out: [..., C]; default: allocated by the call.

    Returns:
        [..., C] of x's type.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> octavo.norms.rms_norm(numpy.float32([[2, -2]]), numpy.float32([1, 3]), 0.0).tolist()
        [[1.0, -3.0]]
    """
    try:
        function = torch_operations().rms_norm if is_torch(x) else _octavo.rms_norm
        return function(x, weight, epsilon, backend, residual, out)
    except REFUSED as error:
        return again(error, rms_norm, KINDS["rms_norm"], locals())


def rms_norm_quantize(x: Tensor, weight: Tensor | None = None, epsilon: float = 1e-6, dtype: DTypeLike = "int8",
                      granularity: str = "token", *, side: Side = "a", azp: bool = False,
                      scale_ub: float = float("inf"), min_scale: float = 0.0, qmax: float | None = None,
                      rounding: Rounding = "none", scale_dtype: DTypeLike = "float32",
                      non_finite: NonFinite = "propagate", saturate: bool = True, widen: bool = False,
                      scale: ScaleArgument = UNDEFINED, azp_in: Tensor | None = None, backend: str | None = None,
                      residual: Tensor | None = None) -> Quantized:
    """octavo.quantize of rms_norm's rows, in one pass.

    Codes, scales and zero points are those of the two calls, bit for bit: the rows between have x's type. A row is
    normed and quantised while it lies in a cache, where each has a scale of its own or a given one.
    `torch.ops.octavo.rms_norm_quantize` goes into graphs. non_finite="error" and CUDA devices are refused.

    Args:
        x: [..., C], bfloat16, float16 or float32.
        weight: [C], x's type or float32; default: none.
        epsilon: added to the mean.
        dtype: of the codes: int8, uint8 (with azp), float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, ....
        granularity: tensor, row or column (a scale for each), group128 (along K), block128x128; token and channel:
            rows of A, columns of B.
        side: how token and channel read the matrix: a as [M, K], b as [K, N]; row and column need none.
        azp: with zero points, over the cell's own range; they may lie far outside the codes.
        scale_ub: upper bound of absmax.
        min_scale: lower bound of the scale, and the scale of zeros.
        qmax: the magnitude that scales aim at; None: the type's largest.
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
        backend: force a backend by name; default: the best that accepts.
        residual: x's type and shape: is added to x in float32 first, and becomes that sum; default: none.

    Returns:
        octavo.Quantized of the matrix [R, C] of all rows. No gradient flows through it.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> octavo.norms.rms_norm_quantize(numpy.float32([[2, -2]]), numpy.float32([1, 127]), 0.0).data.tolist()
        [[1, -127]]
    """
    try:
        granularity, side = by_lines(granularity, side)
        return _octavo.rms_norm_quantize(x, weight, epsilon, dtype, granularity, side, azp, scale_ub, min_scale,
                                         0.0 if qmax is None else qmax, rounding, scale_dtype, non_finite, saturate,
                                         widen, scale, azp_in, backend, residual)
    except REFUSED as error:
        return again(error, rms_norm_quantize, KINDS["rms_norm_quantize"], locals())


def attention(q: Tensor, keys: Tensor, key_scales: Tensor, values: Tensor, value_scales: Tensor, *,
              block_table: Tensor | None = None, lengths: Tensor | None = None, starts: Tensor | None = None,
              scale: float = 0.0, window: int = 0, bidirectional: bool = False, backend: str | None = None,
              out: Tensor | None = None) -> Result:
    """softmax(q keys^T * scale) values over a cache of 8-bit codes, with one float32 scale for each token and head.

    The T queries of a sequence are its last T tokens. `octavo.quantize(rows)` of rows [N, D] makes codes and
    scales. Beside int8, queries are quantised, too, and products are exact sums of codes; float8_e4m3fn codes
    meet queries in float32. All of it is in a written order: a row's bits depend on no other row, nor on how
    tokens lie in pages, and are the same on every CPU. Rows that see no token are 0. Not differentiable. CUDA
    devices are refused. Source: specification section 7.

    Args:
        q: [B, T, H, D], bfloat16, float16 or float32; D is at most 1024.
        keys: [pages, page_size, H_kv, D], int8 or float8_e4m3fn; elements of a head are neighbours, other strides
            are free.
        key_scales: [pages, page_size, H_kv], float32.
        values: as keys.
        value_scales: as key_scales.
        block_table: int32 or int64 [B, P]: the pages of each sequence in order; default: sequence b has page b.
        lengths: int32 or int64 [B]: tokens of each sequence, the queries' among them; default: whole pages.
        starts: int32 or int64 [B]: tokens before it are not seen (padding); default: 0.
        scale: of scores; 0: 1 / sqrt(D).
        window: how many tokens a query sees at most, itself among them; 0: all.
        bidirectional: queries see later tokens, too.
        backend: force a backend by name; default: the best that accepts.
        out: [B, T, H, D]; default: allocated by the call.

    Returns:
        [B, T, H, D] of q's type.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> ones = numpy.ones((1, 2, 1, 4), numpy.int8), numpy.ones((1, 2, 1), numpy.float32)
        >>> octavo.attention.attention(numpy.ones((1, 1, 1, 4), numpy.float32), *ones, *ones).ravel().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    try:
        function = torch_operations().attention if is_torch(q) else _octavo.attention
        return function(q, keys, key_scales, values, value_scales, block_table, lengths, starts, scale, window,
                        bidirectional, backend, out)
    except REFUSED as error:
        return again(error, attention, KINDS["attention"], locals())


def fused_experts(x: Tensor, w13: ExpertWeights, w2: ExpertWeights, topk_weights: Tensor, topk_ids: Tensor, *,
                  bias13: Tensor | None = None, bias2: Tensor | None = None,
                  apply_router_weight_on_input: bool = False, expert_map: Tensor | None = None,
                  out_dtype: DTypeLike | None = None, batch_invariant: bool = False, backend: str | None = None,
                  out: Tensor | None = None) -> Result:
    """y[m] = sum over t of topk_weights[m, t] * (W2[e] @ act(W13[e] @ x[m] + b13[e]) + b2[e]), e = topk_ids[m, t].

    act(h) = silu(h[:I]) * h[I:]. Everything between the products is float32; activations are
    quantised by the weights' rules, those of x once per token. Gradients flow to x, topk_weights and
    the biases, straight through the quantisers; experts are constant.

    Args:
        x: [..., K], M rows of bfloat16, float16 or float32.
        w13: [E, 2 I, K], from octavo.moe.pack_experts.
        w2: [E, N, I], from octavo.moe.pack_experts.
        topk_weights: [M, T], a float type.
        topk_ids: [M, T], int32 or int64; -1 contributes nothing.
        bias13: float type, [E, 2 I].
        bias2: float type, [E, N].
        apply_router_weight_on_input: the weight multiplies x, in float32, rounded to x's type, instead of the
            expert's result.
        expert_map: int32: ids to experts of w13 and w2, or -1: not here.
        out_dtype: a float type; default: x's.
        batch_invariant: a row's bits never depend on other rows: rules are refused under which they do (a computed
            scale that rows share), and LLM.int8's outliers become elements instead of columns. Products on a CPU
            are always so.
        backend: force a backend by name; default: the best that accepts.
        out: x's leading dimensions and N; default: allocated by the call.

    Returns:
        [..., N] of out_dtype.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
        MemoryError: no memory for the result or the workspace.
        RuntimeError: a device that is not there.

    Example:
        >>> import numpy, octavo
        >>> w13, w2 = (octavo.moe.pack_experts(numpy.ones(shape, numpy.float32)) for shape in ((2, 8, 4), (2, 4, 4)))
        >>> x, weights, ids = numpy.ones((3, 4), numpy.float32), numpy.ones((3, 1), numpy.float32), numpy.zeros((3, 1), numpy.int32)
        >>> octavo.moe.fused_experts(x, w13, w2, weights, ids).shape
        (3, 4)
    """
    try:
        function = torch_operations().fused_experts if is_torch(x) else _octavo.fused_experts
        return function(x, w13, w2, topk_weights, topk_ids, bias13, bias2, apply_router_weight_on_input, expert_map,
                        out_dtype, batch_invariant, backend, out)
    except REFUSED as error:
        return again(error, fused_experts, KINDS["fused_experts"], locals())
