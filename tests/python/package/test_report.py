# SPDX-License-Identifier: Apache-2.0
"""The page of a report: whole, escaped, and without anything from the network."""

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install octavo[report])")

from octavo.report import page  # noqa: E402
from octavo.report._blocks import MANY, blocks  # noqa: E402
from octavo.report._charts import COLOURS, MARKS  # noqa: E402

VOID = {"meta", "br", "hr", "img", "link", "input"}
NAMES = ["model.layers.0.up_proj", "<script>alert(1)</script>", "a $x^{ & b"]


class Nesting(HTMLParser):
    """Every element is closed by its own end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def layer(name, known=True):
    schemes = [{"scheme": s, "sqnr_db": db, "max_error": 0.1, "saturated": 1, "bytes_after": 80,
                "output_sqnr_db": db}
               for s, db in (("int8-dynamic", 40.0), ("fp8-dynamic", None))]
    columns = {"median_absmax": 1.0, "top": [], "slices": [1.0, None, 9.0]}
    return {"name": name, "shape": [8, 16], "dtype": "float32", "scheme": "none", "bytes": 512, "error": None,
            "input": {"absmax": 9.0, "median_absmax": 1.0, "threshold": 6.0, "outlier_columns": 2, "hessian": True,
                      "lost_columns": {"int8": 4, "float8_e4m3fn": 0}} if known else None,
            "schemes": schemes if known else None, "histogram": [4] * 32 if known else None,
            "columns": columns if known else None, "recommendation": {"choice": "float", "reason": "1 < 2"}}


def report(known=True, speed=True):
    times = [{"form": form, "m": m, "median_us": us, "repeats": 3, "not_run": None}
             for form, us in (("float32", 4.0), ("bfloat16", 3.0), ("int8-dynamic", 2.0), ("fp8-block", None))
             for m in (1, 16)]
    return {"type": "report", "path": "a<b", "against": None, "calibration": None, "octavo": "1", "cpu": "a CPU", "threads": 2,
            "least_sqnr_db": 28, "schemes": ["int8-dynamic", "fp8-dynamic"], "file_bytes": 1,
            "layers": [layer(name, known) for name in NAMES],
            "speed": [{"shape": [8, 16], "times": times}] if speed else None}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("speed", [True, False])
def test_the_page_is_whole_and_stands_alone(known, speed):
    text = page(report(known, speed))
    assert text.count('<div class="wide">') == text.count('<div class="narrow">') == text.count("<svg") / 2 > 0
    parser = Nesting()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert "script" not in parser.seen and "svg" in parser.seen
    words = "".join(parser.words)
    assert all(name in words for name in NAMES)
    assert "http:" not in text and "https:" not in text
    assert "prefers-color-scheme" in text and "currentColor" in text and 'name="viewport"' in text


def test_charts_have_no_control_characters(recwarn):
    names = ["\x1b[31mred", "bell\x07", "\x00", "right\u202eto left"]
    charts = re.findall("<svg.*?</svg>", page({**report(), "layers": [layer(name) for name in names]}), re.DOTALL)
    assert charts and all(c.isprintable() or c == "\n" for chart in charts for c in chart)
    assert [str(warning.message) for warning in recwarn] == []


def whole(text):
    """The words of a page whose elements are closed."""
    parser = Nesting()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return "".join(parser.words)


def heights(text):
    return [float(box) for box in re.findall(r'viewBox="0 0 [\d.]+ ([\d.]+)"', text)]


def deep(count, kinds=("self_attn.q_proj", "mlp.experts.{}.up_proj")):
    """A model of as many blocks, with two experts in each, and an output head that is in none."""
    names = [f"model.layers.{block}.{kind.format(expert)}" for block in range(count) for kind in kinds
             for expert in range(1 + ("{}" in kind))]
    return {**report(), "layers": [layer(name) for name in [*names, "lm_head"]]}


def test_charts_of_deep_models_do_not_grow_with_their_blocks():
    less, more = deep(MANY), deep(4 * MANY)
    words = whole(page(more))
    assert heights(page(less)) == heights(page(more))
    for name in ("self_attn.q_proj", "mlp.experts.*.up_proj", "lm_head", "block"):
        assert name in words
    rows = deep(2)
    assert len(rows["layers"]) < MANY and "model.layers.1.mlp.experts.1.up_proj" in whole(page(rows))


def test_blocks_show_the_worst_of_their_experts():
    names = ["m.1.e.0.up", "m.0.e.0.up", "m.1.e.1.up", "m.10.gate", "head"]
    table = blocks(names)
    assert table.kinds == ["e.*.up", "gate", "head"] and table.columns == ["0", "1", "10", "-"]
    rows = table.values([5.0, None, 3.0, 7.0, 1.0], min)
    assert rows[0][1] == 3.0 and rows[1][2] == 7.0 and rows[2][3] == 1.0
    assert sum(math.isnan(value) for row in rows for value in row) == 12 - 3


EVALUATION = {"tokens": 64, "cosine": 0.99, "perplexity": None, "float_perplexity": None,
              "layers": [{"name": "a.0.up", "cosine": 1.0, "sqnr_db": math.inf},
                         {"name": "a.0.down", "cosine": 0.9, "sqnr_db": 17.0}]}


@pytest.mark.parametrize("layers", [EVALUATION["layers"], EVALUATION["layers"][:1], []])
def test_an_evaluation_shows_its_layers(layers):
    words = whole(page(report(), {**EVALUATION, "layers": layers}))
    assert "64 tokens" in words and "Error of each layer on text" in words
    assert ("a.0.down" in words) == (len(layers) == 2)  # an exact layer alone leaves nothing to draw


def test_the_command_takes_both_files(tmp_path):
    files = {"report.json": report(), "evaluation.json": EVALUATION}
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "octavo.report", "report.json", "out.html", "--evaluation", "evaluation.json"],
                   cwd=tmp_path, check=True, timeout=120)
    assert "64 tokens" in whole((tmp_path / "out.html").read_text(encoding="utf-8"))
    subprocess.run([sys.executable, "-m", "octavo.report", "-", "piped.html", "--evaluation", "evaluation.json"],
                   cwd=tmp_path, check=True, timeout=120, input=json.dumps(report()), text=True)
    assert (tmp_path / "piped.html").read_bytes() == (tmp_path / "out.html").read_bytes()


def test_what_is_no_evaluation_is_refused():
    with pytest.raises(ValueError, match="evaluation must be what"):
        page(report(), report())


def test_what_is_no_report_is_refused():
    with pytest.raises(ValueError, match="must be what `octavo report` prints"):
        page({"type": "figure"})


def test_every_scheme_has_a_colour_and_a_mark():
    schemes = pytest.importorskip("octavo.torch.layers._schemes").SCHEMES
    assert set(schemes) <= set(COLOURS) and set(schemes) <= set(MARKS)
    assert len({(COLOURS[name], MARKS[name]) for name in schemes}) == len(schemes)
