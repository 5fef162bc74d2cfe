# SPDX-License-Identifier: Apache-2.0
"""docs/python.md: every block of code runs by itself and prints what the page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def blocks():
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title = section.splitlines()[0]
        for number, (code, output) in enumerate(BLOCK.findall(section), 1):
            yield pytest.param(code, output, id=f"{title} {number}")


@pytest.mark.parametrize("code, output", list(blocks()))
def test_a_block_prints_what_the_page_says(code, output, tmp_path):
    if "import torch" in code:
        pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    if "InvalidCxxCompiler" in done.stderr:
        pytest.skip("inductor found no C++ compiler")
    assert done.returncode == 0, done.stderr
    assert done.stdout == output


def test_every_block_is_found():
    assert PAGE.read_text(encoding="utf-8").count("```python\n") == len(list(blocks()))
