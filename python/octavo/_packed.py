# SPDX-License-Identifier: Apache-2.0
"""Packed weights as pickle sees them: codes and scales, packed again where they are loaded."""

from ._octavo import pack


def _restore_packed(quantized, activation):
    return pack(quantized, **(activation or {}))
