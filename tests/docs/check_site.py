#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What builds the site finds what it is to find: check_site.py ROOT."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(sys.argv[1])
sys.path.insert(0, str(ROOT / "docs/site"))
import accessible  # noqa: E402
import header_filter  # noqa: E402
import links  # noqa: E402
import navigation  # noqa: E402
from examples import Examples  # noqa: E402
from stage import Stage  # noqa: E402


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def check_links(folder: Path) -> None:
    write(folder, {"index.html": '<h1 id="here">x</h1><a href="#here">1</a><a href="a/b.html#there">2</a><a href="a/b.html#gone">3</a>'
                                 '<a href="gone.html">4</a><a href="https://example.org">5</a><img src="https://example.org/x.png">',
                   "a/b.html": '<p id="there"><a href="../index.html">6</a><a href="#gone">7</a></p>'})
    found = links.faults(folder)
    assert [fault.split(" must ")[0] for fault in found] == [
        "a/b.html: the link #gone", "index.html: https://example.org/x.png", "index.html: the link a/b.html#gone",
        "index.html: the link gone.html"], found


def check_pages(folder: Path) -> None:
    write(folder, {"README.md": "# A\n[page](docs/b.md#x) ![p](p.svg)\n```\n[code](gone.md)\n```\n", "p.svg": "<svg/>",
                   "docs/b.md": "# X\n[up](../README.md#a), [source](../tests/t.cpp), [folder](../tests), [dead](gone.md)\n",
                   "tests/t.cpp": "int x;\n"})
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    stage = Stage(folder, folder / "out")
    assert stage.copy_pages() == ["docs/b", "index"]
    read = {path: (folder / "out" / path).read_text(encoding="utf-8") for path in ("index.md", "docs/b.md", "source/tests/t.cpp.md")}
    assert "[page](docs/b.md#x) ![p](p.svg)" in read["index.md"] and "[code](gone.md)" in read["index.md"]
    assert "[up](../index.md#a), [source](../source/tests/t.cpp.md), [folder](../source/tests.md)" in read["docs/b.md"]
    assert "```cpp\nint x;\n```" in read["source/tests/t.cpp.md"] and (folder / "out/p.svg").exists()
    assert stage.broken == ["docs/b.md: the link gone.md must lead to a tracked file or folder"]


def check_headers() -> None:
    c = header_filter.c("/* SPDX */\n/* The file. */\n/* api: x */\n/* a thing */\nint x;\nstruct s {\n  int a; /* its a */\n};\n")
    assert c.split("\n") == ["/* SPDX */", "/** @thisfile The file. */", "", "/** a thing */", "int x;", "struct s {",
                             "  int a; /**< its a */", "};", ""], c
    cpp = header_filter.cpp("// SPDX\n// The file.\n#pragma once\n/// A thing.\n/// Shapes   [M, N]\nint x;\n")
    assert cpp.split("\n")[1:5] == ["/// @thisfile The file.", "#pragma once", "/// A thing.", "/// @labelled{Shapes} [M, N]"], cpp


def check_examples(folder: Path) -> None:
    write(folder, {"names.txt": "# names\na::b\na::c\n", "x.cpp": "  // [a::b]\n  int b;\n  // [/a::b]\n", "y.c": "/* [d] */\nint d;\n/* [/d] */\n"})
    examples = Examples(folder)
    assert examples.block("a::b", "cpp")[4] == "   int b;" and examples.block("a::b", "cpp") == []
    assert [fault.split(": ")[1].split(" must")[0] for fault in examples.faults()] == ["a::c of names.txt", "the section d", "d"]


def check_navigation() -> None:
    names = ["docs/install", "docs/guides/new", "docs/new", "DESIGN"]
    groups = navigation.order(names)
    assert sorted(name for group in groups.values() for name in group) == sorted(names)
    assert "docs/guides/new" in groups["Guides"] and "docs/install" in groups["Start"]


def check_theme(folder: Path) -> None:
    write(folder, {"a.html": '<pre>x</pre><dt>(<dl>\n<dd><em>a</em></dd></dl>)</dt><dl class="simple"><dd>b</dd></dl>'})
    left = accessible.improve(folder)
    text = (folder / "a.html").read_text(encoding="utf-8")
    assert '<pre tabindex="0">' in text and '<span class="parameter"><em>a</em></span>' in text and '<dd>b</dd>' in text
    assert len(left) == len(accessible.CHANGES) - 1  # a page of another theme


with tempfile.TemporaryDirectory() as made:
    for check in (check_links, check_pages, check_examples, check_theme):
        check(Path(made, check.__name__))
    check_headers()
    check_navigation()
