#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_wgmma.py FILE: writes wgmma.cuh, which device.cuh includes: an asm statement for each width of wgmma and each type of
sums, whose operands are as many as a thread's sums. CMake runs it where nvcc is."""

import re
import sys
from pathlib import Path

MACHINE = Path(__file__).resolve().parent.parent / "src/backends/cuda/machine/types.hpp"


def table(name):
    """The numbers of a table of machine/types.hpp, which the simulator goes by, too."""
    found = re.search(rf"{name}\[\] = {{([0-9, \n]+)}}", MACHINE.read_text())
    if not found:
        sys.exit(f"make_wgmma: {MACHINE.name} must have a table {name}")
    return tuple(map(int, found[1].split(",")))


WIDTHS = table("kWgmmaWidths")
FLOATS_ONLY = table("kWgmmaFloatWidths")

HEAD = """\
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


def overload(width, element, constraint):
    count = width // 2
    a, b, accumulate, types, tail = range(count, count + 5)
    places = ", ".join(f"%{i}" for i in range(count))
    sums = ", ".join(f'"+{constraint}"(d[{i}])' for i in range(count))
    return f"""\
template <const char* types, const char* tail>
OCTAVO_DEVICE void multiply({element} (&d)[{count}], std::uint64_t a, std::uint64_t b, std::uint32_t accumulate) {{
  asm volatile(
      "{{ .reg .pred p; setp.ne.b32 p, %{accumulate}, 0; wgmma.mma_async.sync.aligned.m64n{width}%{types} {{"
      "{places}"
      "}}, %{a}, %{b}, p%{tail}; }}"
      : {sums}
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


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text())
