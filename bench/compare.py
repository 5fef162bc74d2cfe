#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times two builds in turn: what the new one takes over the old one, line by line, beside an A/A run.

A round runs the old build, the new one and the new one again, each in a process of its own, and each first in its
turn; a process times a batch of lines. A line is slower where its ratio's 95 % interval lies beyond the A/A ratios'
interval around 1 in three repeats of three. Exit code: 0, 1 where a line is slower or the new build fails it, 2 for
wrong arguments.
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple

from selection import FILES, SHAPES, shape_lines

REPEATS = 3
BATCH = 8  # lines of a process, which measures the machine before them
WHO = ("old", "new", "again")


class Failure(Exception):
    """A build's own words about a line."""


class Spread(NamedTuple):
    """A median and the order statistics that hold it with 95 % confidence (binomial)."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def spread(values: list[float]) -> Spread:
    ordered, n = sorted(values), len(values)
    out, tail = 0, 0.5**n  # how many values are left out on either side; the chance that the median lies beyond
    while out + 1 < (n + 1) // 2 and tail + math.comb(n, out + 1) * 0.5**n <= 0.025:
        out += 1
        tail += math.comb(n, out) * 0.5**n
    return Spread(median(ordered), ordered[out], ordered[n - 1 - out])


class Row(NamedTuple):
    line: str
    ratio: Spread  # times of new over old
    same: Spread  # times of new over new: the noise

    @property
    def slower(self) -> bool:
        return self.ratio.low > max(1.0, self.same.high, 1.0 / self.same.low)


def command_of(build: str) -> Path:
    """The octavo command of a build: itself, or that of a build folder or a source tree."""
    path = Path(build)
    for candidate in (path, path / "bin/octavo", path / "build/release/bin/octavo"):
        if candidate.is_file():
            return candidate.resolve()
    raise FileNotFoundError(f"--old must be an octavo command, a build folder or a tree with build/release; got {build}")


def seconds(command: Path, lines: list[str], options: list[str]) -> list[float]:
    done = subprocess.run([str(command), "bench", "--json", "--rounds=1", *options, *lines], capture_output=True,
                          text=True, check=False)
    figures = done.stdout.splitlines()
    if len(figures) != len(lines):
        raise Failure((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    return [json.loads(figure)["median_us"] * 1e-6 for figure in figures]


def compared(lines: list[str], commands: dict[str, Path], options: list[str], rounds: int) -> list[Row]:
    ratios: list[list[float]] = [[] for _ in lines]
    same: list[list[float]] = [[] for _ in lines]
    for turn in range(rounds):
        at = turn % len(WHO)
        times = {who: seconds(commands[who], lines, options) for who in WHO[at:] + WHO[:at]}
        for i in range(len(lines)):
            ratios[i].append(times["new"][i] / times["old"][i])
            same[i].append(times["again"][i] / times["new"][i])
    return [Row(line, spread(ratios[i]), spread(same[i])) for i, line in enumerate(lines)]


def why_not(command: Path, lines: list[str], options: list[str]) -> str | None:
    """Why a build cannot run some lines, in its words."""
    try:
        seconds(command, lines, [*options, "--seconds=0"])
        return None
    except Failure as failure:
        return str(failure)


def _peers(line: str) -> list[str]:
    return ["--no-peers"] if line.split(" ", 1)[0] not in ("quantize", "fused_experts") else []


def batches(found: list[tuple[str, list[str]]]) -> list[tuple[list[str], list[str]]]:
    """Lines of the same options that follow each other, a few at a time."""
    made: list[tuple[list[str], list[str]]] = []
    for line, options in found:
        options = [*options, *_peers(line)]
        if not made or made[-1][1] != options or len(made[-1][0]) == BATCH:
            made.append(([], options))
        made[-1][0].append(line)
    return made


def problems(lines: list[str], cold: bool, shapes: Path) -> list[tuple[str, list[str]]]:
    """(line, options), each once: the caller's, or those that report.py measures."""
    if lines:
        return [(line, ["--cold"] if cold else []) for line in lines]
    found = [(line, [o for o in options if o == "--cold"]) for name, options in FILES.items()
             for line in shape_lines(shapes / f"{name}.txt")]
    return [(line, options) for i, (line, options) in enumerate(found) if (line, options) not in found[:i]]


def judge(lines: list[str], commands: dict[str, Path], options: list[str], rounds: int) -> list[tuple[Row, bool]]:
    """Of each line the last repeat that counts, and whether it is slower in all of them."""
    judged: dict[str, tuple[Row, bool]] = {}
    for _ in range(REPEATS):
        open_lines = [line for line in lines if line not in judged or judged[line][1]]
        for row in compared(open_lines, commands, options, rounds) if open_lines else []:
            print(f"new/old {row.ratio}  A/A {row.same}  {row.line}", flush=True)
            judged[row.line] = row, row.slower
    return list(judged.values())


def runnable(lines: list[str], commands: dict[str, Path], options: list[str]) -> tuple[list[str], int]:
    """The lines that both builds run, and how many the new one does not; says which and why."""
    if not any(why_not(commands[who], lines, options) for who in ("new", "old")):
        return lines, 0
    kept, failed = [], 0
    for line in lines:
        broken = {who: why for who in ("new", "old") if (why := why_not(commands[who], [line], options))}
        for who, why in list(broken.items())[:1]:
            failed += who == "new"
            print(f"{who} does not run it: {why}  {line}", flush=True)
        kept += [] if broken else [line]
    return kept, failed


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--old", required=True, help="an octavo command, its build folder, or its tree")
    parser.add_argument("--octavo", default="build/release/bin/octavo", help="the new command")
    parser.add_argument("--rounds", type=int, default=9, help="fewer than nine make no figure")
    parser.add_argument("--seconds", type=float, default=0.05, help="of a sample")
    parser.add_argument("--threads", type=int, help="default: all")
    parser.add_argument("--cold", action="store_true", help="of LINEs: rotate weights through 256 MB")
    parser.add_argument("--shapes", type=Path, default=SHAPES, help="folder of the shape files")
    parser.add_argument("lines", nargs="*", metavar="LINE", help="default: the lines of bench/results")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    try:
        commands = {"old": command_of(args.old), "new": command_of(args.octavo)}
    except FileNotFoundError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    commands["again"] = commands["new"]
    pace = [f"--seconds={args.seconds}"] + ([f"--threads={args.threads}"] if args.threads else [])
    rows, slower, failed = [], 0, 0
    for lines, options in batches(problems(args.lines, args.cold, args.shapes)):
        kept, broken = runnable(lines, commands, options)
        failed += broken
        for row, worse in judge(kept, commands, [*options, *pace], args.rounds):
            rows.append(row)
            slower += worse
    if rows:
        worst = max(rows, key=lambda row: row.ratio.median)
        print(f"worst: new/old {worst.ratio}  A/A {worst.same}  {worst.line}")
    print(f"{len(rows)} compared, {slower} slower in {REPEATS} repeats of {REPEATS}, {failed} failed")
    return 1 if slower or failed else 0


if __name__ == "__main__":
    sys.exit(main())
