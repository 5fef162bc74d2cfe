# SPDX-License-Identifier: Apache-2.0
"""A selection of tests/zoo: classes of transformers through `octavo quantize`, read by transformers without Octavo.

`./dev zoo` walks all of them, and every way of tests/zoo/selection.txt; docs/models.md has what came out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("compressed_tensors")
ZOO = Path(__file__).parents[2] / "zoo"
COMMAND = Path(sys.executable).with_name("octavo")
# What stays refused: experts that the class keeps in one tensor, Conv1D, weights that loading splits or joins.
REFUSED = {"GPT2LMHeadModel": "which is a Conv1D's", "GptOssForCausalLM": "keeps them in one tensor",
           "GraniteMoeForCausalLM": "keeps them in one tensor", "Dinov2Model": "splits while it loads",
           "KimiLinearForCausalLM": "joins while it loads"}
EVERY_WAY = ("BertForMaskedLM", "MixtralForCausalLM", "T5ForConditionalGeneration")


def walked(results, *arguments):
    """The rows of a walk through the zoo in a process of its own, where nothing imports Octavo but what asks for it."""
    done = subprocess.run([sys.executable, ZOO / "run.py", COMMAND, results, *arguments], capture_output=True, text=True,
                          env={**os.environ, "PYTHONWARNINGS": "ignore"})
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert done.returncode in (0, 1), done.stderr[-2000:]
    assert [row for row in rows if row["outcome"] in ("FAILED", "not built")] == []
    return rows


def test_every_kind_of_class_loads_plain_or_is_refused(tmp_path):
    names = (ZOO / "selection.txt").read_text().split()
    rows = walked(tmp_path / "rows", "--only", *names)
    assert len(rows) == 2 * len(names)
    for row in rows:
        if row["outcome"] == "refused":
            assert REFUSED[row["cls"]] in row["said"]
    assert {row["cls"] for row in rows if row["outcome"] == "refused"} == set(REFUSED)


def test_every_way_of_a_class(tmp_path):
    rows = walked(tmp_path / "rows", "--ways", "--only", *EVERY_WAY)
    assert {row["cls"] for row in rows} == set(EVERY_WAY) and len(rows) > 30 * len(EVERY_WAY)
