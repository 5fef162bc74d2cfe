#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# What the object code of kernels shows: the loops that multiply, without a CPU to time them on.
"""Usage: check_loops.py [--write | --self-test] BUILD_DIR

For each row of scripts/loops.json of the architecture that a build directory is for, a function of a kernel file:
  - its loop multiplies and loads (`load`: with that instruction) as often as the row says, and keeps nothing that
    is multiplied on the stack;
  - it has no more than 2 % more instructions than the row says;
  - llvm-mca's model of each CPU that the row names, where llvm-mca-19 is there, gives at least `least` of what the
    loop's multiplications, with what belongs to them (`sequence`), could do at most if nothing else were there.
No such kernel has a constant of float16, which nothing here multiplies: g++ 12 makes one of 1.0 in bfloat16.
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
TABLE = ROOT / "scripts/loops.json"
MODEL = "llvm-mca-19"
MODEL_ROUNDS = 300
GROWTH = 1.02


class Architecture(NamedTuple):
    name: str
    elf_machine: int
    objdump: str
    comment: str
    jump: str  # ends in the target's address
    loads: str
    stack: str


ARCHITECTURES = [
    Architecture("aarch64", 0xB7, "aarch64-linux-gnu-objdump", "//",
                 r"(?:b\.?\w*|cbn?z|tbn?z) (?:[^<]*[ ,])?([0-9a-f]+) <", r"ld[rpu]\w*\b|ld1\w*\b",
                 r"\[sp\b|\[x29\b"),
    # Memory is read where it is not the last operand, or of anything but a move. Places of rows may be on the stack:
    # twelve rows have more of them than there are registers.
    Architecture("x86_64", 0x3E, "objdump", "#", r"j\w+ ([0-9a-f]+) <",
                 r"(?!lea|prefetch|nop|v?mov\S* %[^,]*,[^,]*\(|tilestored).*\(", r"%[xyzt]mm.*\(%rsp|\(%rsp.*%[xyzt]mm|%[xyzt]mm.*-0x[0-9a-f]+\(%rbp\)|-0x[0-9a-f]+\(%rbp\).*%[xyzt]mm"),
]


class Loop(NamedTuple):
    instructions: list[str]

    def count(self, pattern: str) -> int:
        return sum(re.match(pattern, text) is not None for text in self.instructions)

    def only(self, pattern: str) -> "Loop":
        return Loop([text for text in self.instructions if re.match(pattern, text)])


def pattern_of(instruction: str) -> str:
    return rf"(?:\{{\w+\}} )?(?:{instruction})\b"


def loops_of(text: str, architecture: Architecture, name: str, multiplies: str) -> Iterator[Loop]:
    """The loops that multiply of the functions of a listing whose mangled names hold `name`: stretches that end in a
    jump to their beginning and hold no other such one."""
    for function in re.finditer(rf"^[0-9a-f]+ <(.*{name}.*)>:\n((?:.+\n?)+)", text, re.MULTILINE):
        body = [(int(address, 16), " ".join(line.split(architecture.comment)[0].split()))
                for address, line in re.findall(r"^\s*([0-9a-f]+):\t(.*)$", function[2], re.MULTILINE)]
        loops = {}
        for address, line in body:
            target = re.match(architecture.jump, line)
            if not target or int(target[1], 16) > address:
                continue
            loop = Loop([text for place, text in body if int(target[1], 16) <= place <= address])
            if loop.count(multiplies) > 0:
                loops[int(target[1], 16), address] = loop
        for (first, last), loop in loops.items():
            if not any((a, b) != (first, last) and first <= a and b <= last for a, b in loops):
                yield loop


def function_of(row: dict) -> str:
    return row.get("function") or "8dot_tileILi{}ELi{}ELi{}EE".format(*row["tile"])


def main_loops(listing: str, architecture: Architecture, row: dict) -> list[Loop]:
    """A function's main loops: those that multiply most often. Where rows of A may be flipped there are two on Arm;
    the one that does not is first."""
    multiplies = pattern_of(row["instruction"])
    found = [*loops_of(listing, architecture, function_of(row), multiplies)]
    most = max((loop.count(multiplies) for loop in found), default=0)
    main = [loop for loop in found if most > 0 and loop.count(multiplies) == most
            and loop.count("bl |call") == 0 and loop.count("cbn?z") == 0]
    return sorted(main, key=lambda loop: loop.count("eor"))


def model(loop: Loop, architecture: Architecture, cpu: str) -> str:
    lines = [re.sub(r"[0-9a-f]+ <.*>", ".Lloop", text) for text in loop.instructions]
    return subprocess.run([MODEL, f"-mtriple={architecture.name}", f"-mcpu={cpu}", f"-iterations={MODEL_ROUNDS}"],
                          input="\n".join([".Lloop:", *lines, ""]), check=True, capture_output=True, text=True).stdout


def modelled(loop: Loop, architecture: Architecture, cpu: str, sequence: str) -> float | None:
    """The share of its multiplications' throughput that a loop has on a CPU."""
    if shutil.which(MODEL) is None:
        return None
    alone = re.search(r"Block RThroughput:\s+([\d.]+)", model(loop.only(pattern_of(sequence)), architecture, cpu))
    cycles = re.search(r"Total Cycles:\s+(\d+)", model(loop, architecture, cpu))
    return round(float(alone[1]) * MODEL_ROUNDS / int(cycles[1]), 2)


def measure(listing: str, architecture: Architecture, row: dict) -> tuple[Loop, dict] | None:
    loops = main_loops(listing, architecture, row)
    place = 1 if row.get("flips") else 0
    if len(loops) <= place:
        return None
    loop = loops[place]
    sequence = row.get("sequence", row["instruction"])
    models = {}
    for cpu, known in row["models"].items():
        share = modelled(loop, architecture, cpu, sequence)
        models[cpu] = {"least": known["least"], "share": known.get("share") if share is None else share}
    return loop, {"multiplies": loop.count(pattern_of(row["instruction"])), "loads": loop.count(row.get("load", architecture.loads)),
                  "instructions": len(loop.instructions), "models": models}


def findings(row: dict, loop: Loop, found: dict, architecture: Architecture) -> Iterator[str]:
    for text in loop.instructions:
        if re.search(architecture.stack, text):
            yield f"touches the stack: {text}"
    if found["multiplies"] != row["multiplies"]:
        yield f"multiplies {found['multiplies']} times, not {row['multiplies']}"
    if found["loads"] > row["loads"]:
        yield f"loads {found['loads']} times, not {row['loads']}"
    if found["instructions"] > GROWTH * row["instructions"]:
        yield f"has {found['instructions']} instructions, not {row['instructions']}"
    for cpu, said in found["models"].items():
        if said["share"] is not None and said["share"] < said["least"]:
            yield f"is modelled at {said['share']} of {row['instruction']} on {cpu}, not {said['least']}"


def half_constants(listing: str) -> Iterator[str]:
    for text in re.findall(r"^\s*[0-9a-f]+:\t(fmov\s+v\d+\.[48]h, #.*)$", listing, re.MULTILINE):
        yield f"has a constant of float16, perhaps in place of bfloat16: {' '.join(text.split())}"


def name_of(row: dict) -> str:
    what = "{} rows x {} vectors".format(*row["tile"]) if "tile" in row else row["function"]
    return "{}, {}{}".format(row["kernel"], what, ", A flipped" if row.get("flips") else "")


def architecture_of(objects: Path) -> Architecture:
    header = next(objects.rglob("*.o")).read_bytes()[:20]
    return next(a for a in ARCHITECTURES if a.elf_machine == int.from_bytes(header[18:20], "little"))


def self_test() -> None:
    arm, x86 = ARCHITECTURES
    for architecture, listing, stack in [
            (arm, "0000000000000000 <f>:\n   0:\tldr\tq0, [x0]\n   4:\tsmmla\tv1.4s, v0.16b, v2.16b\n"
             "   8:\tstr\tq1, [sp, #16]\n   c:\tb.ne\t0 <f>  // b.any\n  10:\tret\n", "str q1, [sp, #16]"),
            (x86, "0000000000000000 <f>:\n   0:\tsmmla  0x8(%rax),%ymm1,%ymm2\n   4:\tprefetcht0 (%rax)\n"
             "   8:\tvmovaps %ymm2,0x10(%rsp)\n   c:\tjne    0 <f>\n  10:\tret\n", "vmovaps %ymm2,0x10(%rsp)")]:
        loop, = loops_of(listing, architecture, "f", "smmla")
        assert (len(loop.instructions), loop.count("smmla"), loop.count(architecture.loads)) == (4, 1, 1)
        row = {"instruction": "smmla", "multiplies": 1, "loads": 1, "instructions": 4}
        good = {"multiplies": 1, "loads": 1, "instructions": 4, "models": {"cpu": {"least": 0.5, "share": 0.5}}}
        assert [*findings(row, loop, good, architecture)] == [f"touches the stack: {stack}"]
        clean = Loop([text for text in loop.instructions if "sp" not in text])
        assert [*findings(row, clean, good, architecture)] == []
        for key, value in (("multiplies", 2), ("loads", 2), ("instructions", 5),
                           ("models", {"cpu": {"least": 0.5, "share": 0.4}})):
            assert [*findings(row, clean, {**good, key: value}, architecture)], key
    assert len([*half_constants("   0:\tfmov\tv0.8h, #1.000000000000000000e+00\n   4:\tfmov\tv1.4s, #1.0e+00\n")]) == 1


def main(arguments: list[str]) -> int:
    if arguments == ["--self-test"]:
        self_test()
        return 0
    write = arguments[:1] == ["--write"]
    places = ("src/CMakeFiles/octavo.dir", "tests/kernels/CMakeFiles/arm_kernels_test.dir/__/__/src")
    folders = [Path(arguments[-1]) / place / "backends/cpu/kernels" for place in places]
    objects = next(folder for folder in folders if any(folder.rglob("*.o")))
    architecture = architecture_of(objects)
    rows = json.loads(TABLE.read_text())
    listings: dict[str, str] = {}
    failed = False
    for row in rows:
        if row["architecture"] != architecture.name:
            continue
        kernel = row["kernel"]
        if kernel not in listings:
            listings[kernel] = subprocess.run(
                [architecture.objdump, "-d", "--no-show-raw-insn", str(next(objects.rglob(f"{kernel}.cpp.o")))], check=True,
                capture_output=True, text=True).stdout
            for finding in half_constants(listings[kernel]):
                print(f"{kernel}: {finding}")
                failed = True
        measured = measure(listings[kernel], architecture, row)
        if measured is None:
            print(f"{name_of(row)}: no such loop")
            failed = True
            continue
        loop, found = measured
        if write:
            row |= found
        for finding in findings(row, loop, found, architecture):
            print(f"{name_of(row)}: {finding}")
            failed = True
    if write:
        TABLE.write_text("[\n" + ",\n".join("  " + json.dumps(row) for row in rows) + "\n]\n")
    if shutil.which(MODEL) is None:
        print(f"check_loops: {MODEL} is not installed: shares of throughput are not modelled", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
