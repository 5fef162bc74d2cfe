# SPDX-License-Identifier: Apache-2.0
# Reading x86-64 object code: functions, their innermost loops, vectors that live on the stack.

import re
import subprocess
from pathlib import Path
from typing import Iterator, NamedTuple


def output_of(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


class Instruction(NamedTuple):
    address: int
    text: str


def functions_of(file: Path) -> Iterator[tuple[str, list[Instruction]]]:
    name, body = "", []
    for line in output_of("objdump", "-d", "--no-show-raw-insn", str(file)).splitlines():
        header = re.match(r"[0-9a-f]+ <(.+)>:$", line)
        instruction = re.match(r"\s+([0-9a-f]+):\s+(.+)$", line)
        if header:
            yield name, body
            name, body = header[1], []
        elif instruction:
            body.append(Instruction(int(instruction[1], 16), instruction[2].strip()))
    yield name, body


def uses_avx(body: list[Instruction]) -> bool:
    """True where code runs only on processors with AVX or more."""
    return any(re.match(r"v\w+\s", i.text) or re.search(r"%([yz]mm|k[0-7])", i.text)
               for i in body)


def innermost_loops(body: list[Instruction]) -> list[tuple[int, int]]:
    """Address ranges from the target of a backward branch to the branch."""
    loops = set()
    for instruction in body:
        jump = re.match(r"j\w+\s+(?:\S+,)?([0-9a-f]+) <", instruction.text)
        if jump and body[0].address <= int(jump[1], 16) <= instruction.address:
            loops.add((int(jump[1], 16), instruction.address))
    return [outer for outer in loops
            if not any(outer != inner and outer[0] <= inner[0] and inner[1] <= outer[1]
                       for inner in loops)]


def stack_traffic(body: list[Instruction]) -> list[Instruction]:
    """Vector instructions whose memory operand is on the stack, through any register."""
    has_frame = any(re.match(r"mov\s+%rsp,%rbp", i.text) for i in body)
    fixed = {"rsp", "rbp"} if has_frame else {"rsp"}
    pointers = set(fixed)
    found = []
    for instruction in body:
        text = instruction.text
        base = re.search(r"\(%(\w+)", text)
        if base and base[1] in pointers and re.search(r"%[xyz]mm", text):
            found.append(instruction)
        address = re.match(r"(?:lea\s+\S*?\(%(\w+).*\)|mov\s+%(\w+)),%(r\w+)$", text)
        target = re.search(r",%(r\w+)$", re.sub(r"%e(\w\w)$", r"%r\1", text))
        if address and (address[1] or address[2]) in pointers:
            pointers.add(address[3])
        elif target and not re.match(r"(add|sub|cmp|test)", text):
            pointers.discard(target[1].rstrip("d"))
            pointers |= fixed
    return found


def vectors_on_stack_in_loops(body: list[Instruction]) -> list[str]:
    """The instructions of innermost loops that load or store a vector on the stack."""
    loops = innermost_loops(body)
    return [" ".join(i.text.split()) for i in stack_traffic(body)
            if any(first <= i.address <= last for first, last in loops)]
