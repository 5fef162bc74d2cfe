#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: check_readme.py REPOSITORY OCTAVO_PROGRAM

Pages show code that is compiled and output that is printed: compares the C++ block of the README with
examples/first_product.cpp, that of docs/guides/cpp.md with examples/fp8_blocks.cpp, and the console block with what each `octavo explain` in it prints now
(the lines about threads, workspace and devices aside, which are the machine's; on a CPU that would answer
otherwise nothing of it). Exit status 1 and the first
difference of each, if there is one.
"""

import re
import subprocess
import sys
import textwrap
from pathlib import Path


MACHINE = ("threads", "workspace", "no ")  # lines that are of the machine
SHOWN_WITHOUT = {"amx_int8", "amx_fp8"}  # what it has not
SHOWN_ON = {"avx512_vnni", "avx512_bf16", "avx512_vbmi"}  # what the CPU has whose answers the README shows


def compare(what: str, shown: str, real: str) -> bool:
    for number, (left, right) in enumerate(zip(shown.splitlines(), real.splitlines()), 1):
        if left.rstrip() != right.rstrip() and not left.startswith(MACHINE):
            print(f"README: {what} must be current; line {number} is {left!r}, should be {right!r}")
            return False
    if len(shown.splitlines()) != len(real.splitlines()):
        print(f"README: {what} must be whole; got {len(shown.splitlines())} lines")
        return False
    return True


def guide_shows_its_example(repository: Path) -> bool:
    guide = (repository / "docs" / "guides" / "cpp.md").read_text()
    source = (repository / "examples" / "fp8_blocks.cpp").read_text()
    code = re.search(r"```cpp\n(.*?)```", guide, re.DOTALL)
    example = re.search(r"// \[GUIDE\]\n(.*?) *// \[/GUIDE\]", source, re.DOTALL)
    return bool(code and example) and compare("the example of docs/guides/cpp.md", code[1], textwrap.dedent(example[1]))


def main(repository: Path, program: str) -> int:
    readme = (repository / "README.md").read_text()
    source = (repository / "examples" / "first_product.cpp").read_text()
    code = re.search(r"```cpp\n(.*?)```", readme, re.DOTALL)
    example = re.search(r"// \[README\]\n(.*?) *// \[/README\]", source, re.DOTALL)
    console = re.search(r'```\n(\$ octavo explain .*?)```', readme, re.DOTALL)
    commands = re.findall(r'^\$ octavo explain "([^"]+)"\n((?:[^$\n].*\n)+)',
                          console[1] if console else "", re.MULTILINE)
    if not (code and example and commands):
        print("README: must have a C++ block and a console block of octavo explain; got less")
        return 1
    good = compare("the C++ example", code[1], textwrap.dedent(example[1]))
    good = guide_shows_its_example(repository) and good
    info = subprocess.run([program, "info"], capture_output=True, text=True, check=True).stdout
    present = re.search(r"^has +(.*)$", info, re.MULTILINE)
    features = set(present[1].split()) if present else set()
    if not SHOWN_ON <= features or SHOWN_WITHOUT & features:
        print(f"README: explain is shown as a CPU with {' '.join(sorted(SHOWN_ON))} and without "
              f"{' '.join(sorted(SHOWN_WITHOUT))} answers; not compared on this one")
        return 0 if good else 1
    for problem, shown in commands:
        printed = subprocess.run([program, "explain", problem], capture_output=True, text=True,
                                 check=True).stdout
        good = compare(f"what explain says of {problem}", shown, printed) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
