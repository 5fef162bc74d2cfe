# SPDX-License-Identifier: Apache-2.0
# Reading object code: loops, and of x86-64's functions vectors that live on the stack.

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


class Flow(NamedTuple):
    """Basic blocks by the index of their first instruction, and where each may go."""
    blocks: dict[int, range]
    successors: dict[int, list[int]]


def flow_through(count: int, jumps: dict[int, tuple[int | None, bool]]) -> Flow:
    """The flow through so many instructions; of each that jumps: where to (None: out of the function),
    and whether the next may follow it."""
    starts = sorted({0} | {i + 1 for i in jumps if i + 1 < count}
                    | {target for target, _ in jumps.values() if target is not None})
    blocks = {first: range(first, after) for first, after in zip(starts, starts[1:] + [count])}
    successors = {}
    for first, block in blocks.items():
        last = block[-1]
        target, falls = jumps.get(last, (None, True))
        successors[first] = (([last + 1] if falls and last + 1 < count else [])
                             + ([] if target is None else [target]))
    return Flow(blocks, successors)


def flow_of(body: list[Instruction]) -> Flow:
    index = {instruction.address: i for i, instruction in enumerate(body)}
    jumps: dict[int, tuple[int | None, bool]] = {}
    for i, instruction in enumerate(body):
        if re.match(r"(j\w+|ret\w*)\b", instruction.text):
            target = re.match(r"j\w+\s+(?:\S+,)?([0-9a-f]+) <", instruction.text)
            jumps[i] = (index.get(int(target[1], 16)) if target else None,
                        not re.match(r"(jmp|ret)", instruction.text))
    return flow_through(len(body), jumps)


def dominators_of(flow: Flow) -> dict[int, set[int]]:
    """The blocks that every way from the entry to a block passes."""
    predecessors: dict[int, list[int]] = {first: [] for first in flow.blocks}
    for first, targets in flow.successors.items():
        for target in targets:
            predecessors[target].append(first)
    dominators = {first: set(flow.blocks) for first in flow.blocks}
    dominators[0] = {0}
    changed = True
    while changed:
        changed = False
        for first in flow.blocks:
            if first == 0:
                continue
            common = [dominators[p] for p in predecessors[first]]
            found = {first} | (set.intersection(*common) if common else set())
            changed |= found != dominators[first]
            dominators[first] = found
    return dominators


def natural_loops(flow: Flow) -> dict[int, set[int]]:
    """The blocks of each loop, by its first one."""
    dominators = dominators_of(flow)
    loops: dict[int, set[int]] = {}
    for first, targets in flow.successors.items():
        for head in targets:
            if head not in dominators[first]:
                continue
            loop = loops.setdefault(head, {head})
            waiting = [first]
            while waiting:
                block = waiting.pop()
                if block in loop:
                    continue
                loop.add(block)
                waiting += [p for p, to in flow.successors.items() if block in to]
    return loops


def innermost_loops(body: list[Instruction]) -> list[set[int]]:
    """The addresses of each natural loop that holds no other one."""
    flow = flow_of(body)
    loops = natural_loops(flow)
    return [{body[i].address for block in loop for i in flow.blocks[block]}
            for head, loop in loops.items()
            if not any(other != head and other in loop for other in loops)]


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
    loops = set().union(*innermost_loops(body))
    return [" ".join(i.text.split()) for i in stack_traffic(body) if i.address in loops]
