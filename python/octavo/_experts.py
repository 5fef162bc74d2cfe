# SPDX-License-Identifier: Apache-2.0
"""What runs a mixture of experts."""

from . import _octavo
from ._octavo import ExpertWeights, FusedExpertsExplanation
from ._taking import taking
from ._typing import Tensor


@taking(topk_ids="indices", expert_map="?indices")
def explain_fused_experts(x: Tensor, w13: ExpertWeights, w2: ExpertWeights, topk_weights: Tensor,
                          topk_ids: Tensor, expert_map: Tensor | None = None,
                          backend: str | None = None) -> FusedExpertsExplanation:
    """What runs both products of octavo.moe.fused_experts for these arguments, and why."""
    return _octavo.explain_fused_experts(x, w13, w2, topk_weights, topk_ids, expert_map=expert_map, backend=backend)
