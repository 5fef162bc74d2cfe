#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: check_sass.py [--write] BUILD_DIR | --self-test

Holds the machine code that a build has made (its target cuda-machine-code) for sm_90a, of mma.cu for sm_80, to tables:
every primitive of the machine to tests/cuda/machine/primitives.txt, every kernel to tests/cuda/kernels.toml and the cost of
its main loops to tests/cuda/sass_steps.json, which --write writes. Where nvcc or nvdisasm is missing it says so and
does nothing."""

import argparse
import json
import re
import sys
import tomllib
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatchcase
from itertools import repeat
from pathlib import Path
from typing import Any, Callable, Iterator

import sass
from sass import ROOT, Kernel, Step

PRIMITIVES = ROOT / "tests/cuda/machine/primitives.cu"
KERNELS = ROOT / "tests/cuda/kernels.toml"
PASSES = ROOT / "src/backends/cuda/kernels/pass_instances.inc"
STEPS = ROOT / "tests/cuda/sass_steps.json"
MACHINE = ROOT / "src/backends/cuda/device/device.cuh"
ARCHITECTURES = {"mma.cu": "sm_80"}  # of other sources: sm_90a
GROWTH = 2  # instructions a step that need no explanation

Row = dict[str, Any]
Findings = Iterator[str]


def matching(kernel: Kernel, pattern: str) -> list[int]:
    return [at for at, i in enumerate(kernel.body) if fnmatchcase(i.opcode, pattern)]


# --- the gates of a kernel: its row of kernels.toml, its steps of sass_steps.json (None: not compared) ---

def compiled(kernel: Kernel, row: Row, steps: list[Step] | None) -> Findings:
    if not kernel.body or kernel.registers < 0:
        yield "is not among what was compiled"


def without_spills(kernel: Kernel, row: Row, steps: list[Step] | None) -> Findings:
    if kernel.spills or kernel.stack:
        yield f"spills {kernel.spills} bytes and has a stack of {kernel.stack}"


def without_local_memory(kernel: Kernel, row: Row, steps: list[Step] | None) -> Findings:
    found = matching(kernel, "LDL*") + matching(kernel, "STL*")
    if found:
        yield f"reads or writes local memory {len(found)} times: an array is indexed by a loop that was not unrolled"


def registers_of_the_launch(kernel: Kernel, row: Row, steps: list[Step] | None) -> Findings:
    most = row.get("most_registers", row.get("registers", 0))
    if kernel.registers > most or ("registers" in row and kernel.registers != most):
        yield f"has {kernel.registers} registers; its launch bound says {most}"


def without_warnings(kernel: Kernel, row: Row, steps: list[Step] | None) -> Findings:
    bad = [code for code in kernel.codes if re.fullmatch("C7508|C751[0-9]", code)]
    if bad:
        yield f"is warned of: {', '.join(sorted(set(bad)))}"


def tensor_instructions(kernel: Kernel, row: Row, steps: list[Step] | None) -> Findings:
    found = {opcode for opcode in kernel.counts() if re.search("[HIQ]G?MMA", opcode) and "HFMA2" not in opcode}
    if found != set(row["tensor"]):
        yield f"multiplies by {sorted(found)}; expected {sorted(row['tensor'])}"


def expected_instructions(kernel: Kernel, row: Row, steps: list[Step] | None) -> Findings:
    for pattern in row["contains"]:
        if not matching(kernel, pattern):
            yield f"has no {pattern}"


def without_fences_of_the_gpu(kernel: Kernel, row: Row, steps: list[Step] | None) -> Findings:
    """But for those before the first copy, product or change of registers, and as many as its row allows outside
    main loops."""
    work = [at for pattern in ("UTMALDG*", "*GMMA*", "USETMAXREG*") for at in matching(kernel, pattern)]
    late = [at for at in matching(kernel, "MEMBAR.*.GPU") if at > min(work, default=0)]
    if any(step.fences for step in sass.main_loops(kernel.body)):
        yield "has fences of the whole GPU in a main loop"
    elif len(late) > row.get("fences", 0):
        yield f"has {len(late)} fences of the whole GPU after its prologue; expected {row.get('fences', 0)}"


def without_fused_epilogue(kernel: Kernel, row: Row, steps: list[Step] | None) -> Findings:
    outside = len(matching(kernel, "FFMA*")) - sum(step.fused for step in sass.main_loops(kernel.body))
    if outside:
        yield f"has {outside} FFMA outside its main loops, where every step is rounded"


def issue_time(kernel: Kernel, row: Row, steps: list[Step] | None) -> Findings:
    loops = sass.main_loops(kernel.body)
    if not loops:
        yield "has no loop around wgmma or mma.sync"
    for step in loops:
        clocks = row.get("memory", step.tensor)
        if step.instructions > row["issue"] * clocks:
            yield (f"issues {step.instructions} instructions in a step of {clocks:.0f} clocks of "
                   f"{'memory' if 'memory' in row else 'the tensor cores'}; at most {row['issue']} of them")


def growth(kernel: Kernel, row: Row, steps: list[Step] | None) -> Findings:
    loops = sass.main_loops(kernel.body)
    if steps is None:
        return
    if len(steps) != len(loops):
        yield f"has {len(loops)} main loops; sass_steps.json has {len(steps)}"
    for now, before in zip(loops, steps):
        if now.instructions > before.instructions + GROWTH:
            yield f"has {now.instructions} instructions a step; sass_steps.json has {before.instructions}"


def without_fusing(kernel: Kernel, row: Row, steps: list[Step] | None) -> Findings:
    """Quotients are made of FFMA; of kernels that divide nothing each step is rounded."""
    found = matching(kernel, "FFMA*")
    if found and not row["divides"]:
        yield f"has {len(found)} FFMA and is not said to divide"


Gate = Callable[[Kernel, Row, list[Step] | None], Findings]
GATES: tuple[Gate, ...] = (
    compiled, without_spills, without_local_memory, registers_of_the_launch, without_warnings, tensor_instructions,
    expected_instructions, without_fences_of_the_gpu, without_fused_epilogue, issue_time, growth)
# Of kernels without tensor cores, whose rows have `divides`.
PLAIN_GATES: tuple[Gate, ...] = (compiled, without_spills, without_local_memory, without_warnings, without_fusing)


def failures(kernel: Kernel, row: Row, steps: list[Step] | None) -> list[tuple[str, str]]:
    """The gates that a kernel fails, and why; what is not there fails one."""
    found = []
    for gate in PLAIN_GATES if "divides" in row else GATES:
        found += [(gate.__name__, sentence) for sentence in gate(kernel, row, steps)]
        if found and gate is compiled:
            break
    return found


# --- primitives ---

def read_primitives(text: str) -> dict[str, list[str]]:
    """Lines of a kernel's name and patterns of opcodes."""
    rows = (line.split("#")[0].split() for line in text.splitlines())
    return {row[0]: row[1:] for row in rows if row}


def primitive_findings(name: str, kernel: Kernel, patterns: list[str]) -> Findings:
    """The instructions that a row names have to be there in its order, those after ! nowhere; nor local memory
    and fences of the whole GPU that it does not name."""
    if kernel.spills or kernel.stack or kernel.codes:
        yield f"{name} spills {kernel.spills} bytes, has a stack of {kernel.stack} and warnings {kernel.codes}"
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    at = 0
    for pattern in wanted:
        found = [place for place in matching(kernel, pattern) if place >= at]
        if not found:
            yield f"{name} has no {pattern} after {' '.join(wanted[:wanted.index(pattern)]) or 'its beginning'}"
            return
        at = found[0] + 1
    forbidden = [pattern[1:] for pattern in patterns if pattern.startswith("!")] + ["LDL*", "STL*", "MEMBAR.*.GPU"]
    for at, instruction in enumerate(kernel.body):
        if (any(fnmatchcase(instruction.opcode, pattern) for pattern in forbidden)
                and not any(fnmatchcase(instruction.opcode, pattern) for pattern in wanted)):
            yield f"{name} has {instruction.opcode}"


def unused_members(machine: str, kernels: str) -> set[str]:
    """Members of the machine that no kernel calls, by the text of both."""
    public = machine[machine.index("class Machine {"):machine.rindex(" private:")]
    members = set(re.findall(r"static OCTAVO_DEVICE [\w:]+ (\w+)\(", public))
    return members - set(re.findall(r"Machine::(\w+)", kernels))


def all_primitives(kernels: dict[str, Kernel], rows: dict[str, list[str]], unused: set[str]) -> Findings:
    for name in sorted(kernels.keys() ^ rows.keys()):
        yield f"{name} is only in {'primitives.cu' if name in kernels else 'primitives.txt'}"
    for name in sorted(kernels.keys() & rows.keys()):
        yield from primitive_findings(name, kernels[name], rows[name])
    for member in sorted(unused):
        yield f"no kernel of primitives.cu uses {member}"


# --- all of it ---

def read_rows(text: str) -> dict[str, Row]:
    """A row a kernel: what its family asks, and its tensor-core instructions."""
    families = tomllib.loads(text)
    divides = families.pop("passes", {}).get("divides", [])
    rows = {name: family | {"tensor": tensor} for family in families.values()
            for name, tensor in family["kernels"].items()}
    for name in re.findall(r"^OCTAVO_PASS_KERNEL\((\w+),", PASSES.read_text(encoding="utf-8"), re.MULTILINE):
        rows[f"octavo_{name}"] = {"divides": name in divides}
    return rows


def written(kernels: dict[str, Kernel], release: str) -> str:
    """sass_steps.json, a line a kernel."""
    lines = [f"  {json.dumps(name)}: {json.dumps([step._asdict() for step in sass.main_loops(kernels[name].body)])}"
             for name in sorted(kernels) if sass.main_loops(kernels[name].body)]
    return f'{{"nvcc": {json.dumps(release)}, "kernels": {{\n' + ",\n".join(lines) + "\n}}\n"


def read_steps(text: str, release: str) -> dict[str, list[Step]] | None:
    """None where another compiler made them."""
    table = json.loads(text)
    if table["nvcc"] != release:
        print(f"check_sass: sass_steps.json is of nvcc {table['nvcc']}, this is {release}: growth is not compared")
        return None
    return {name: [Step(**step) for step in steps] for name, steps in table["kernels"].items()}


def print_steps(kernels: dict[str, Kernel]) -> None:
    """Each distinct step once."""
    names: dict[str, list[str]] = {}
    steps: dict[str, Step] = {}
    for name, kernel in sorted(kernels.items()):
        for step in sass.main_loops(kernel.body):
            names.setdefault(str(step), []).append(name)
            steps[str(step)] = step
    for key, step in steps.items():
        pipes = ", ".join(f"{count} {pipe}" for pipe, count in step.pipes.items())
        print(f"{', '.join(names[key])}: {step.instructions} instructions a step ({pipes}), issued in {step.stall} clocks; tensor cores "
              f"{step.tensor:.0f}: issuing takes {step.instructions / step.tensor:.2f} of the time")


def run(build: Path, write: bool) -> list[str]:
    nvcc, nvdisasm = sass.nvcc_of(build), sass.find_nvdisasm()
    if nvcc is None or nvdisasm is None:
        print(f"check_sass: skipped: {'nvcc' if nvcc is None else 'nvdisasm'} was not found")
        return []
    rows = read_rows(KERNELS.read_text(encoding="utf-8"))
    sources = [PRIMITIVES, *sorted((ROOT / "src/backends/cuda/kernels").rglob("*.cu"))]
    with ProcessPoolExecutor() as processes:
        results = list(processes.map(sass.read_image, [build / "cuda" / source.stem for source in sources],
                                     [ARCHITECTURES.get(source.name, "sm_90a") for source in sources], repeat(nvdisasm)))
    found = list(all_primitives(results[0], read_primitives(PRIMITIVES.with_suffix(".txt").read_text()),
                                unused_members(MACHINE.read_text(), PRIMITIVES.read_text())))
    kernels = {name: kernel for result in results[1:] for name, kernel in result.items()}
    found += [f"{name} has no row in kernels.toml" for name in sorted(kernels.keys() - rows.keys())]
    release = sass.release_of(nvcc)
    if write:
        STEPS.write_text(written(kernels, release))
    print_steps(kernels)
    steps = read_steps(STEPS.read_text(), release)
    for name, row in sorted(rows.items()):
        committed = None if steps is None else steps.get(name, [])
        found += [f"{name} {sentence}" for _, sentence in failures(kernels.get(name, Kernel()), row, committed)]
    return found


# --- self-test: a made-up kernel that passes, and for each gate a change that only it sees ---

GOOD_LOG = """\
ptxas info    : Compiling entry function 'k' for 'sm_90a'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers
"""
MMA_SYNC_CODE = (".L_x_1:", "LDSM.16.M88.4", "IMMA.16832.S8.S8", "HMMA.16816.F32", "@P0 BRA `(.L_x_1)", "EXIT")
GOOD_CODE = ("MEMBAR.ALL.GPU", "USETMAXREG", ".L_x_1:", "UTMALDG.2D", "WARPGROUP.ARRIVE", "IGMMA.64x256x32.S8.S8", "FFMA",
             "@P0 BRA `(.L_x_1)", "I2FP.F32.S32", "FMUL", "STSM.16.M88.4", "EXIT")
GOOD_ROW: Row = {"registers": 168, "tensor": ["IGMMA.64x256x32.S8.S8"],
                 "contains": ["UTMALDG.2D", "STSM*", "USETMAXREG*"], "issue": 0.1}


def listing(code: tuple[str, ...]) -> str:
    lines = [".text.k:"]
    for at, text in enumerate(code):
        if text.endswith(":"):
            lines.append(text)
        else:
            lines.append(f"        /*{16 * at:04x}*/    {text} ;    /* 0x{0:016x} */")
            lines.append(f"                /* 0x{2 << 41:016x} */")
    return "\n".join(lines)


def replaced(old: str, *new: str) -> tuple[str, ...]:
    return tuple(text for item in GOOD_CODE for text in (new if item == old else (item,)))


# Log, code, row and committed instructions a step.
BAD: dict[str, tuple[str, tuple[str, ...], Row, float]] = {
    "compiled": ("", (), GOOD_ROW, 5.0),
    "without_spills": (GOOD_LOG.replace("0 bytes spill stores", "4 bytes spill stores"), GOOD_CODE, GOOD_ROW, 5.0),
    "without_local_memory": (GOOD_LOG, replaced("FMUL", "LDL.64"), GOOD_ROW, 5.0),
    "registers_of_the_launch": (GOOD_LOG.replace("168", "160"), GOOD_CODE, GOOD_ROW, 5.0),
    "without_warnings": (GOOD_LOG + "ptxas info : (C7510) Potential Performance Loss: wgmma.mma_async instructions are "
                         "serialized in function 'k'\n", GOOD_CODE, GOOD_ROW, 5.0),
    "tensor_instructions": (GOOD_LOG, replaced("IGMMA.64x256x32.S8.S8", "IGMMA.64x128x32.S8.S8"), GOOD_ROW, 5.0),
    "expected_instructions": (GOOD_LOG, replaced("STSM.16.M88.4", "STS"), GOOD_ROW, 5.0),
    "without_fences_of_the_gpu": (GOOD_LOG, replaced("FMUL", "MEMBAR.SC.GPU"), GOOD_ROW, 5.0),
    "without_fused_epilogue": (GOOD_LOG, replaced("FMUL", "FFMA.SAT"), GOOD_ROW, 5.0),
    "issue_time": (GOOD_LOG, GOOD_CODE, GOOD_ROW | {"issue": 0.03}, 5.0),
    "growth": (GOOD_LOG, replaced("UTMALDG.2D", "UTMALDG.2D", "IMAD", "IMAD", "IMAD"), GOOD_ROW, 5.0),
}


def made_up(log: str, code: tuple[str, ...]) -> Kernel:
    kernels = sass.read_log(log, "sm_90a")
    kernel = kernels.get("k", Kernel())
    kernel.body = sass.read_listing(listing(code)).get("k", [])
    return kernel


def failed_gates(kernel: Kernel, row: Row, instructions: float) -> list[str]:
    return [gate for gate, _ in failures(kernel, row, [Step(1, instructions, {}, 10.0, 128.0, 1, 0)])]


def self_test() -> Findings:
    good = made_up(GOOD_LOG, GOOD_CODE)
    if failed := failed_gates(good, GOOD_ROW, 5.0):
        yield f"self-test: a good kernel fails {failed}"
    expected = Step(1, 5.0, {"barrier": 1.0, "fma": 1.0, "memory": 1.0, "other": 1.0, "tensor": 1.0}, 10.0, 128.0, 1, 0)
    if sass.main_loops(good.body) != [expected]:
        yield f"self-test: main loops are {sass.main_loops(good.body)}; expected {[expected]}"
    expected = Step(1, 4.0, {"memory": 1.0, "other": 1.0, "tensor": 2.0}, 8.0, 16.0, 0, 0)
    if (loops := sass.main_loops(made_up(GOOD_LOG, MMA_SYNC_CODE).body)) != [expected]:
        yield f"self-test: loops around mma.sync are {loops}; expected {[expected]}"
    for gate in GATES:
        log, code, row, instructions = BAD[gate.__name__]
        failed = failed_gates(made_up(log, code), row, instructions)
        if failed != [gate.__name__]:
            yield f"self-test: what {gate.__name__} should find is found by {failed}"
    for divides, expected_gates in ((False, ["without_fusing"]), (True, [])):
        if failed_gates(good, {"divides": divides}, 5.0) != expected_gates:
            yield f"self-test: FFMA of a kernel that {'divides' if divides else 'does not divide'} is not judged right"
    for item, fences in (("FMUL", 1), ("FFMA", 0)):  # once after the loop, once in it
        fenced = made_up(GOOD_LOG, replaced(item, "MEMBAR.SC.GPU"))
        if bool(failed_gates(fenced, GOOD_ROW | {"fences": 1}, 5.0)) == bool(fences):
            yield f"self-test: a fence in place of {item} is not told from others"
    for most, finds in ((160, True), (168, False), (200, False)):
        row = {key: value for key, value in GOOD_ROW.items() if key != "registers"} | {"most_registers": most}
        if bool(failed_gates(good, row, 5.0)) != finds:
            yield f"self-test: 168 registers of at most {most}"
    if failed_gates(good, GOOD_ROW | {"issue": 0.03, "memory": 440}, 5.0):
        yield "self-test: a step that waits for memory is held to the tensor cores' clocks"
    family = '[dense]\nregisters = 168\n[dense.kernels]\nk = ["IGMMA"]\n'
    if read_rows(family)["k"] | {"kernels": {}} != {"registers": 168, "tensor": ["IGMMA"], "kernels": {}}:
        yield "self-test: rows are not made of their families"
    if read_steps(written({"k": good}, "13.0"), "13.0") != {"k": sass.main_loops(good.body)}:
        yield "self-test: steps are not read as they are written"
    rows = read_primitives("k USETMAXREG UTMALDG.2D IGMMA* MEMBAR.ALL.GPU  # a comment")
    if not list(primitive_findings("k", good, rows["k"])):
        yield "self-test: instructions in another order should be a finding"
    if list(primitive_findings("k", good, ["MEMBAR.ALL.GPU", "USETMAXREG", "STSM*"])):
        yield "self-test: instructions in a row's order should be none"
    for patterns in (["USETMAXREG"], ["MEMBAR.ALL.GPU", "!FFMA"], ["MEMBAR.*", "LDS"]):
        if not list(primitive_findings("k", good, patterns)):
            yield f"self-test: {patterns} should be a finding"
    if list(all_primitives({"tid": Kernel()}, {"tid": []}, set())):
        yield "self-test: a primitive with kernel and row should be no finding"
    for kernels, table, unused in (({}, {"tid": []}, set()), ({"tid": Kernel()}, {}, set()), ({}, {}, {"tid"})):
        if not list(all_primitives(kernels, table, unused)):
            yield "self-test: a kernel or a row alone, a primitive without a kernel should be findings"
    machine = "class Machine {\n static OCTAVO_DEVICE u32 tid() {}\n static OCTAVO_DEVICE T lane() {}\n private:\n"
    if unused_members(machine, "PRIMITIVE(lane) { Machine::lane(); }") != {"tid"}:
        yield "self-test: the machine's members are not read"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--self-test", action="store_true", help="prove that each gate can fail")
    parser.add_argument("--write", action="store_true", help="write tests/cuda/sass_steps.json")
    parser.add_argument("build", nargs="?", type=Path, help="a build directory")
    arguments = parser.parse_args()
    if arguments.build is None and not arguments.self_test:
        parser.error("name a build directory")
    found = list(self_test()) if arguments.self_test else run(arguments.build, arguments.write)
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
