# SPDX-License-Identifier: Apache-2.0
"""The command `octavo` of a wheel: the program beside this file. Nothing of the package octavo is imported, for a quick start."""

import os
import sys
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Becomes the program, with this process's arguments; its pages are made by this Python (OCTAVO_PYTHON)."""
    os.environ.setdefault("OCTAVO_PYTHON", sys.executable)
    program = Path(__file__).resolve().with_name("octavo")
    os.execv(program, ["octavo", *sys.argv[1:]])
