# SPDX-License-Identifier: Apache-2.0
"""What `octavo help` says, in parts: for man pages and the pages of the site."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Block:
    """A paragraph of help: a usage line, the rows under a heading, or text (neither)."""

    usage: str = ""
    heading: str = ""
    lines: tuple[str, ...] = ()


class Help:
    def __init__(self, octavo: str):
        self.octavo = octavo
        self.version = self.say("--version").split()[1]
        self.whole = self.say("--help")
        self.verbs = dict(re.findall(r"^  ([a-z]+) {2,}(\S.*)$", self.whole, re.MULTILINE))

    def say(self, *words: str) -> str:
        return subprocess.run([self.octavo, *words], check=True, capture_output=True, text=True).stdout

    def of(self, verb: str) -> str:
        return self.say(verb, "--help")


def blocks(text: str) -> Iterator[Block]:
    for block in text.strip().split("\n\n"):
        head, *rest = block.split("\n")
        if usage := re.fullmatch(r"Usage: (.*)", head):
            yield Block(usage=usage[1], lines=tuple(rest))
        elif head.endswith(":") and rest:
            yield Block(heading=head[:-1], lines=tuple(rest))
        else:
            yield Block(lines=(head, *rest))
