# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes.nn: the layer of LLM.int8() and its weight."""

from .._absent import absent
from ._calibrate import calibrate_outlier_columns
from ._linear import Linear8bitLt
from ._params import Int8Params

__all__ = ["Int8Params", "Linear8bitLt", "calibrate_outlier_columns"]

__getattr__ = absent(__name__, {"Embedding", "Embedding4bit", "Embedding8bit", "EmbeddingFP4", "EmbeddingNF4", "Linear4bit",
                                "LinearFP4", "LinearNF4", "OutlierAwareLinear", "Params4bit", "StableEmbedding"})
