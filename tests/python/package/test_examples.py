# SPDX-License-Identifier: Apache-2.0
"""The README's Python example runs, and is the one that the README shows."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "python" / "first_product.py"


def test_the_example_is_the_readmes():
    code = EXAMPLE.read_text(encoding="utf-8").split("# [README]\n")[1].split("# [/README]")[0]
    assert f"```python\n{code}```" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs():
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("-7.0\n") and "SQNR" in done.stdout
