#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# What clang says of the library before it optimises: its warnings, and what kernels would export.
"""Usage: check_clang.py [--self-test] BUILD_DIR

Of a build directory that CMake made for Ninja and clang, in which nothing need be built: every file of the
library is compiled to intermediate code, without optimisation, which takes a fifth of the whole time,
  - without a warning (they are errors);
  - and of a CPU kernel no weak function may use AVX. That is an inline function of a header; where nothing is inlined,
    the linker may pick this copy for the rest of the program, which runs on processors without AVX.
What optimised code shows is check_symbols.py's.
"""

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Iterator

from check_symbols import ELSEWHERE, KERNELS, Compilation, for_avx, library_compilations

# What becomes an instruction of AVX in a function that may use them: numbers that are no integers, vectors, copies.
IN_VECTORS = re.compile(r"\b(float|double|half|bfloat)\b|<\d+ x |@llvm\.mem")

# Programs, and how many sentences each is worth when it is compiled for AVX.
SELF_TEST = (("inline float twice(float x) { return 2 * x; }\nfloat use(float x) { return twice(x); }\n", 1),
             ("inline int next(int x) { return x + 1; }\nint use(int x) { return next(x); }\n", 0),
             ("int use() { int forgotten; return 0; }\n", 1))


def front_end(unit: Compilation) -> list[str]:
    """The command of a compilation that ends with intermediate code, on its standard output."""
    words = [w for w in shlex.split(unit.command) if not re.fullmatch(r"-O\w*|-MD|-D_FORTIFY_SOURCE=\d", w)]
    for option in ("-MT", "-MF", "-o"):
        at = words.index(option)
        del words[at:at + 2]
    return [*words, "-O0", "-S", "-emit-llvm", "-Xclang", "-disable-llvm-passes", "-o", "-"]


def exports(code: str, source: str) -> Iterator[str]:
    avx = set(re.findall(r"^attributes #(\d+) = .*\"target-features\"=\"[^\"]*\+avx", code, re.MULTILINE))
    functions = re.findall(r"^define (?:(linkonce|weak).*?|.*?)@(\w+)\(.*?\) .*?#(\d+) .*$((?:\n.+)*)", code,
                           re.MULTILINE)
    if not functions:
        yield f"{source} has no function that can be read in clang's intermediate code"
    for weak, name, attributes, body in functions:
        if weak and attributes in avx and IN_VECTORS.search(body):
            yield for_avx(f"{source} unoptimised", name)


def findings(unit: Compilation) -> list[str]:
    done = subprocess.run(front_end(unit), cwd=unit.directory, capture_output=True, text=True)
    if done.returncode != 0:
        return [done.stderr.rstrip()]
    kernel = unit.source.startswith(KERNELS) and not ELSEWHERE.search(unit.source)
    return list(exports(done.stdout, unit.source)) if kernel else []


def self_test() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "program.cpp"
        for text, expected in SELF_TEST:
            source.write_text(text)
            command = f"clang++-14 -O3 -mavx -Wall -Werror -MD -MT x.o -MF x.d -o x.o -c {source}"
            found = findings(Compilation(Path(folder), command, KERNELS + source.name, Path(folder) / "x.o"))
            if len(found) != expected:
                yield f"self-test: {expected} findings expected of {text!r}; got {found}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("build", type=Path)
    arguments = parser.parse_args()
    found = list(self_test()) if arguments.self_test else []
    units = library_compilations(arguments.build)
    if not any("clang" in word for unit in units for word in unit.command.split()[:2]):
        found.append(f"{arguments.build} must be configured for clang, to compile the library")
    else:
        with ProcessPoolExecutor() as processes:
            for sentences in processes.map(findings, units):
                found += sentences
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
