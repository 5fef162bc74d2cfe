#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Doxygen's input filter: a header whose comments are what they are to its readers. Line numbers stay.

The first comment below the licence is the file's. In a C header every comment documents: above a declaration it is the
declaration's, behind one the field's. A line of a C++ comment that begins with one of LABELS begins a labelled paragraph.
Lines that api/ writes around its part are none of these.
"""

import re
import sys
from pathlib import Path

LABELS = ("Shapes", "Types", "Scales", "Numerics", "Errors", "Memory")
LABELLED = re.compile(rf"^(\s*/// )({'|'.join(LABELS)}) +(?=\S)", re.MULTILINE)


def cpp(text: str) -> str:
    text = re.sub(r"\A(// SPDX[^\n]*\n)((?://[^\n]*\n)+)", lambda head: head[1] + file_comment(head[2]), text)
    text = re.sub(r"^(\s*)// api:.*$", r"\1", text, flags=re.MULTILINE)
    return LABELLED.sub(r"\1@labelled{\2} ", text)


def file_comment(comment: str) -> str:
    return "/// @thisfile" + comment.removeprefix("//").replace("\n//", "\n///")


def c(text: str) -> str:
    head, _, rest = text.partition("\n")
    rest = re.sub(r"\A/\*", "/** @thisfile", rest)
    rest = re.sub(r"^(\s*)/\* api:.*\*/$", r"\1", rest, flags=re.MULTILINE)
    rest = re.sub(r"^(\s*)/\*(?!\*)", r"\1/**", rest, flags=re.MULTILINE)  # above a declaration
    rest = re.sub(r"(?<=[;,{\w]) {1,}/\*(?!\*)(?=[^\n]*\*/$)", " /**<", rest, flags=re.MULTILINE)  # behind a field
    return head + "\n" + rest


if __name__ == "__main__":
    path = Path(sys.argv[1])
    sys.stdout.write((c if path.suffix == ".h" else cpp)(path.read_text(encoding="utf-8")))
