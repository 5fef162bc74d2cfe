#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Puts faults into a copy of the sources, one at a time, and expects a test to fail for each.
"""Usage: run.py BUILD_DIR [--work DIR] [--only NAME...] [--jobs N], or run.py --fit

Compiles with the compiler of BUILD_DIR. Exits with 1 where a fault survives every test that
mutations.toml names for it, where it does not fit the sources any more, or does not compile.
A test is a test program ("parity_test"), a ctest test of programs ("ctest:bench_test"), or for a
fault in Python a file of pytest's, or a test of it ("tests/python/layers/test_moe.py::test_state"),
which runs in build/venv: the copy's python/ with the extension module that is installed there.
--fit only looks whether each fits the sources, which takes no time.
--work keeps the copy and its build, so that the next run starts quickly.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
NOT_SOURCES = {"build", ".git", "__pycache__"}
NOT_COPIED = shutil.ignore_patterns(*NOT_SOURCES)
LIMIT_S = 360  # twice the slowest test; a fault may turn a loop into an endless one
VENV = ROOT / "build" / "venv" / "bin" / "python"
# What the tests of ctest run, where that is not the command line.
PROGRAMS = {"bench_test": ["octavo-cli", "fake-peer"], "processes_test": ["octavo-cli", "signal-shim"], **{f"mpi_ranks_{size}": ["mpi_ranks"] for size in range(1, 9)}}


class Mutation(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    tests: list[str]
    why: str


class Verdict(NamedTuple):
    word: str  # killed, SURVIVED, or why there is no answer
    by: str = ""


def load_mutations() -> list[Mutation]:
    """Those of every table beside this file, of which none has another's name."""
    tables = [tomllib.loads(file.read_text(encoding="utf-8")) for file in sorted(Path(__file__).parent.glob("*.toml"))]
    named = [(name, fields) for table in tables for name, fields in table.items()]
    assert len(dict(named)) == len(named), "two mutations of one name"
    return [Mutation(name, **fields) for name, fields in named]


def cached(build: Path, variable: str) -> str:
    """A value of a build directory's CMake cache."""
    text = (build / "CMakeCache.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{variable}:\w+=(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def in_python(test: str) -> bool:
    return test.startswith("tests/python/")


def programs(tests: list[str]) -> list[str]:
    """What has to be built for tests."""
    found = {program for test in tests if not in_python(test)
             for program in (PROGRAMS.get(test[6:], ["octavo-cli"]) if test.startswith("ctest:") else [test])}
    return sorted(found)


class Workshop:
    """A copy of the sources and its build."""

    def __init__(self, folder: Path, like: Path, jobs: int, tests: list[str]) -> None:
        self.source = folder / "source"
        self.build = folder / "build"
        self.jobs = jobs
        if self.source.exists():
            self.refresh()
        else:
            shutil.copytree(ROOT, self.source, ignore=NOT_COPIED)
        if any(map(in_python, tests)):
            self.take_extension()
        if programs(tests):
            self.configure(like)

    def take_extension(self) -> None:
        """The extension module that is installed in build/venv, into the copy's package."""
        found = subprocess.run([VENV, "-P", "-c", "import octavo._octavo as m; print(m.__file__)"], check=True,
                               capture_output=True, text=True, cwd="/", env={**os.environ, "PYTHONPATH": ""}).stdout
        for file in Path(found.strip()).parent.glob("_octavo*"):
            shutil.copy(file, self.source / "python" / "octavo")

    def configure(self, like: Path) -> None:
        compiler = cached(like, "CMAKE_CXX_COMPILER")
        subprocess.run(["cmake", "-G", "Ninja", "-S", self.source, "-B", self.build,
                        f"-DCMAKE_CXX_COMPILER={compiler}", "-DCMAKE_BUILD_TYPE=Release",
                        "-DCMAKE_CXX_FLAGS_RELEASE=-O1"], check=True, stdout=subprocess.DEVNULL)

    def refresh(self) -> None:
        """Brings a kept copy up to date without touching files that are the same; files that are gone go."""
        for file in ROOT.rglob("*"):
            path = file.relative_to(ROOT)
            if file.is_dir() or NOT_SOURCES & set(path.parts):
                continue
            copy = self.source / path
            if not copy.exists() or copy.read_bytes() != file.read_bytes():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)
        for copy in self.source.rglob("*"):
            path = copy.relative_to(self.source)
            if copy.is_file() and not NOT_SOURCES & set(path.parts) and not (ROOT / path).exists():
                copy.unlink()

    def targets(self) -> set[str]:
        if not self.build.exists():
            return set()
        listing = subprocess.run(["ninja", "-C", self.build, "-t", "targets", "all"], check=True,
                                 capture_output=True, text=True).stdout
        return {line.partition(":")[0] for line in listing.splitlines()}

    def make(self, targets: list[str]) -> str:
        """Builds; the end of the output where that fails, else nothing."""
        if not targets:
            return ""
        done = subprocess.run(["ninja", "-C", self.build, f"-j{self.jobs}", *targets],
                              capture_output=True, text=True, check=False)
        return done.stdout[-3000:] if done.returncode else ""

    def command(self, test: str) -> list[str | Path]:
        if in_python(test):
            return [VENV, "-m", "pytest", "-qx", "-p", "no:cacheprovider", test]
        if test.startswith("ctest:"):
            return ["ctest", "--test-dir", self.build, "--no-tests=error", "-R", f"^{test[6:]}$"]
        return [self.build / "bin" / test, "--gtest_brief=1", "--gtest_fail_fast"]

    def passes(self, test: str) -> bool:
        # Without files of bytecode: they go by a source's second and size, which a fault may keep.
        own = {"PYTHONPATH": str(self.source / "python"), "PYTHONDONTWRITEBYTECODE": "1"} if in_python(test) else {}
        if VENV.exists():  # as ./dev test has it: without matplotlib tests of plots are skipped
            own["OCTAVO_PLOT_PYTHON"] = str(VENV)
        try:
            return subprocess.run(self.command(test), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.source,
                                  env={**os.environ, **own}, timeout=LIMIT_S, check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def judge(self, mutation: Mutation) -> Verdict:
        file = self.source / mutation.file
        original = file.read_text(encoding="utf-8")
        file.write_text(original.replace(mutation.old, mutation.new), encoding="utf-8")
        try:
            errors = self.make(programs(mutation.tests))
            if errors:
                return Verdict(f"does not compile:\n{errors}")
            for test in mutation.tests:
                if not self.passes(test):
                    return Verdict("killed", test)
            return Verdict("SURVIVED", ", ".join(mutation.tests))
        finally:
            file.write_text(original, encoding="utf-8")


def places(mutation: Mutation) -> int:
    return (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old)


def fit(mutations: list[Mutation]) -> int:
    """Whether each can be put into the sources."""
    faults = [f"{m.name}: its fragment must stand once in {m.file}; got {found} times"
              for m in mutations if (found := places(m)) != 1]
    faults += [f"{m.name}: tests of pytest must be for faults in Python, which need no build; got {m.file}"
               for m in mutations if any(map(in_python, m.tests)) and not m.file.endswith(".py")]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


def run(workshop: Workshop, mutations: list[Mutation]) -> int:
    if fit(mutations):
        return 1
    tests = sorted({test for m in mutations for test in m.tests})
    unknown = sorted(set(programs(tests)) - workshop.targets())
    if unknown:
        print(f"no such test: {', '.join(unknown)}")
        return 1
    errors = workshop.make(programs(tests))
    failing = [test for test in tests if not errors and not workshop.passes(test)]
    if errors or failing:
        print(errors or f"{', '.join(failing)} must pass without any mutation")
        return 1
    bad = 0
    for mutation in mutations:
        start = time.monotonic()
        verdict = workshop.judge(mutation)
        bad += verdict.word != "killed"
        seconds = time.monotonic() - start
        print(f"{mutation.name:<36}{verdict.word:<10}{verdict.by:<48}{seconds:5.1f} s", flush=True)
        if verdict.word == "SURVIVED":
            print(f"    {mutation.file}: {mutation.why}", flush=True)
    print(f"{len(mutations) - bad} of {len(mutations)} mutations killed")
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("build", type=Path, nargs="?")
    parser.add_argument("--fit", action="store_true", help="compile nothing")
    parser.add_argument("--work", type=Path, help="keep the copy and its build here")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    mutations = [m for m in load_mutations() if not arguments.only or m.name in arguments.only]
    if arguments.fit:
        return fit(mutations)
    if arguments.build is None:
        parser.error("BUILD_DIR must be a build of CMake's; got none")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.work or Path(temporary)
        tests = [test for m in mutations for test in m.tests]
        return run(Workshop(folder, arguments.build, arguments.jobs, tests), mutations)


if __name__ == "__main__":
    sys.exit(main())
