#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# What was built is hardened: the flags of cmake/octavo_target.cmake reached the files.
"""Usage: check_hardening.py [--self-test] [FILE...]

Each file, a program or a shared library, must
  - be position independent;
  - have all its imports bound at the start (BIND_NOW) and read-only from then on (GNU_RELRO);
  - have no stack that can be executed;
  - call the stack protector, as one with a buffer in any of its functions does.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator

from object_code import output_of

PLAIN = "int main(int n, char** v) { char b[64]; b[n & 63] = **v; return b[n / 2 & 63]; }"
BARE = ("-fno-stack-protector", "-no-pie", "-Wl,-z,norelro,-z,lazy,-z,execstack")
HARD = ("-fstack-protector-strong", "-fPIE", "-pie", "-Wl,-z,relro,-z,now")


def findings(file: Path) -> Iterator[str]:
    header, segments, dynamic, symbols = (
        output_of("readelf", "-W", option, str(file)) for option in ("-h", "-l", "-d", "--dyn-syms"))
    if "DYN (" not in header:
        yield f"{file} must be position independent; it is not"
    if "GNU_RELRO" not in segments:
        yield f"{file} must have GNU_RELRO; it has not"
    stack = [line for line in segments.splitlines() if "GNU_STACK" in line]
    if not stack or "RWE" in stack[0]:
        yield f"{file} must have a stack that cannot be executed; it has not"
    if "BIND_NOW" not in dynamic and " NOW" not in dynamic:
        yield f"{file} must bind its imports at the start (BIND_NOW); it does not"
    if "__stack_chk_fail" not in symbols:
        yield f"{file} must call the stack protector (__stack_chk_fail); it does not"


def self_test() -> Iterator[str]:
    """A program without any of it has every finding, one with all of it none."""
    with tempfile.TemporaryDirectory() as folder:
        for flags, expected in ((BARE, 5), (HARD, 0)):
            program = Path(folder) / "program"
            subprocess.run(["gcc", "-O2", "-x", "c", "-", "-o", str(program), *flags],
                           input=PLAIN, text=True, check=True)
            found = list(findings(program))
            if len(found) != expected:
                yield f"self-test: {expected} findings expected with {' '.join(flags)}; got {found}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("file", nargs="*", type=Path)
    arguments = parser.parse_args()
    if not arguments.self_test and not arguments.file:
        parser.error("name a program or a shared library")
    found = list(self_test()) if arguments.self_test else []
    found += [sentence for file in arguments.file for sentence in findings(file)]
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
