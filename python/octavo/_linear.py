# SPDX-License-Identifier: Apache-2.0
"""Packed weights, and linear layers over them."""

from typing import Any

from . import _octavo
from ._octavo import UNDEFINED, PackedWeight
from ._routing import is_torch, torch_operations
from ._typing import DTypeLike, NonFinite, Operand, Result, Rounding, ScaleArgument, Tensor


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
