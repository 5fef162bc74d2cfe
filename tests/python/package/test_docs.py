# SPDX-License-Identifier: Apache-2.0
"""Pages of docs: every block of Python runs by itself and prints what the page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"
ELSEWHERE = {DOCS / "guides" / "gpu.md"}  # it needs a device
WALKED = {"A folder for others"}  # sections whose blocks go on from one another, between commands: tests/packages/tasks.sh runs them
PAGES = sorted({page for page in DOCS.rglob("*.md") if "```python\n" in page.read_text(encoding="utf-8")} - ELSEWHERE)
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def blocks():
    for page in PAGES:
        for section in page.read_text(encoding="utf-8").split("\n## ")[1:]:
            title = section.splitlines()[0]
            if title in WALKED:
                continue
            for number, (code, output) in enumerate(BLOCK.findall(section), 1):
                yield pytest.param(code, output, id=f"{page.stem}: {title} {number}")


@pytest.mark.parametrize("code, output", list(blocks()))
def test_a_block_prints_what_the_page_says(code, output, tmp_path):
    if "import torch" in code:
        pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    if "InvalidCxxCompiler" in done.stderr:
        pytest.skip("inductor found no C++ compiler")
    assert done.returncode == 0, done.stderr
    assert done.stdout == output


def test_every_block_is_found():
    assert {"python.md", "llm-int8.md", "quickstart.md"} <= {page.name for page in PAGES}
    walked = [section for page in PAGES for section in page.read_text(encoding="utf-8").split("\n## ") if section.splitlines()[0] in WALKED]
    assert len(walked) == len(WALKED)
    assert sum(page.read_text(encoding="utf-8").count("```python\n") for page in PAGES) == len(list(blocks())) + sum(
        section.count("```python\n") for section in walked)
