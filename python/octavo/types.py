# SPDX-License-Identifier: Apache-2.0
"""Classes of what functions take and give, for annotations and isinstance. octavo.Quantized is at the top."""

from ._octavo import (
    Checkpoint, CheckpointFile, Declaration, ExpertWeights, Explanation, FusedExpertsExplanation, LayerReport,
    PackedWeight, QuantizeEstimate, QuantizeReport, Weight,
)

__all__ = ["Checkpoint", "CheckpointFile", "Declaration", "ExpertWeights", "Explanation", "FusedExpertsExplanation",
           "LayerReport", "PackedWeight", "QuantizeEstimate", "QuantizeReport", "Weight"]
