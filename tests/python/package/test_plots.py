# SPDX-License-Identifier: Apache-2.0
"""Pictures of docs/plots: those that committed figures give, each with its words inside it."""

import importlib
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


@pytest.fixture
def plots(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.syspath_prepend(SCRIPTS.parent / "bench")
    before = set(sys.modules)
    yield importlib.import_module("plots.__main__")
    for name in set(sys.modules) - before:
        if name == "plot" or name.partition(".")[0] == "plots":
            del sys.modules[name]


def test_pictures_are_those_of_their_figures(plots, capsys):
    assert plots.main(["--check"]) == 0, capsys.readouterr().out


def test_another_figure_is_another_picture(plots, monkeypatch, capsys):
    rows = plots.speed.rows

    def slower(name):
        found = rows(name)
        found[-1] = {**found[-1], "times": "0.50"} if name == "experts" else found[-1]
        return found

    monkeypatch.setattr(plots.speed, "rows", slower)
    monkeypatch.setattr(plots, "LARGEST", 30_000)
    assert plots.main(["--check"]) == 1
    said = capsys.readouterr().out
    assert "docs/plots/experts.svg must be drawn of its figures" in said and "docs/plots/layer.svg" not in said
    assert "docs/plots/packed.svg must have 30000 bytes at most; got" in said


def test_a_word_that_leaves_the_picture_is_refused(plots):
    from plots.canvas import Canvas
    with pytest.raises(ValueError, match="words must lie inside the picture"):
        with Canvas("", 1, 2.0) as canvas:
            canvas.axes[0].set_ylabel("a word that is taller than the picture of two inches")


def test_a_row_that_is_missing_is_an_error(plots):
    from plots.figures import beside
    with pytest.raises(ValueError, match="must have one row"):
        beside("amd-epyc-zen5-torch.md", "Int8Linear, bfloat16 in and out, 2x4096x4096", "F.linear bf16")
