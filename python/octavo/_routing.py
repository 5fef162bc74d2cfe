# SPDX-License-Identifier: Apache-2.0
"""Which arguments belong to PyTorch, without importing it."""

import sys
from typing import Any

from numpy import ndarray

from ._octavo import Quantized

_operations: Any = None


def is_torch(value: object) -> bool:
    """Whether the value is a torch.Tensor, or an octavo.Quantized of them."""
    if type(value) is Quantized:
        value = value.data
    if type(value) is ndarray:
        return False
    torch = sys.modules.get("torch")
    return torch is not None and (type(value) is torch.Tensor or isinstance(value, torch.Tensor))


def torch_operations() -> Any:
    """The operators that autograd and torch.compile see."""
    global _operations
    if _operations is None:
        from .torch import _operations
    return _operations
