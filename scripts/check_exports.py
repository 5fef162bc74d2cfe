#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# The C ABI is what the lists say: no symbol appears or goes unnoticed, or moves to the other library.
"""Usage: check_exports.py [--archive OCTAVO MODELS] [--shared OCTAVO MODELS]

Compares tests/capi/exports.txt (of octavo) and exports_models.txt (of octavo::models) with what the headers in
include/octavo declare, with the C functions of both static libraries, and with every unmangled symbol that both
shared libraries export.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Iterator

from check_symbols import LINKER_EXPORT, symbols

ROOT = Path(__file__).resolve().parent.parent
LISTS = (ROOT / "tests/capi/exports.txt", ROOT / "tests/capi/exports_models.txt")
MODELS_HEADER = "checkpoint.h"  # in octavo/c
DECLARATION = re.compile(r"^OCTAVO_C_API\b[^;(]*?\b(\w+)\(", re.MULTILINE)


def declared(of_models: bool) -> set[str]:
    headers = (ROOT / "include" / "octavo").rglob("*.h")
    return {name for header in headers if (header.name == MODELS_HEADER) == of_models
            for name in DECLARATION.findall(header.read_text())}


def in_archive(library: Path) -> set[str]:
    found = symbols(library, "--extern-only", "--defined-only")
    return {s.name for s in found if s.kind == "T" and s.name.startswith("octavo_")}


def in_shared(library: Path) -> set[str]:
    found = symbols(library, "--dynamic", "--defined-only")
    return {s.name for s in found if not s.name.startswith("_Z")} - LINKER_EXPORT


def differences(list_: Path, what: str, found: set[str]) -> Iterator[str]:
    listed = set(list_.read_text().split())
    for name in sorted(found - listed):
        yield f"{what}: {name} must be listed in {list_.name}; it is not"
    for name in sorted(listed - found):
        yield f"{what}: {name} of {list_.name} must be there; it is not"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for option in ("--archive", "--shared"):
        parser.add_argument(option, type=Path, nargs=2, metavar=("OCTAVO", "MODELS"), default=())
    arguments = parser.parse_args()
    found = []
    for list_ in LISTS:
        names = list_.read_text().split()
        found += differences(list_, "the headers", declared(list_ is LISTS[1]))
        if names != sorted(set(names)):
            found.append(f"{list_.name} must be sorted, each name once; it is not")
    for list_, library in zip(LISTS, arguments.archive):
        found += differences(list_, library.name, in_archive(library))
    for list_, library in zip(LISTS, arguments.shared):
        found += differences(list_, library.name, in_shared(library))
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
