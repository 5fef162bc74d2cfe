# SPDX-License-Identifier: Apache-2.0
"""Packed weights as pickle sees them: codes and scales of NumPy, packed again where they are loaded.

Those of a device have an empty PyTorch tensor of it beside them: they go where it goes, by torch.load's map_location as well.
"""

from typing import Any

from ._octavo import UNDEFINED, ExpertWeights, PackedWeight, Quantized, pack, pack_experts
from ._typing import Tensor


def _restore_packed(quantized: Quantized, activation: dict[str, Any] | None, like: Tensor | None = None) -> PackedWeight:
    return pack(quantized, **(activation or {})).to(like)


def _restore_experts(codes: Tensor, scale: Tensor | None, granularity: str | None,
                     activation: dict[str, Any] | None, like: Tensor | None = None) -> ExpertWeights:
    rule = dict(activation or {})
    for word in ("outlier_threshold", "whole_columns", "outlier_columns"):  # experts have none
        rule.pop(word, None)
    return pack_experts(codes, UNDEFINED if scale is None else scale, granularity=granularity, **rule).to(like)
