#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what `octavo help` says as man pages, and the completions of shells: man_pages.py OCTAVO SHARE.

SHARE gets man/man1/octavo.1 and octavo-VERB.1, bash-completion/completions/octavo, zsh/site-functions/_octavo and
fish/vendor_completions.d/octavo.fish.
"""

import re
import subprocess
import sys
from pathlib import Path

COMPLETIONS = {"bash": "bash-completion/completions/octavo", "zsh": "zsh/site-functions/_octavo",
               "fish": "fish/vendor_completions.d/octavo.fish"}


def roff(line: str) -> str:
    text = line.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def page(name: str, what: str, version: str, text: str, others: list[str]) -> str:
    lines = [f'.TH {name.upper()} 1 "" "octavo {version}" "Octavo"', ".SH NAME", f"{roff(name)} \\- {roff(what)}"]
    for block in text.strip().split("\n\n"):
        head, *rest = block.split("\n")
        if usage := re.fullmatch(r"Usage: (.*)", head):
            lines += [".SH SYNOPSIS", f".B {roff(usage[1])}"]
        elif head.endswith(":") and rest:
            lines += [f".SH {head[:-1].upper()}"]
        else:
            lines += [".SH DESCRIPTION" if ".SH SYNOPSIS" in lines else ".PP", *map(roff, [head] if rest else [])]
            rest = rest or [head]
        if rest:
            lines += [".nf", *map(roff, rest), ".fi"]
    lines += [".SH SEE ALSO", ", ".join(f"{roff(other)}(1)" for other in others)]
    return "\n".join(lines) + "\n"


def main() -> int:
    octavo, share = sys.argv[1], Path(sys.argv[2])

    def say(*words: str) -> str:
        return subprocess.run([octavo, *words], check=True, capture_output=True, text=True).stdout

    version = say("--version").split()[1]
    whole = say("--help")
    verbs = dict(re.findall(r"^  ([a-z]+) {2,}(\S.*)$", whole, re.MULTILINE))
    man = share / "man/man1"
    man.mkdir(parents=True, exist_ok=True)

    def write(name: str, text: str, others: list[str]) -> None:
        what, _, rest = text.partition("\n")
        (man / f"{name}.1").write_text(page(name, what.rstrip("."), version, rest, others), encoding="utf-8")

    write("octavo", whole, [f"octavo-{verb}" for verb in verbs])
    for verb in verbs:
        write(f"octavo-{verb}", say(verb, "--help"), ["octavo"])
    for shell, file in COMPLETIONS.items():
        (share / file).parent.mkdir(parents=True, exist_ok=True)
        (share / file).write_text(say("completion", shell), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
