# SPDX-License-Identifier: Apache-2.0
"""Octavo in PyTorch: operators that autograd and torch.compile see, layers, and quantize_.

`octavo.torch.functional` has PyTorch's own signatures, `octavo.torch.nn` the layers; quantize_ swaps
the linear layers of any model. CPU tensors; a CUDA tensor is refused with a sentence.
"""

from . import functional, nn
from ._linear_modules import LeftLayer
from ._names import LEFT_IN_FLOAT
from ._quantize import quantize_
from ._report import LayerError, Report
from ._threads import use_torch_threads

use_torch_threads()

__all__ = ["LEFT_IN_FLOAT", "LayerError", "LeftLayer", "Report", "functional", "nn", "quantize_"]
