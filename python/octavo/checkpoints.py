# SPDX-License-Identifier: Apache-2.0
"""Weights and files of models beyond open_checkpoint and quantize_file: quantised weights, conversion, writing."""

from ._checkpoint import compare_weight, fuse, quantize_weight, w8a8_weight, write_checkpoint
from ._files import convert_file, dequantize_file, estimate_quantization

__all__ = ["compare_weight", "convert_file", "dequantize_file", "estimate_quantization", "fuse", "quantize_weight",
           "w8a8_weight", "write_checkpoint"]
