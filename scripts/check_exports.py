#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# The C ABI is what the list says: no symbol appears or goes unnoticed.
"""Usage: check_exports.py [--archive LIBRARY] [--shared LIBRARY]

Compares tests/capi/exports.txt with what the headers in include/octavo declare, with the C functions of a
static library, and with every unmangled symbol that a shared library exports.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Iterator

from check_symbols import LINKER_EXPORT, symbols

ROOT = Path(__file__).resolve().parent.parent
LIST = "tests/capi/exports.txt"
DECLARATION = re.compile(r"^OCTAVO_C_API\b[^;(]*?\b(\w+)\(", re.MULTILINE)


def declared() -> set[str]:
    headers = (ROOT / "include" / "octavo").rglob("*.h")
    return {name for header in headers for name in DECLARATION.findall(header.read_text())}


def in_archive(library: Path) -> set[str]:
    found = symbols(library, "--extern-only", "--defined-only")
    return {s.name for s in found if s.kind == "T" and s.name.startswith("octavo_")}


def in_shared(library: Path) -> set[str]:
    found = symbols(library, "--dynamic", "--defined-only")
    return {s.name for s in found if not s.name.startswith("_Z")} - LINKER_EXPORT


def differences(listed: set[str], what: str, found: set[str]) -> Iterator[str]:
    for name in sorted(found - listed):
        yield f"{what}: {name} must be listed in {LIST}; it is not"
    for name in sorted(listed - found):
        yield f"{what}: {name} of {LIST} must be there; it is not"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--shared", type=Path)
    arguments = parser.parse_args()
    names = (ROOT / LIST).read_text().split()
    found = list(differences(set(names), "the headers", declared()))
    if names != sorted(set(names)):
        found.append(f"{LIST} must be sorted, each name once; it is not")
    if arguments.archive:
        found += differences(set(names), arguments.archive.name, in_archive(arguments.archive))
    if arguments.shared:
        found += differences(set(names), arguments.shared.name, in_shared(arguments.shared))
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
