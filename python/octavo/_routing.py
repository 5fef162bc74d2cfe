# SPDX-License-Identifier: Apache-2.0
"""Which arguments belong to PyTorch, without importing it."""

import sys
from typing import Any

from numpy import ndarray

from ._octavo import Quantized

_operations: Any = None
_tensor: Any = None  # torch.Tensor, once PyTorch is there
handle_of: Any = None  # of torch/operators/_linear.py, once octavo.torch is there


def is_torch(value: object) -> bool:
    """Whether the value is a torch.Tensor, or an octavo.Quantized of them."""
    global _tensor
    if type(value) is _tensor:
        return True
    if type(value) is Quantized:
        value = value.data
    torch = sys.modules.get("torch")
    if type(value) is ndarray or torch is None:
        return False
    _tensor = torch.Tensor
    return isinstance(value, _tensor)


def torch_operations() -> Any:
    """The operators that autograd and torch.compile see."""
    global _operations
    if _operations is None:
        from .torch.operators import _operations
    return _operations


def with_handle(weight: Any) -> Any:
    """A packed weight, which a compiler may meet before anything has multiplied it."""
    if handle_of is not None:
        handle_of(weight)
    return weight
