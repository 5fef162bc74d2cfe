#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: check_commands.py REPOSITORY OCTAVO_PROGRAM

Commands that pages show are there: every `octavo VERB --option` by the program's own help, every `./dev VERB` by
dev's, every link to a file of the repository, every heading that a link names. Exit status 1 and what is not.
"""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Iterator

CODE = re.compile(r"`([^`\n]+)`|^(?:    |\$ )(.+)$", re.MULTILINE)
COMMAND = re.compile(r"(?:^|[;&|] *|build/release/bin/)(octavo|\./dev) ([a-z][a-z-]*)((?: [^;&|`#]*)?)")
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def pages(root: Path) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=root, capture_output=True, text=True, check=False).stdout.split()
    return [root / name for name in listed if (root / name).is_file()] or sorted(root.glob("*.md")) + sorted(root.glob("docs/**/*.md"))


def anchor(heading: str) -> str:
    """GitHub's name of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    return set(map(anchor, re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)))


def findings(root: Path, program: str) -> Iterator[str]:
    @cache
    def said(*words: str) -> str:
        return subprocess.run(words, cwd=root, capture_output=True, text=True, check=False).stdout

    verbs = set(re.findall(r"^  ([a-z]+) {2,}", said(program, "--help"), re.MULTILINE)) | {"help"}
    own = set(re.findall(r"^  ([a-z][a-z-]*)(?: [A-Z.]+)? {2,}", said(str(root / "dev"), "help"), re.MULTILINE)) | {"help"}
    for page in pages(root):
        text, name = page.read_text(encoding="utf-8"), page.relative_to(root)
        code = [a or b for a, b in CODE.findall(FENCE.sub("", text))]
        code += [line.removeprefix("$ ") for language, block in FENCE.findall(text) if language in ("", "sh", "console")
                 for line in block.splitlines()]
        for line in code:
            for what, verb, rest in COMMAND.findall(line):
                if verb not in (verbs if what == "octavo" else own):
                    yield f"{name}: {what} {verb} must be a command; got `{line}`"
                elif what == "octavo" and verb != "help":
                    known = said(program, verb, "--help")
                    for option in re.findall(r"(?<=\s)--[a-z][a-z0-9-]*", rest):
                        if not re.search(rf"{option}\b", known):
                            yield f"{name}: octavo {verb} must have {option}; got `{line}`"
        for target, anchor in LINK.findall(FENCE.sub("", text)):
            if re.match(r"[a-z]+:", target):
                continue
            file = (page.parent / target).resolve() if target else page
            if not file.exists():
                yield f"{name}: a link must lead somewhere; got {target}"
            elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
                yield f"{name}: {target}#{anchor} must be a heading"


def main(root: Path, program: str) -> int:
    found = list(findings(root, program))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), str(Path(sys.argv[2]).resolve())))
