#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Which files the compiler takes longest for.
"""Usage: slowest_files.py BUILD_DIR [COUNT]

Prints the COUNT (10) outputs of the compilers that took longest in a build by Ninja, with their seconds of wall: those of
the last time that each was made. A result that ccache had takes none to speak of.
"""

import sys
from pathlib import Path

COMPILED = (".o", ".gch", ".fatbin")


def slowest(log: str, count: int) -> list[tuple[float, str]]:
    """Of a log of Ninja: start, end (milliseconds), time of the output, output, hash of the command."""
    seconds = {}
    for line in log.splitlines():
        if line.startswith("#"):
            continue
        start, end, _, output, _ = line.split("\t")
        if output.endswith(COMPILED) and not output.startswith("/"):  # once
            seconds[output] = (int(end) - int(start)) / 1000
    return sorted(((taken, output) for output, taken in seconds.items()), reverse=True)[:count]


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    count = int(sys.argv[2]) if len(sys.argv) == 3 else 10
    log = (Path(sys.argv[1]) / ".ninja_log").read_text()
    for taken, output in slowest(log, count):
        print(f"{taken:7.1f} s  {output.replace('CMakeFiles/', '').replace('.dir/', '/')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
