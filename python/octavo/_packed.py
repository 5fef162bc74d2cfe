# SPDX-License-Identifier: Apache-2.0
"""Packed weights as pickle sees them: codes and scales, packed again where they are loaded."""

from typing import Any

from ._octavo import PackedWeight, Quantized, pack


def _restore_packed(quantized: Quantized, activation: dict[str, Any] | None) -> PackedWeight:
    return pack(quantized, **(activation or {}))
