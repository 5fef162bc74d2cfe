# SPDX-License-Identifier: Apache-2.0
"""Octavo on PyTorch's own threads.

PyTorch's OpenMP threads spin for some milliseconds after each of its parallel loops. Another pool would
share the cores with them just then, and every layer between two of PyTorch's operations would run at
half its speed. On one pool nobody waits, and torch.set_num_threads counts for both.
"""

import os
from pathlib import Path
from typing import Literal

import torch

from ... import _octavo


def use_threads(whose: Literal["octavo", "torch"]) -> None:
    """Whose threads later calls run on, in the whole process. Importing octavo.torch chooses "torch".

    Args:
        whose: "torch": PyTorch's OpenMP threads, and torch.set_num_threads counts for Octavo as well. "octavo": oneTBB's
            threads, beside PyTorch's own. octavo.set_num_threads limits either; results have the same bits.

    Raises:
        ValueError: another word.
        RuntimeError: "torch", where PyTorch has brought no OpenMP runtime.

    Example:
        >>> import octavo.torch
        >>> octavo.torch.use_threads("octavo")
        >>> "OpenMP" in octavo.machine.threads_reason()
        False
    """
    if whose not in ("octavo", "torch"):
        raise ValueError(f'use_threads: whose must be "octavo" or "torch"; got {whose!r}')
    if whose == "octavo":
        _octavo._use_own_threads()
    elif not _use_torch_threads():
        raise RuntimeError("use_threads: whose must be \"octavo\" where PyTorch has loaded no OpenMP runtime; got 'torch'")


def choose_threads() -> None:
    """The choice of the import: PyTorch's threads where there are some, but for OCTAVO_EXECUTOR=tbb."""
    wanted = os.environ.get("OCTAVO_EXECUTOR", "")
    if wanted.lower() not in ("", "tbb"):
        raise ValueError(f"octavo.torch: OCTAVO_EXECUTOR must be tbb, or not be set; got {wanted!r}")
    if not wanted:
        _use_torch_threads()


def _use_torch_threads() -> bool:
    folder = Path(torch.__file__).parent / "lib"
    for pattern in ("libgomp*.so*", "libiomp5*.so*", "libomp*.so*"):
        for library in sorted(folder.glob(pattern)):
            if _octavo._use_openmp(str(library)):
                return True
    return False
