# SPDX-License-Identifier: Apache-2.0
"""LLM.int8() under bitsandbytes' names: `import octavo.bnb as bnb` serves code that was written for it, and
`octavo.bnb.install()` code that imports bitsandbytes itself.

Forward and backward by specification section 8, on any CPU; docs/llm-int8.md says where results differ
from bitsandbytes' (docs/known-wrong.md: where its own are wrong). 4-bit types and optimisers are not here.
"""

from . import autograd, functional, nn
from ._absent import absent
from ._install import install
from .autograd import GlobalOutlierPooler, MatMul8bitFp, MatMul8bitLt, MatmulLtState, matmul
from .nn import calibrate_outlier_columns

__all__ = ["GlobalOutlierPooler", "MatMul8bitFp", "MatMul8bitLt", "MatmulLtState", "autograd",
           "calibrate_outlier_columns", "features", "functional", "install", "matmul", "nn", "supported_torch_devices"]

__version__ = "0.50.2"  # of bitsandbytes: whose names these are
features = {"multi_backend"}  # accelerate asks whether layers run on CPUs
supported_torch_devices = {"cpu"}

__getattr__ = absent(__name__, {"matmul_4bit", "optim", "research", "utils"})
