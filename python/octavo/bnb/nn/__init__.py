# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes.nn: the layers of LLM.int8() and their weight."""

from .._absent import absent
from ._calibrate import calibrate_outlier_columns
from ._embedding import Embedding8bit
from ._linear import Linear8bitLt
from ._params import Int8Params

__all__ = ["Embedding8bit", "Int8Params", "Linear8bitLt", "calibrate_outlier_columns", "modules"]

_ABSENT = frozenset({"Embedding", "Embedding4bit", "EmbeddingFP4", "EmbeddingNF4", "Linear4bit", "LinearFP4", "LinearNF4",
                     "OutlierAwareLinear", "Params4bit", "StableEmbedding", "SwitchBackLinearBnb"})
__getattr__ = absent(__name__, _ABSENT)

from . import modules  # noqa: E402 (it has these names)
