#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: check_readme.py REPOSITORY OCTAVO_PROGRAM

Pages show code that is compiled and output that is printed: compares the C++ block of the README with
examples/first_product.cpp, that of docs/guides/cpp.md with examples/fp8_blocks.cpp, of docs/guides/ranks.md with examples/ranks.cpp, and the console block with what each `octavo explain` in it prints now
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
            print(f"{what} must be current; line {number} is {left!r}, should be {right!r}")
            return False
    if len(shown.splitlines()) != len(real.splitlines()):
        print(f"{what} must be whole; got {len(shown.splitlines())} lines")
        return False
    return True


def shows_example(repository: Path, page: str, example: str, mark: str) -> bool:
    """Whether the C++ block of a page is what stands between the marks in an example."""
    code = re.search(r"```cpp\n(.*?)```", (repository / page).read_text(), re.DOTALL)
    marked = re.search(rf"// \[{mark}\]\n(.*?) *// \[/{mark}\]", (repository / "examples" / example).read_text(), re.DOTALL)
    if not (code and marked):
        print(f"{page}: must have a C++ block, and {example} its marks; got less")
        return False
    return compare(f"the C++ example of {page}", code[1], textwrap.dedent(marked[1]))


def main(repository: Path, program: str) -> int:
    readme = (repository / "README.md").read_text()
    console = re.search(r'```\n(\$ octavo explain .*?)```', readme, re.DOTALL)
    commands = re.findall(r'^\$ octavo explain "([^"]+)"\n((?:[^$\n].*\n)+)',
                          console[1] if console else "", re.MULTILINE)
    if not commands:
        print("README: must have a console block of octavo explain; got none")
        return 1
    good = all([shows_example(repository, "README.md", "first_product.cpp", "README"),
                shows_example(repository, "docs/guides/cpp.md", "fp8_blocks.cpp", "GUIDE"),
                shows_example(repository, "docs/guides/ranks.md", "ranks.cpp", "RANKS")])
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
        good = compare(f"README: what explain says of {problem}", shown, printed) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
