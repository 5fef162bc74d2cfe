# SPDX-License-Identifier: Apache-2.0
"""Which arguments belong to PyTorch, without importing it."""

import sys

from ._octavo import Quantized


def is_torch(value):
    """Whether the value is a torch.Tensor, or an octavo.Quantized of them."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    if type(value) is Quantized:
        value = value.data
    return isinstance(value, torch.Tensor)


def torch_operations():
    """The operators that autograd and torch.compile see."""
    from .torch import _operations

    return _operations
