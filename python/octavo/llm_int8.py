# SPDX-License-Identifier: Apache-2.0
"""The steps of LLM.int8() (specification section 8); octavo.bnb has the layers."""

from ._int8 import (
    int8_double_quant, int8_linear_matmul, int8_mixed_scaled_mm, int8_mm_dequant, int8_scaled_mm,
    int8_vectorwise_dequant, int8_vectorwise_quant,
)

__all__ = ["int8_double_quant", "int8_linear_matmul", "int8_mixed_scaled_mm", "int8_mm_dequant", "int8_scaled_mm",
           "int8_vectorwise_dequant", "int8_vectorwise_quant"]
