# SPDX-License-Identifier: Apache-2.0
"""What lies between the products of a layer: norms."""

from ._operations import rms_norm, rms_norm_quantize

__all__ = ["rms_norm", "rms_norm_quantize"]
