# SPDX-License-Identifier: Apache-2.0
# Machine code: what a build has kept of CUDA sources (cmake/octavo_cuda_image.cmake), what ptxas says of them and
# nvdisasm's listings.

import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import NamedTuple

from object_code import flow_through, natural_loops

ROOT = Path(__file__).resolve().parent.parent


def find_tool(name: str, *places: str) -> str | None:
    """A program of PATH or of one of these folders (patterns)."""
    for folder in (None, *sorted(sum((glob(place) for place in places), []), reverse=True)):
        found = shutil.which(name, path=folder)
        if found:
            return found
    return None


def nvcc_of(build: Path) -> str | None:
    """What a build directory compiles CUDA kernels with."""
    found = re.search(r"^OCTAVO_NVCC:FILEPATH=(.+)$", (build / "CMakeCache.txt").read_text(), re.MULTILINE)
    return found[1] if found and not found[1].endswith("-NOTFOUND") else None


def find_nvdisasm() -> str | None:
    return find_tool("nvdisasm", f"{sys.prefix}/lib/python3*/site-packages/nvidia/cu*/bin",
                     "/usr/local/cuda*/bin")


def release_of(nvcc: str) -> str:
    text = subprocess.run([nvcc, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"release (\d+\.\d+)", text)
    return found[1] if found else "of an unknown release"


class Instruction(NamedTuple):
    opcode: str
    operands: str
    guarded: bool  # runs where a predicate holds
    stall: int     # clocks until the warp's next one may issue
    label: str     # that a jump goes to


@dataclass
class Kernel:
    """What the compiler says of a kernel, and its instructions."""
    registers: int = -1
    stack: int = 0
    spills: int = 0
    codes: list[str] = field(default_factory=list)  # ptxas's warnings: C7510 and the like
    body: list[Instruction] = field(default_factory=list)

    def counts(self) -> Counter[str]:
        return Counter(instruction.opcode for instruction in self.body)


LINE = re.compile(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][A-Z0-9_.a-z]*)(.*?)/\* 0x[0-9a-f]{16} \*/")
UPPER = re.compile(r"\s+/\* 0x([0-9a-f]{16}) \*/")
SECTION = re.compile(r"\.text\.([\w$]+):")
LABEL = re.compile(r"(\.L\w+):")


def read_listing(text: str) -> dict[str, list[Instruction]]:
    """The kernels of `nvdisasm -hex -c`: two lines an instruction, the second its upper 64 bits, whose bits
    41 to 44 are the stall count."""
    kernels: dict[str, list[Instruction]] = {}
    body: list[Instruction] | None = None
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if found := SECTION.match(line):
            body = kernels.setdefault(found[1], [])
        elif found := LABEL.match(line):
            labels[found[1]] = len(body or ())
        elif body is not None and (found := LINE.match(line)):
            target = re.search(r"`\(([^)]+)\)", found[3])
            body.append(Instruction(found[2], found[3].strip(" ;"), found[1] is not None, 0,
                                    target[1] if target else ""))
        elif body and (found := UPPER.match(line)):
            body[-1] = body[-1]._replace(stall=int(found[1], 16) >> 41 & 15)
    for name, instructions in kernels.items():
        kernels[name] = [i._replace(label=str(labels.get(i.label, ""))) for i in instructions]
    return kernels


def read_log(log: str, arch: str) -> dict[str, Kernel]:
    """What `ptxas -v` says, by kernel, for one kind of device; one kind after the other."""
    kernels: dict[str, Kernel] = {}
    current = Kernel()
    for line in log.splitlines():
        if found := re.search(r"Compiling entry function '([^']+)' for '([^']+)'", line):
            current = kernels.setdefault(found[1], Kernel()) if found[2] == arch else Kernel()
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            current.stack = int(found[1])
            current.spills = int(found[2]) + int(found[3])
        elif found := re.search(r"Used (\d+) registers", line):
            current.registers = int(found[1])
        elif found := re.search(r"\((C7\d+)\)(.*?in function '([^']+)')?", line):
            kernels.setdefault(found[3] or "", Kernel()).codes.append(found[1])
    return kernels


def read_image(kept: Path, arch: str, nvdisasm: str) -> dict[str, Kernel]:
    """Every kernel of a source for one kind of device, of what the build has kept; leaves the listing there."""
    for cubin in sorted(kept.glob("*.cubin")):
        listing = subprocess.run([nvdisasm, "-hex", "-c", str(cubin)], check=True, capture_output=True, text=True).stdout
        if re.search(rf"\.target\s+{arch}\b", listing):
            cubin.with_suffix(".sass").write_text(listing)
            kernels = read_log((kept / "log").read_text(), arch)
            for name, body in read_listing(listing).items():
                kernels.setdefault(name, Kernel()).body = body
            return kernels
    sys.exit(f"check_sass: {kept} has no machine code for {arch}")


PIPES = (
    ("tensor", r"[HIQ]GMMA|[HI]MMA"),
    ("fma", r"FFMA|FMUL|FADD|IMAD|HFMA2"),
    ("convert", r"I2FP?|F2FP?|F2I|FRND"),
    ("memory", r"LD[GSLC]|ST[GSL]|STSM|LDSM|UTMA|ATOM|LD|ST"),
    ("barrier", r"SYNCS|WARPGROUP|BAR|DEPBAR|MEMBAR|FENCE"),
    ("uniform", r"U|R2UR"),
)


def pipe_of(opcode: str) -> str:
    return next((name for name, pattern in PIPES if re.match(rf"({pattern})(\.|[A-Z]|$)", opcode)), "other")


class Step(NamedTuple):
    """One step of a main loop: from one batch of wgmma to the next, averaged over the loop's steps; of mma.sync,
    the loop's body."""
    steps: int           # of the loop's body
    instructions: float
    pipes: dict[str, float]
    stall: float         # clocks that one warp takes to issue it
    tensor: float        # clocks that the tensor cores take for a warpgroup's step, or a warp's of mma.sync
    fused: int           # FFMA in all of the loop
    fences: int = 0      # of the whole GPU, there


MMA_SYNC = re.compile(r"(IMMA\.16832|HMMA\.16816)\.")


def tensor_clocks(opcode: str) -> float:
    """64 rows by n columns by 32 bytes of K take n / 2; of mma.sync, 16 x 8 by 32 bytes take a quarter of sm_80's
    multiprocessor 8."""
    if MMA_SYNC.match(opcode):
        return 8.0
    found = re.search(r"GMMA\.64x(\d+)x", opcode)
    return int(found[1]) / 2 if found else 0.0


def main_loops(body: list[Instruction]) -> list[Step]:
    """The innermost loops around wgmma or mma.sync, in the order of the code."""
    if not body:
        return []
    jumps: dict[int, tuple[int | None, bool]] = {}
    for i, instruction in enumerate(body):
        kind = instruction.opcode.split(".")[0]
        if kind in ("BRA", "EXIT", "RET", "BRX", "JMP"):
            falls = instruction.guarded or instruction.opcode not in ("BRA", "EXIT", "RET", "BRX", "JMP")
            jumps[i] = (int(instruction.label) if instruction.label else None, falls)
    flow = flow_through(len(body), jumps)
    around = {head: blocks for head, blocks in natural_loops(flow).items()
              if any(tensor_clocks(body[i].opcode) for block in blocks for i in flow.blocks[block])}
    steps = []
    for head, blocks in sorted(around.items()):
        if any(other != head and other in blocks for other in around):
            continue
        loop = [body[i] for block in blocks for i in flow.blocks[block]]
        count = max(1, sum(i.opcode.startswith("WARPGROUP.ARRIVE") for i in loop))
        pipes = Counter(pipe_of(i.opcode) for i in loop)
        steps.append(Step(count, round(len(loop) / count, 1),
                          {name: round(n / count, 1) for name, n in sorted(pipes.items())},
                          round(sum(max(1, i.stall) for i in loop) / count, 1),
                          sum(tensor_clocks(i.opcode) for i in loop) / count,
                          sum(i.opcode.split(".")[0] == "FFMA" for i in loop),
                          sum(bool(re.fullmatch(r"MEMBAR\..*\.GPU", i.opcode)) for i in loop)))
    return steps
