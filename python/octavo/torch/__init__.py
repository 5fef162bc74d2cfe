# SPDX-License-Identifier: Apache-2.0
"""Octavo in PyTorch: operators that autograd and torch.compile see, layers, and quantize_.

`octavo.torch.functional` has PyTorch's own signatures, `octavo.torch.nn` the layers; quantize_ swaps
the linear layers of any model. CPU tensors; a CUDA tensor is refused with a sentence.
"""

from . import functional, nn
from ._quantize import LayerError, quantize_
from ._threads import use_torch_threads

use_torch_threads()

__all__ = ["LayerError", "functional", "nn", "quantize_"]
