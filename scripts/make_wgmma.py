#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/backends/cuda/device/wgmma.cuh: an asm statement for each width of wgmma and each type
of sums, whose operands are as many as a thread's sums. --check: fails where the file is not that."""

import argparse
import re
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "src/backends/cuda/device/wgmma.cuh"

MACHINE = FILE.parent.parent / "machine/types.hpp"


def table(name):
    """The numbers of a table of machine/types.hpp, which the simulator goes by, too."""
    found = re.search(rf"{name}\[\] = {{([0-9, \n]+)}}", MACHINE.read_text())
    if not found:
        sys.exit(f"make_wgmma: {MACHINE.name} must have a table {name}")
    return tuple(map(int, found[1].split(",")))


WIDTHS = table("kWgmmaWidths")
FLOATS_ONLY = table("kWgmmaFloatWidths")

HEAD = """\
// SPDX-License-Identifier: Apache-2.0
// Written by scripts/make_wgmma.py. wgmma.mma_async of a tile of 64 rows of A and n of B, both in shared
// memory: an overload for each number of sums that a thread has, n / 2.
//
// `types` is what follows the shape's columns in the instruction's name, `tail` its last operands.
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda::device {

"""

TAIL = """\
}  // namespace octavo::cuda::device
"""


def filled(items, indent, limit=100):
    """Items with commas between them, in lines of at most `limit` columns."""
    lines = [" " * indent]
    for index, item in enumerate(items):
        text = item + (", " if index + 1 < len(items) else "")
        if len(lines[-1]) + len(text.rstrip()) > limit:
            lines.append(" " * indent)
        lines[-1] += text
    return "\n".join(line.rstrip() for line in lines)


def quoted(items, limit=84):
    """The same as string literals."""
    lines = filled(items, 0, limit).split("\n")
    return "\n".join(f'      "{line}{" " if line.endswith(",") else ""}"' for line in lines)


def overload(width, element, constraint):
    count = width // 2
    a, b, accumulate, types, tail = range(count, count + 5)
    outputs = filled([f'"+{constraint}"(d[{i}])' for i in range(count)], 8)
    return f"""\
template <const char* types, const char* tail>
OCTAVO_DEVICE void multiply({element} (&d)[{count}], std::uint64_t a, std::uint64_t b, std::uint32_t accumulate) {{
  asm volatile(
      "{{ .reg .pred p; setp.ne.b32 p, %{accumulate}, 0; wgmma.mma_async.sync.aligned.m64n{width}%{types} {{"
{quoted([f"%{i}" for i in range(count)])}
      "}}, %{a}, %{b}, p%{tail}; }}"
      : {outputs.strip()}
      : "l"(a), "l"(b), "r"(accumulate), "C"(types), "C"(tail)
      : "memory");
}}
"""


def text():
    parts = [HEAD]
    for width in WIDTHS:
        parts.append(overload(width, "float", "f"))
        if width not in FLOATS_ONLY:
            parts.append(overload(width, "std::int32_t", "r"))
    return "".join(parts) + "\n" + TAIL


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        FILE.write_text(text())
    elif not FILE.exists() or FILE.read_text() != text():
        sys.exit(f"make_wgmma: {FILE.name} is not what the script writes; run: python3 scripts/make_wgmma.py")


if __name__ == "__main__":
    main()
