# SPDX-License-Identifier: Apache-2.0
"""Packed weights as pickle sees them: codes and scales, packed again where they are loaded."""

from typing import Any

from ._octavo import UNDEFINED, ExpertWeights, PackedWeight, Quantized, pack, pack_experts
from ._typing import Tensor


def _restore_packed(quantized: Quantized, activation: dict[str, Any] | None) -> PackedWeight:
    return pack(quantized, **(activation or {}))


def _restore_experts(codes: Tensor, scale: Tensor | None, granularity: str | None,
                     activation: dict[str, Any] | None) -> ExpertWeights:
    rule = dict(activation or {})
    for word in ("outlier_threshold", "whole_columns", "outlier_columns"):  # experts have none
        rule.pop(word, None)
    return pack_experts(codes, UNDEFINED if scale is None else scale, granularity=granularity, **rule)
