# SPDX-License-Identifier: Apache-2.0
"""Octavo on PyTorch's own threads.

PyTorch's OpenMP threads spin for some milliseconds after each of its parallel loops. Another pool would
share the cores with them just then, and every layer between two of PyTorch's operations would run at
half its speed. On one pool nobody waits, and torch.set_num_threads counts for both.
"""

import os
from pathlib import Path

import torch

from ... import _octavo


def use_torch_threads() -> bool:
    """Moves Octavo's calls to PyTorch's OpenMP runtime, if it has one; OCTAVO_EXECUTOR=tbb forbids it."""
    if os.environ.get("OCTAVO_EXECUTOR", "").lower() == "tbb":
        return False
    folder = Path(torch.__file__).parent / "lib"
    for pattern in ("libgomp*.so*", "libiomp5*.so*", "libomp*.so*"):
        for library in sorted(folder.glob(pattern)):
            if _octavo._use_openmp(str(library)):
                return True
    return False
