# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes.nn.modules: where code imports the layers from, too."""

from .._absent import absent
from . import _ABSENT, Embedding8bit, Int8Params, Linear8bitLt

__all__ = ["Embedding8bit", "Int8Params", "Linear8bitLt"]

__getattr__ = absent(__name__, _ABSENT)
