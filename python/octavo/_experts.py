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
    """What runs both products of octavo.moe.fused_experts for these arguments, and why.

    Args:
        x, w13, w2, topk_weights, topk_ids, expert_map, backend: as in octavo.moe.fused_experts.

    Returns:
        octavo.types.FusedExpertsExplanation.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> w13, w2 = (octavo.moe.pack_experts(numpy.ones(shape, numpy.float32)) for shape in ((2, 8, 4), (2, 4, 4)))
        >>> x, weights, ids = numpy.ones((3, 4), numpy.float32), numpy.ones((3, 1), numpy.float32), numpy.zeros((3, 1), numpy.int32)
        >>> octavo.moe.explain_fused_experts(x, w13, w2, weights, ids).touched
        1
    """
    return _octavo.explain_fused_experts(x, w13, w2, topk_weights, topk_ids, expert_map=expert_map, backend=backend)
