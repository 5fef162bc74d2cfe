# SPDX-License-Identifier: Apache-2.0
"""A page of the reference for each verb of the command, from its own help."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools/octavo"))
from help_text import Help, blocks  # noqa: E402

ROW = re.compile(r"^  (\S.*?)(?: {2,}(\S.*))?$")


def page(title: str, text: str) -> str:
    """Rows under a heading are definitions; lines that are no rows stay as they are printed."""
    what, _, rest = text.partition("\n")
    lines = [f"# {title}", "", code_marked(what), ""]
    for block in blocks(rest):
        if block.usage:
            lines += ["```text", block.usage, "```", "", *block.lines, ""]
        elif block.heading and all(line.startswith("  ") for line in block.lines):
            lines += [f"## {block.heading}", "", *definitions(block.lines), ""]
        elif block.heading:
            lines += [f"## {block.heading}", "", "```text", *block.lines, "```", ""]
        elif all(line.startswith("  ") for line in block.lines):
            lines += ["```text", *[line[2:] for line in block.lines], "```", ""]
        else:
            lines += [*paragraph(block.lines), ""]
    return "\n".join(lines)


def paragraph(lines: tuple[str, ...]) -> list[str]:
    """Text, and the examples in it as code."""
    out: list[str] = []
    for line in lines:
        if example := re.fullmatch(r"Examples?: (.*)", line):
            out += ["", "```text", example[1], "```", ""]
        else:
            out.append(code_marked(line))
    return out


def code_marked(line: str) -> str:
    """Plain text as Markdown; a page that it names is a link."""
    text = re.sub(r"([*_<>\[\]`|{}])", r"\\\1", line)
    return re.sub(r"\bdocs/[\w/-]+\.md\b", lambda page: f"[{page[0]}](../../{page[0]})", text)


def definitions(lines: tuple[str, ...]) -> list[str]:
    """`  name   text`, the text going on in lines that are indented further."""
    rows: list[tuple[str, list[str]]] = []
    for line in lines:
        row = ROW.match(line)
        if row and not line.startswith("   "):
            rows.append((row[1], [row[2]] if row[2] else []))
        else:
            rows[-1][1].append(line.strip())
    out: list[str] = []
    for name, text in rows:
        out += [f"`{name}`", ": " + (code_marked(" ".join(text)) or "-"), ""]
    return out


def write(octavo: str, folder: Path) -> None:
    help_ = Help(octavo)
    pages = folder / "reference/command"
    pages.mkdir(parents=True, exist_ok=True)
    for verb in help_.verbs:
        (pages / f"{verb}.md").write_text(page(f"octavo {verb}", help_.of(verb)), encoding="utf-8")
    topics = re.findall(r"octavo help ([a-z]+):", help_.whole)
    for topic in topics:
        (pages / f"{topic}.md").write_text(page(f"octavo help {topic}", help_.say("help", topic)), encoding="utf-8")
    index = page("Command reference", help_.whole)
    for verb in help_.verbs:
        index = index.replace(f"\n`{verb}`\n", f"\n[`{verb}`]({verb}.md)\n")
    entries = [*help_.verbs, *topics]
    index += "\n```{toctree}\n:hidden:\n\n" + "\n".join(f"octavo {name} <{name}>" if name in help_.verbs else name for name in entries) + "\n```\n"
    (pages / "index.md").write_text(index, encoding="utf-8")
