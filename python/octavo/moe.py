# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts: all experts of a layer packed in one block, and multiplied at once."""

from ._experts import explain_fused_experts
from ._operations import fused_experts, pack_experts, silu_and_mul, silu_and_mul_quantize

__all__ = ["explain_fused_experts", "fused_experts", "pack_experts", "silu_and_mul", "silu_and_mul_quantize"]
