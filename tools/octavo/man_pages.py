#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what `octavo help` says as man pages, and the completions of shells: man_pages.py OCTAVO SHARE.

SHARE gets man/man1/octavo.1 and octavo-VERB.1, bash-completion/completions/octavo, zsh/site-functions/_octavo and
fish/vendor_completions.d/octavo.fish.
"""

import sys
from pathlib import Path

from help_text import Help, blocks

COMPLETIONS = {"bash": "bash-completion/completions/octavo", "zsh": "zsh/site-functions/_octavo",
               "fish": "fish/vendor_completions.d/octavo.fish"}


def roff(line: str) -> str:
    text = line.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def page(name: str, what: str, version: str, text: str, others: list[str]) -> str:
    lines = [f'.TH {name.upper()} 1 "" "octavo {version}" "Octavo"', ".SH NAME", f"{roff(name)} \\- {roff(what)}"]
    for block in blocks(text):
        rest = block.lines
        if block.usage:
            lines += [".SH SYNOPSIS", f".B {roff(block.usage)}"]
        elif block.heading:
            lines += [f".SH {block.heading.upper()}"]
        else:
            lines += [".SH DESCRIPTION" if ".SH SYNOPSIS" in lines else ".PP", *([roff(rest[0])] if len(rest) > 1 else [])]
            rest = rest[1:] or rest
        if rest:
            lines += [".nf", *map(roff, rest), ".fi"]
    lines += [".SH SEE ALSO", ", ".join(f"{roff(other)}(1)" for other in others)]
    return "\n".join(lines) + "\n"


def main() -> int:
    help_, share = Help(sys.argv[1]), Path(sys.argv[2])
    man = share / "man/man1"
    man.mkdir(parents=True, exist_ok=True)

    def write(name: str, text: str, others: list[str]) -> None:
        what, _, rest = text.partition("\n")
        (man / f"{name}.1").write_text(page(name, what.rstrip("."), help_.version, rest, others), encoding="utf-8")

    write("octavo", help_.whole, [f"octavo-{verb}" for verb in help_.verbs])
    for verb in help_.verbs:
        write(f"octavo-{verb}", help_.of(verb), ["octavo"])
    for shell, file in COMPLETIONS.items():
        (share / file).parent.mkdir(parents=True, exist_ok=True)
        (share / file).write_text(help_.say("completion", shell), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
