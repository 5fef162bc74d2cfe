# SPDX-License-Identifier: Apache-2.0
"""Octavo's 8-bit types as PyTorch's, from the library's table."""

import torch

from .. import _octavo

# The largest finite magnitude of each float8 type that both have.
FLOAT8_MAX = {getattr(torch, name): largest for name, largest in _octavo.float8_types().items() if hasattr(torch, name)}
FLOAT8 = tuple(FLOAT8_MAX)

# What codes may be.
CODES = frozenset((torch.int8, torch.uint8, *FLOAT8))
