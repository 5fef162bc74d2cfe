# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts: packed experts, and the layer that routes tokens through them."""

from typing import Any

from . import _octavo
from ._octavo import UNDEFINED, ExpertWeights, FusedExpertsExplanation
from ._routing import is_torch, torch_operations
from ._typing import DTypeLike, NonFinite, Result, Rounding, ScaleArgument, Tensor


def pack_experts(weight: Tensor, scale: ScaleArgument = UNDEFINED, *, granularity: str | None = None,
                 activation: DTypeLike | None = None, activation_granularity: str = "token",
                 azp: bool = False, scale_ub: float = float("inf"), min_scale: float = 0.0,
                 qmax: float = 0.0, rounding: Rounding = "none",
                 non_finite: NonFinite = "propagate", widen: bool = False, static_scale: float = 0.0,
                 static_azp: int = 0, llm_int8: bool = False, outlier_threshold: float = 0.0,
                 whole_columns: bool = False, outlier_columns: Any = None,
                 backend: str | None = None) -> ExpertWeights:
    """Lays the weights of all experts out once, in one block.

    Args:
        weight: [E, N, K] as checkpoints store it: int8, any fp8, or a float type.
        scale: [E] (one an expert), [E, N] or [E, N, 1] (one a row of N), or with a granularity
            "group128" [E, N, ceil(K/128)], "block128x128" [E, ceil(N/128), ceil(K/128)]; or a number.
        activation and what follows: as in octavo.pack; None multiplies activations as they are
            (bfloat16 or float16 by 8-bit experts). A static scale is one for all experts; outlier
            columns are refused.

    Returns: octavo.ExpertWeights; `weights[g]` is an expert's octavo.PackedWeight.
    """
    return _octavo.pack_experts(weight, scale, granularity=granularity, activation=activation,
                                activation_granularity=activation_granularity, azp=azp,
                                scale_ub=scale_ub, min_scale=min_scale, qmax=qmax,
                                rounding=rounding, non_finite=non_finite, widen=widen, static_scale=static_scale,
                                static_azp=static_azp, llm_int8=llm_int8,
                                outlier_threshold=outlier_threshold,
                                whole_columns=whole_columns, outlier_columns=outlier_columns,
                                backend=backend)


def fused_experts(x: Tensor, w13: ExpertWeights, w2: ExpertWeights, topk_weights: Tensor,
                  topk_ids: Tensor, *, bias13: Tensor | None = None, bias2: Tensor | None = None,
                  apply_router_weight_on_input: bool = False, expert_map: Tensor | None = None,
                  out_dtype: DTypeLike | None = None, batch_invariant: bool = False,
                  out: Tensor | None = None, backend: str | None = None) -> Result:
    """y[m] = sum over t of topk_weights[m, t] * (W2[e] @ act(W13[e] @ x[m] + b13[e]) + b2[e]), e = topk_ids[m, t].

    act(h) = silu(h[:I]) * h[I:]. Everything between the products is float32; activations are
    quantised by the weights' rules, those of x once per token.

    Args:
        x: [..., K], M rows of bfloat16, float16 or float32.
        w13: experts [E, 2 I, K], w2: experts [E, N, I], from octavo.pack_experts.
        topk_weights: [M, T], a float type; topk_ids: [M, T] int32 or int64, -1 contributes nothing.
        bias13: [E, 2 I]; bias2: [E, N].
        apply_router_weight_on_input: the weight multiplies x (rounded to x's type) instead.
        expert_map: int32, ids to experts of w13 and w2, or -1 (not here).
        batch_invariant: refuse rules by which rows share a dynamic scale; all others are so anyway.

    Returns: [..., N] of out_dtype, by default x's type. No gradient flows through it.
    """
    function = _octavo.fused_experts
    if is_torch(x):
        function = torch_operations().fused_experts
    return function(x, w13, w2, topk_weights, topk_ids, bias13=bias13, bias2=bias2,
                    apply_router_weight_on_input=apply_router_weight_on_input,
                    expert_map=expert_map, out_dtype=out_dtype, batch_invariant=batch_invariant,
                    out=out, backend=backend)


def explain_fused_experts(x: Tensor, w13: ExpertWeights, w2: ExpertWeights, topk_weights: Tensor,
                          topk_ids: Tensor, expert_map: Tensor | None = None,
                          backend: str | None = None) -> FusedExpertsExplanation:
    """What runs both products of octavo.fused_experts for these arguments, and why."""
    return _octavo.explain_fused_experts(x, w13, w2, topk_weights, topk_ids, expert_map, backend)


def silu_and_mul(x: Tensor, out_dtype: DTypeLike | None = None, *, out: Tensor | None = None,
                 backend: str | None = None) -> Result:
    """silu(x[..., :I]) * x[..., I:] in float32, converted once: [..., I] of out_dtype, by default x's type.

    The bits are the same on every machine; silu is within 4 ulp of its exact value. No gradient
    flows through it.
    """
    function = torch_operations().silu_and_mul if is_torch(x) else _octavo.silu_and_mul
    return function(x, out_dtype, out=out, backend=backend)
