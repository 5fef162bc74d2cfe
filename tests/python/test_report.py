# SPDX-License-Identifier: Apache-2.0
"""The page of a report: whole, escaped, and without anything from the network."""

from html.parser import HTMLParser

import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install octavo[report])")

from octavo.report import page  # noqa: E402

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
    schemes = [{"scheme": s, "sqnr_db": db, "max_error": 0.1, "saturated": 1, "bytes_after": 80}
               for s, db in (("int8-dynamic", 40.0), ("fp8-dynamic", None))]
    columns = {"median_absmax": 1.0, "top": [], "slices": [1.0, None, 9.0]}
    return {"name": name, "shape": [8, 16], "dtype": "float32", "scheme": "none", "bytes": 512, "error": None,
            "schemes": schemes if known else None, "histogram": [4] * 32 if known else None,
            "columns": columns if known else None, "recommendation": {"choice": "float", "reason": "1 < 2"}}


def report(known=True, speed=True):
    times = [{"form": form, "m": m, "median_us": us, "repeats": 3, "not_run": None}
             for form, us in (("float32", 4.0), ("bfloat16", 3.0), ("int8-dynamic", 2.0), ("fp8-block", None))
             for m in (1, 16)]
    return {"type": "report", "path": "a<b", "against": None, "octavo": "1", "cpu": "a CPU", "threads": 2,
            "least_sqnr_db": 28, "schemes": ["int8-dynamic", "fp8-dynamic"], "file_bytes": 1,
            "layers": [layer(name, known) for name in NAMES],
            "speed": [{"shape": [8, 16], "times": times}] if speed else None}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("speed", [True, False])
def test_the_page_is_whole_and_stands_alone(known, speed):
    text = page(report(known, speed))
    parser = Nesting()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert "script" not in parser.seen and "svg" in parser.seen
    words = "".join(parser.words)
    assert all(name in words for name in NAMES)
    assert "http:" not in text and "https:" not in text
    assert "prefers-color-scheme" in text and "currentColor" in text and 'name="viewport"' in text


def test_what_is_no_report_is_refused():
    with pytest.raises(ValueError, match="must be what `octavo report` prints"):
        page({"type": "figure"})
