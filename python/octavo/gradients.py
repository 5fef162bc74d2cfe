# SPDX-License-Identifier: Apache-2.0
"""Vector-Jacobian products of products and of learned quantisers, for programs without PyTorch."""

from ._gradients import grouped_mm_vjp, quantize_vjp, scaled_mm_vjp

__all__ = ["grouped_mm_vjp", "quantize_vjp", "scaled_mm_vjp"]
