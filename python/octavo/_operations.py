# SPDX-License-Identifier: Apache-2.0
"""The products: arguments and defaults here, the work in the extension module."""

from typing import Any, Sequence

from . import _octavo
from ._integers import narrow
from ._octavo import UNDEFINED, PackedWeight
from ._routing import is_torch, torch_operations
from ._typing import DTypeLike, NonFinite, Operand, Result, Rounding, ScaleArgument, Subnormals, Tensor, TensorList, Weight


def scaled_mm(input: Operand, mat2: Weight, scale_a: ScaleArgument = UNDEFINED,
              scale_b: ScaleArgument = UNDEFINED, bias: Tensor | None = None,
              scale_result: ScaleArgument = UNDEFINED, out_dtype: DTypeLike | None = None, *,
              granularity_a: str | None = None, granularity_b: str | None = None,
              alpha: ScaleArgument = UNDEFINED, beta: ScaleArgument = UNDEFINED,
              c: Tensor | None = None, azp: Tensor | None = None, trans_a: bool = False,
              trans_b: bool = False, saturate: bool = True, torch_compat: bool = False,
              subnormals: Subnormals = None, out: Tensor | None = None, backend: str | None = None) -> Result:
    """out = cast(((input * scale_a) @ (mat2 * scale_b) * alpha + beta * c + bias) * scale_result)

    Args:
        input: [M, K], or an octavo.Quantized. int8, uint8, any fp8, bfloat16, float16 or float32; int64 whose
            values fit int8, else uint8, is taken as that.
        mat2: [K, N], an octavo.Quantized, or an octavo.PackedWeight. Any of these types with any other:
            all widen exactly.
        scale_a, scale_b: decode multipliers: UNDEFINED (the scale that a Quantized carries, else
            none), None (explicitly none), a number, or a tensor (float32, bfloat16, float16,
            float8_e8m0fnu). Without a granularity a tensor is broadcast: a 1-D scale_a has K elements,
            a 1-D scale_b N.
        bias: any float type: N elements (or 1, or [1, N]), one for each row [M, 1], or [M, N].
        scale_result: a number, one element or N; multiplies whatever the output type.
        out_dtype: default: that of a 16- or 32-bit float type with itself or with 8 bits; bfloat16 for fp8
            with fp8; else float32. int32: the exact sum of integers.
        granularity_a, granularity_b: "tensor", "token" (rows of input), "channel" (columns of mat2),
            "group128", "block128x128", "per_k", "element", "mx": what a scale tensor means.
        alpha, beta: a number or one element; c: [M, N], any float type.
        azp: zero points of an integer input, one or M of them: int32, int8 or uint8.
        trans_a, trans_b: input is given as [K, M], mat2 as [N, K].
        saturate: fp8 output beyond the range becomes its end (else infinity or NaN).
        torch_compat: K = 0 gives zeros, as in PyTorch.
        subnormals: "exact" takes no path that counts bfloat16 elements, products and sums below 2^-126 as
            0; octavo.explain says where the default does.
        out: where the result goes; no gradient flows through it.
        backend: forces one by name ("reference", ...).

    Returns: [M, N]. Integer sums are exact; floating sums are float32 in ascending k
        (specification sections 3 and 9).
    Raises: ValueError, NotImplementedError, MemoryError, RuntimeError.
    """
    input, mat2 = narrow("scaled_mm", "input", input), narrow("scaled_mm", "mat2", mat2)
    function = torch_operations().scaled_mm if is_torch(input) else _octavo.scaled_mm
    return function(input, mat2, scale_a, scale_b, bias, scale_result, out_dtype, granularity_a,
                    granularity_b, alpha, beta, c, azp, trans_a, trans_b, saturate, torch_compat,
                    subnormals, backend, out)


def grouped_mm(inputs: Operand | Sequence[Operand], weights: Weight | Sequence[Weight],
               biases: Tensor | TensorList | None = None, out_dtype: DTypeLike | None = None, *,
               offs: Tensor | None = None, offs_prefix: bool = False,
               scale_a: ScaleArgument | Sequence[ScaleArgument] = UNDEFINED,
               scale_b: ScaleArgument | Sequence[ScaleArgument] = UNDEFINED,
               granularity_a: str | None = None, granularity_b: str | None = None,
               alpha: ScaleArgument = UNDEFINED, beta: ScaleArgument = UNDEFINED,
               c: Tensor | None = None, scale_result: ScaleArgument = UNDEFINED, subnormals: Subnormals = None,
               out: Tensor | TensorList | None = None, backend: str | None = None) -> Result:
    """Many products in one call.

    Lists: outputs[i] = cast(inputs[i] @ weights[i] + biases[i]). inputs[i] is [k], [p, k] or [..., k],
    weights[i] [k, m] (or an octavo.PackedWeight); sizes and types are free per entry; entries of
    `biases`, `scale_a`, `scale_b` and `out` (lists, too) may be None. An empty list gives an empty
    list; lists are not broadcast.

    Tensors: one of four products by the ranks of `inputs` and `weights`, cut by `offs` (int32 or
    int64, cumulative ends [G]; [G + 1] from 0 with offs_prefix): 2-D by 3-D cuts rows, 3-D by 2-D
    columns, 2-D by 2-D K (the result is [G, M, N]); 3-D by 3-D takes no offs. `biases` is [N] or
    [G, N]. Rows past the last offset are zero, empty groups are legal. Scales are PyTorch's grouped
    shapes ([M] or [G, M], [N] or [G, N]), vLLM's ([M, 1], [G, 1], [G, 1, N]), or what a granularity says.

    Everything else as in octavo.scaled_mm; errors name the entry's index.
    """
    if isinstance(inputs, (list, tuple)):
        inputs = [narrow("grouped_mm", f"inputs[{i}]", x) for i, x in enumerate(inputs)]
        if isinstance(weights, (list, tuple)):
            weights = [narrow("grouped_mm", f"weights[{i}]", w) for i, w in enumerate(weights)]
        lists = _octavo.grouped_mm_list
        if any(is_torch(x) for x in inputs):
            lists = torch_operations().grouped_mm_list
        return lists(inputs, weights, biases, out_dtype, scales_a=_entries(scale_a),
                     scales_b=_entries(scale_b), granularity_a=granularity_a,
                     granularity_b=granularity_b, subnormals=subnormals, outs=out, backend=backend)
    inputs, weights = narrow("grouped_mm", "inputs", inputs), narrow("grouped_mm", "weights", weights)
    function = _octavo.grouped_mm
    if is_torch(inputs):
        function = torch_operations().grouped_mm
    return function(inputs, weights, offs, biases, out_dtype, scale_a=scale_a, scale_b=scale_b,
                    granularity_a=granularity_a, granularity_b=granularity_b, alpha=alpha,
                    beta=beta, c=c, scale_result=scale_result, offs_prefix=offs_prefix,
                    subnormals=subnormals, out=out, backend=backend)


def scaled_grouped_mm(input: Tensor, weight: Tensor, scale: float | Tensor | None = 1.0, *,
                      out_dtype: DTypeLike | None = None, trans_b: bool = False,
                      out: Tensor | None = None, backend: str | None = None) -> Result:
    """output[b] = (input[b] @ weight[b]) * scale, strictly 3-D, equal batch and inner sizes.

    Args:
        input: [batch, m, k]; weight: [batch, k, n], or [batch, n, k] with trans_b (attention's keys).
        scale: a number or a one-element tensor (differentiable); 1 skips the multiply.

    Returns: [batch, m, n].
    """
    input, weight = narrow("scaled_grouped_mm", "input", input), narrow("scaled_grouped_mm", "weight", weight)
    function = _octavo.scaled_grouped_mm
    if is_torch(input):
        function = torch_operations().scaled_grouped_mm
    return function(input, weight, scale, out_dtype, trans_b=trans_b, out=out, backend=backend)


def pack(weight: Operand, scale: ScaleArgument = UNDEFINED, *, granularity: str | None = None,
         activation: DTypeLike | None = None, activation_granularity: str = "token",
         azp: bool = False, scale_ub: float = float("inf"), min_scale: float = 0.0,
         qmax: float = 0.0, rounding: Rounding = "none", non_finite: NonFinite = "propagate",
         widen: bool = False, static_scale: float = 0.0, static_azp: int = 0,
         llm_int8: bool = False, outlier_threshold: float = 0.0, whole_columns: bool = False,
         outlier_columns: Any = None, backend: str | None = None) -> PackedWeight:
    """Lays a weight out once for the kernels of this machine.

    Args:
        weight: [K, N] (a stored [N, K] weight goes in transposed), or an octavo.Quantized.
        scale, granularity: as scale_b and granularity_b of octavo.scaled_mm.
        activation: the type that octavo.linear quantises activations to ("int8",
            "float8_e4m3fn"); None multiplies them as they are.
        activation_granularity: "token", "tensor" or "group128".
        azp: activations with zero points (dtype "uint8" or "int8").
        scale_ub, min_scale, qmax, rounding, widen: of the activations' computed scales, as octavo.quantize's.
        non_finite: as octavo.quantize's; with "propagate" a row with NaN or infinity gives NaN, by a static
            scale, too.
        static_scale, static_azp: activations are quantised by this one scale (and zero point)
            instead of computed ones; activation_granularity is "tensor" then.
        llm_int8: LLM.int8()'s statistics, and float columns where |x| >= outlier_threshold.
        whole_columns: of LLM.int8(): these columns stay out of row statistics.
        outlier_columns: of LLM.int8(): ascending columns that are float whatever they hold, with or
            without a threshold (a calibrated list; integers, or a tensor of them).

    Returns: octavo.PackedWeight, which octavo.scaled_mm, octavo.linear and octavo.grouped_mm take.
    """
    return _octavo.pack(weight, scale, granularity=granularity, activation=activation,
                        activation_granularity=activation_granularity, azp=azp,
                        scale_ub=scale_ub, min_scale=min_scale, qmax=qmax, rounding=rounding,
                        non_finite=non_finite, widen=widen, static_scale=static_scale, static_azp=static_azp, llm_int8=llm_int8,
                        outlier_threshold=outlier_threshold, whole_columns=whole_columns,
                        outlier_columns=outlier_columns, backend=backend)


def linear(x: Tensor, weight: PackedWeight, bias: Tensor | None = None,
           out_dtype: DTypeLike | None = None, *, batch_invariant: bool = False,
           out: Tensor | None = None, outlier_columns: Any = None,
           outlier_weight: Tensor | None = None, backend: str | None = None) -> Result:
    """y = x @ W + bias for x [..., K] (bfloat16, float16, float32) and an octavo.PackedWeight.

    The weight's activation rule decides: quantised on the way and multiplied in 8 bits, LLM.int8()
    with float columns, or as they are. Bit-equal to octavo.quantize followed by octavo.scaled_mm.
    With torch tensors a gradient flows to x (straight through the quantiser) and to bias.
    batch_invariant: refuse a rule under which a row's result depends on other rows (a computed scale
    that rows share; no other result ever does), and take LLM.int8()'s outliers element by element.
    outlier_columns, outlier_weight: of a weight packed with llm_int8: further float columns of this
    call (ascending), and the original weight [K, N] that outliers meet instead of the codes. No
    gradient flows through a call with them.

    Returns: [..., N] of out_dtype, by default x's type.
    """
    options: dict[str, Any] = {"batch_invariant": batch_invariant, "out": out, "backend": backend}
    if outlier_columns is not None or outlier_weight is not None:
        if any(getattr(t, "requires_grad", False) for t in (x, bias)):
            raise NotImplementedError("linear: outlier_columns and outlier_weight must come without "
                                      "gradients (octavo.bnb trains); got requires_grad")
        return _octavo.linear(x, weight, bias, out_dtype, outlier_columns=outlier_columns,
                              outlier_weight=outlier_weight, **options)
    function = _octavo.linear
    if is_torch(x):
        function = torch_operations().linear
    return function(x, weight, bias, out_dtype, **options)


def _entries(scales: Any) -> Any:
    """A list of scales, or none; UNDEFINED is the default of the tensor forms."""
    return None if scales is UNDEFINED else scales
