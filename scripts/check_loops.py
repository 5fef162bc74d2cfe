#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# What the object code of Arm's kernels shows: the loops of their tiles, without a CPU to time them on.
"""Usage: check_arm.py [--write | --self-test] BUILD_DIR

In a build directory for 64-bit Arm, for each row of scripts/arm_loops.json, a tile of a kernel file:
  - its loop multiplies and loads as often as the row says, and touches no stack;
  - it has no more than 2 % more instructions than the row says;
  - llvm-mca's model of Neoverse V2, where llvm-mca-19 is there, gives at least `least` of what the
    instruction could do at most (four of it a cycle, two of sadalp).
--write writes what is found into the table.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "scripts/arm_loops.json"
OBJDUMP = "aarch64-linux-gnu-objdump"
MODEL = "llvm-mca-19"
MODEL_ROUNDS = 300
PIPES = {"sadalp": 2}  # of Neoverse V2 that take an instruction, where not all four
GROWTH = 1.02


class Loop(NamedTuple):
    instructions: list[str]

    def count(self, pattern: str) -> int:
        return sum(re.match(pattern, text) is not None for text in self.instructions)

    def stack_accesses(self) -> list[str]:
        return [text for text in self.instructions if re.search(r"\[sp\b|\[x29\b", text)]


def loops_of(text: str) -> Iterator[tuple[str, Loop]]:
    """The innermost loops of every function of a listing, by its mangled name: stretches that end in a
    jump to their beginning and hold no other one."""
    for function in re.finditer(r"^[0-9a-f]+ <(.*)>:\n((?:.+\n?)+)", text, re.MULTILINE):
        body = [(int(address, 16), " ".join(line.split("//")[0].split()))
                for address, line in re.findall(r"^\s*([0-9a-f]+):\t(.*)$", function[2], re.MULTILINE)]
        jumps = []
        for address, line in body:
            target = re.match(r"(?:b\.?\w*|cbn?z|tbn?z) (?:[^<]*[ ,])?([0-9a-f]+) <", line)
            if target and int(target[1], 16) <= address:
                jumps.append((int(target[1], 16), address))
        for first, last in jumps:
            if not any((a, b) != (first, last) and first <= a and b <= last for a, b in jumps):
                yield function[1], Loop([line for address, line in body if first <= address <= last])


def tile_loops(build: Path, kernel: str, tile: list[int], instruction: str) -> list[Loop]:
    """A tile's main loops, the longest first: those that multiply most often. Where rows of A may be
    flipped there are two; the one that does not is first."""
    object_file = build / f"src/CMakeFiles/octavo.dir/backends/cpu/kernels/{kernel}.cpp.o"
    listing = subprocess.run([OBJDUMP, "-d", "--no-show-raw-insn", str(object_file)], check=True,
                             capture_output=True, text=True).stdout
    name = "8dot_tileILi{}ELi{}ELi{}EE".format(*tile)
    found = [loop for function, loop in loops_of(listing) if name in function]
    most = max((loop.count(instruction + r"\b") for loop in found), default=0)
    main = [loop for loop in found if most > 0 and loop.count(instruction + r"\b") == most
            and loop.count("bl ") == 0 and loop.count("cbn?z") == 0]
    return sorted(main, key=lambda loop: loop.count("eor"))


def modelled(loop: Loop, instruction: str) -> float | None:
    """The share of an instruction's throughput that a loop has on Neoverse V2."""
    if shutil.which(MODEL) is None:
        return None
    lines = [re.sub(r"[0-9a-f]+ <.*>", ".Lloop", text) for text in loop.instructions]
    said = subprocess.run([MODEL, "-mtriple=aarch64", "-mcpu=neoverse-v2", f"-iterations={MODEL_ROUNDS}"],
                          input="\n".join([".Lloop:", *lines, ""]), check=True, capture_output=True,
                          text=True).stdout
    cycles = int(re.search(r"Total Cycles:\s+(\d+)", said)[1]) / MODEL_ROUNDS
    return loop.count(instruction + r"\b") / PIPES.get(instruction, 4) / cycles


def measure(build: Path, row: dict) -> tuple[Loop, dict] | None:
    loops = tile_loops(build, row["kernel"], row["tile"], row["instruction"])
    place = 1 if row.get("flips") else 0
    if len(loops) <= place:
        return None
    loop = loops[place]
    share = modelled(loop, row["instruction"])
    return loop, {"multiplies": loop.count(row["instruction"] + r"\b"),
                  "loads": loop.count(r"ld[rpu]\w*|ld1\w*"), "instructions": len(loop.instructions),
                  "neoverse_v2": row.get("neoverse_v2") if share is None else round(share, 2)}


def findings(row: dict, loop: Loop, found: dict) -> Iterator[str]:
    for text in loop.stack_accesses():
        yield f"touches the stack: {text}"
    if found["multiplies"] != row["multiplies"]:
        yield f"multiplies {found['multiplies']} times, not {row['multiplies']}"
    if found["loads"] > row["loads"]:
        yield f"loads {found['loads']} times, not {row['loads']}"
    if found["instructions"] > GROWTH * row["instructions"]:
        yield f"has {found['instructions']} instructions, not {row['instructions']}"
    if found["neoverse_v2"] is not None and found["neoverse_v2"] < row["least"]:
        yield f"is modelled at {found['neoverse_v2']} of {row['instruction']}, not {row['least']}"


def name_of(row: dict) -> str:
    return "{}, {} rows x {} vectors{}".format(row["kernel"], row["tile"][0], row["tile"][1],
                                               ", A flipped" if row.get("flips") else "")


def self_test() -> None:
    listing = ("0000000000000000 <f>:\n   0:\tldr\tq0, [x0]\n   4:\tsmmla\tv1.4s, v0.16b, v2.16b\n"
               "   8:\tstr\tq1, [sp, #16]\n   c:\tb.ne\t0 <f>  // b.any\n  10:\tret\n")
    (name, loop), = loops_of(listing)
    assert (name, len(loop.instructions), loop.count("smmla")) == ("f", 4, 1)
    row = {"instruction": "smmla", "multiplies": 1, "loads": 1, "instructions": 4, "least": 0.5}
    good = {"multiplies": 1, "loads": 1, "instructions": 4, "neoverse_v2": 0.5}
    assert [*findings(row, loop, good)] == ["touches the stack: str q1, [sp, #16]"]
    clean = Loop([text for text in loop.instructions if "sp" not in text])
    assert [*findings(row, clean, good)] == []
    for key, value in (("multiplies", 2), ("loads", 2), ("instructions", 5), ("neoverse_v2", 0.4)):
        assert [*findings(row, clean, {**good, key: value})], key


def main(arguments: list[str]) -> int:
    if arguments == ["--self-test"]:
        self_test()
        return 0
    write = arguments[:1] == ["--write"]
    build = Path(arguments[-1])
    rows = json.loads(TABLE.read_text())
    failed = False
    for row in rows:
        measured = measure(build, row)
        if measured is None:
            print(f"{name_of(row)}: no such loop")
            failed = True
            continue
        loop, found = measured
        if write:
            row |= found
        for finding in findings(row, loop, found):
            print(f"{name_of(row)}: {finding}")
            failed = True
    if write:
        TABLE.write_text("[\n" + ",\n".join("  " + json.dumps(row) for row in rows) + "\n]\n")
    if shutil.which(MODEL) is None:
        print(f"check_arm: {MODEL} is not installed: shares of throughput are not modelled", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
