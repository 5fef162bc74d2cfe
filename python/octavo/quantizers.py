# SPDX-License-Identifier: Apache-2.0
"""Quantisers beside octavo.quantize: scales alone, OCP's MX fp8, and rotations before them."""

from ._operations import rotate
from ._quantize import compute_scale, quantize_mxfp8

__all__ = ["compute_scale", "quantize_mxfp8", "rotate"]
