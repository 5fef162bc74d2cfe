#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# What the object code shows and the sources hide: exports, spilled accumulators, stray output.
"""Usage: check_symbols.py [BUILD_DIR...] [--shared LIBRARY...]

In each build directory (made by CMake for Ninja):
  - every CPU kernel is compiled, and a table names what it exports: one strong symbol, and no weak one that
    needs AVX: that is an inline function of a header, which the rest of the program would run as well
    (check_clang.py sees what there would be without optimisation);
  - no innermost loop of a kernel's tiles (tile_RxC, and every instance of dot_tile) loads or stores
    a vector on the stack (x86-64);
  - the library never ends the process, never writes to stdout, and to stderr in one place only.
Of each shared library: every exported symbol is Octavo's own.
"""

import argparse
import json
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Iterator, NamedTuple

from object_code import (functions_of, innermost_loops, output_of, uses_avx,
                         vectors_on_stack_in_loops)

ROOT = Path(__file__).resolve().parent.parent
KERNELS = "src/backends/cpu/kernels/"
# The functions that keep accumulators in registers: float tiles by name, dot products by their
# template arguments, which are rows, vectors and prefetched lines.
TILE = re.compile(r"tile_\d+x\d+|8dot_tileILi(\d+)ELi(\d+)ELi(\d+)EE")

# The folders of the two libraries' objects.
LIBRARY = re.compile(r"/octavo(-models)?\.dir/")
# Kernels of Arm, empty here; check_loops.py looks at them.
ELSEWHERE = re.compile(r"/(neon_\w+|sve\d+)\.cpp$")

ENDS_PROCESS = {"abort", "exit", "_exit", "_Exit", "quick_exit", "__assert_fail"}
WRITES_STDOUT = {"printf", "vprintf", "__printf_chk", "__vprintf_chk", "puts", "putchar",
                 "stdout", "std::cout"}
WRITES_STDERR = {"fprintf", "vfprintf", "__fprintf_chk", "__vfprintf_chk", "fputs", "fputc",
                 "fwrite", "perror", "stderr", "std::cerr", "std::clog"}
MAY_WRITE_STDERR = ("src/ops/run.cpp",)  # OCTAVO_VERBOSE=dispatch
# It compiles all of fmt's functions, those that print among them; nothing may call these.
FMT_FUNCTIONS = "src/core/fmt_functions.cpp"
FMT_PRINTS = re.compile(r"fmt::v\d+::(detail::)?v?print\(")

OWN_EXPORT = re.compile(r"_Z(T[VISTC]|GV|T[hv][n0-9_]+)?(N[KVRO]*)?6octavo|octavo_\w+$")
LINKER_EXPORT = {"_init", "_fini", "_edata", "_end", "__bss_start"}


class Compilation(NamedTuple):
    directory: Path
    command: str
    source: str  # relative to the repository: src/...
    object: Path


class Symbol(NamedTuple):
    kind: str
    name: str

    @property
    def weak(self) -> bool:
        return self.kind in "WwVvu"


def library_compilations(build: Path) -> list[Compilation]:
    """How each object of the library was compiled."""
    result = []
    for entry in json.loads(output_of("ninja", "-t", "compdb", cwd=build)):
        place = entry["file"].rfind("/src/")
        if not LIBRARY.search(entry["output"]) or place < 0:
            continue
        directory = Path(entry["directory"])
        result.append(Compilation(directory, entry["command"], entry["file"][place + 1:],
                                  directory / entry["output"]))
    return result


def symbols(file: Path, *options: str) -> list[Symbol]:
    found = []
    for line in output_of("nm", *options, str(file)).splitlines():
        entry = re.match(r"[0-9a-f ]{16,} (\w) (.+)$", line)
        if entry:
            found.append(Symbol(entry[1], entry[2].partition("@")[0]))
    return found


def export_findings(file: Path, what: str) -> Iterator[str]:
    exported = symbols(file, "--extern-only", "--defined-only")
    strong = [s.name for s in exported if not s.weak]
    weak = {s.name for s in exported if s.weak}
    if len(strong) != 1:
        yield f"{what} exports {len(strong)} strong symbols instead of one: {', '.join(strong)}"
    for name, body in functions_of(file):
        if name in weak and uses_avx(body):
            yield for_avx(what, name)


def for_avx(what: str, name: str) -> str:
    return f"{what} exports {name} compiled for AVX, and the linker may pick this copy"


def missing_tiles(names: list[str]) -> Iterator[str]:
    """dot_tile<rows, vectors, lines> that must be there, since ones of more and of fewer rows are: all from one row on
    without prefetching."""
    found = [TILE.search(name) for name in names]
    have = {tuple(map(int, tile.groups())) for tile in found if tile and tile[1]}
    for vectors, lines in sorted({tile[1:] for tile in have}):
        rows = [tile[0] for tile in have if tile[1:] == (vectors, lines)]
        for row in range(min(rows) if lines else 1, max(rows)):
            if row not in rows:
                yield f"dot_tile<{row}, {vectors}, {lines}>"


def stack_findings(file: Path, what: str) -> Iterator[str]:
    tiles = [(name, body) for name, body in functions_of(file) if TILE.search(name)]
    if not tiles:
        yield f"{what} must have a tile_RxC or dot_tile whose loops can be looked at; it has none"
    for name in sorted(set(missing_tiles([name for name, _ in tiles]))):
        yield f"{what} must have {name} as a function of its own; it has not"
    for name, body in tiles:
        if not innermost_loops(body):
            yield f"{what}: {name} has no loop that can be looked at"
        for first in vectors_on_stack_in_loops(body)[:1]:
            yield f"{what}: an inner loop of {name} moves a vector to or from the stack: {first}"


def forgotten_findings(kernels: list[Compilation], units: list[Compilation]) -> Iterator[str]:
    compiled = {unit.source for unit in kernels}
    for file in sorted((ROOT / KERNELS).rglob("*.cpp")):
        source = file.relative_to(ROOT).as_posix()
        if source not in compiled:
            yield f"{source} is not compiled: src/CMakeLists.txt must name it"
    named = {s.name for unit in units for s in symbols(unit.object, "--undefined-only")}
    for unit in kernels:
        for symbol in symbols(unit.object, "--extern-only", "--defined-only"):
            if not symbol.weak and symbol.name not in named:
                yield f"{unit.source} exports {symbol.name}, which no table of kernels names"


def output_findings(unit: Compilation) -> Iterator[str]:
    if unit.source == FMT_FUNCTIONS:
        return
    for symbol in symbols(unit.object, "--undefined-only", "--demangle"):
        if symbol.name in ENDS_PROCESS:
            yield f"{unit.source} calls {symbol.name}: the library must not end the process"
        if symbol.name in WRITES_STDOUT:
            yield f"{unit.source} uses {symbol.name}: stdout belongs to the program"
        if FMT_PRINTS.match(symbol.name):
            yield f"{unit.source} calls {symbol.name}: the library must not print"
        if symbol.name in WRITES_STDERR and unit.source not in MAY_WRITE_STDERR:
            yield f"{unit.source} uses {symbol.name}: only {MAY_WRITE_STDERR[0]} writes to stderr"


def kernel_findings(unit: Compilation, build: Path) -> list[str]:
    if ELSEWHERE.search(unit.source):
        empty = not symbols(unit.object, "--extern-only", "--defined-only")
        return [] if empty else [f"{unit.source} must be empty on x86-64"]
    return [*export_findings(unit.object, unit.source), *stack_findings(unit.object, f"{unit.source} in {build}")]


def build_findings(build: Path) -> Iterator[str]:
    units = library_compilations(build)
    missing = [u.source for u in units if not u.object.exists()]
    if missing or not units:
        yield f"{build} must hold a built library; {missing[0] if missing else 'all'} is not built"
        return
    kernels = [u for u in units if u.source.startswith(KERNELS)]
    if not kernels:
        yield f"{build} compiles nothing from {KERNELS}"
    yield from forgotten_findings(kernels, units)
    with ProcessPoolExecutor() as processes:
        for found in processes.map(kernel_findings, kernels, [build] * len(kernels)):
            yield from found
    for unit in units:
        yield from output_findings(unit)


def shared_findings(library: Path) -> Iterator[str]:
    for symbol in symbols(library, "--dynamic", "--defined-only"):
        if OWN_EXPORT.match(symbol.name) or symbol.name in LINKER_EXPORT:
            continue
        kind = "weak " if symbol.weak else ""
        yield f"{library.name} exports the {kind}symbol {symbol.name}, which is not Octavo's"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("build", nargs="*", type=Path)
    parser.add_argument("--shared", nargs="+", type=Path, default=[])
    arguments = parser.parse_args()
    if not arguments.build and not arguments.shared:
        parser.error("name a build directory or a shared library")
    found = [f for build in arguments.build for f in build_findings(build)]
    found += [f for library in arguments.shared for f in shared_findings(library)]
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
