# SPDX-License-Identifier: Apache-2.0
"""Octavo's 8-bit types as PyTorch's, from the library's table."""

import numpy
import torch

from ... import _octavo

# The largest finite magnitude of each float8 type that both have.
FLOAT8_MAX = {getattr(torch, name): largest for name, largest in _octavo.float8_types().items() if hasattr(torch, name)}
FLOAT8 = tuple(FLOAT8_MAX)

# What codes may be.
CODES = frozenset((torch.int8, torch.uint8, *FLOAT8))


def from_numpy(array: numpy.ndarray) -> torch.Tensor:
    """A tensor on the memory of a NumPy array, of ml_dtypes' types too."""
    name = array.dtype.name
    if name in ("bfloat16", "float8_e8m0fnu") or name.startswith("float8"):
        bits = array.view("uint16" if name == "bfloat16" else "uint8")
        return torch.from_numpy(bits).view(getattr(torch, name))
    return torch.from_numpy(array)
