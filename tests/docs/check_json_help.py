#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: check_json_help.py OCTAVO_PROGRAM

`octavo help json` lists the fields that commands print with --json: none more, none fewer.
Exit status 1 and what differs, if something does.
"""

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

from check_cli import make_model, write

PRODUCT = "scaled_mm int8:int8:bf16 4x64x64"
TIMED = "bench --rounds 3 --seconds 0.001"
# In a folder that holds `tiny` and `cut`; what one writes the next may read.
COMMANDS = ("quantize tiny coded", "quantize tiny none --dry-run", "convert coded converted --to bitsandbytes",
            "dequantize coded wide", "inspect coded", "verify coded", "verify cut", "compare tiny coded", "compare tiny cut",
            "report coded --against tiny", "schemes", "plan tiny --ranks 2", f"explain {PRODUCT}", "info",
            f"bench --check {PRODUCT}", f"bench --list {PRODUCT}", f"{TIMED} {PRODUCT} --against '{PRODUCT}'",
            f"{TIMED} {PRODUCT} --cliffs", f"{TIMED} quantize bf16:e4m3fn scale=token 64x64",
            f"{TIMED} fused_experts e4m3fn:e4m3fn:bf16 experts=4 topk=2 scale=token:channel 16x64x64")
FREE = {"metadata"}  # a file names its fields
# Types and fields that need more than these commands have: a calibration, a peer, this machine's peaks, a device.
ELSEWHERE = {"layer": ("nearest_output_error", "output_error"), "report": ("input.", "lost_columns."),
             "figure": ("peers.",), "peer": ("",), "peaks": ("",), "refusal": ("",)}


def needs_more(kind: str, name: str) -> bool:
    return name.startswith(ELSEWHERE.get(kind, ()))


def documented(program: str) -> dict[tuple[str, str], set[str]]:
    """By command and type the fields: "name", or "outer.name" of an object inside."""
    text = subprocess.run([program, "help", "json"], capture_output=True, text=True, check=True).stdout
    found = {}
    for block in text.split("\n\n")[1:]:
        head, *rows = block.strip().splitlines()
        commands, kind = head.split(": ")
        names = {name for row in rows for name in row.strip().split(": ")[0].split(", ")}
        outers = {name.split(".")[0] for name in names if "." in name}
        inners = {name.split(".")[1] for name in names if "." in name}
        found |= {(command.split()[0], kind): names | (outers - inners) for command in commands.split(", ")}
    return found


def printed(value, outer: str = "") -> set[str]:
    objects = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]
    names = {f"{outer}.{name}".lstrip(".") for item in objects for name in item}
    return names.union(*(printed(held, name) for item in objects for name, held in item.items() if name not in FREE))


def print_all(program: str) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in ("tiny", "cut"):
            make_model(Path(folder) / model)
        write(Path(folder) / "cut/model.safetensors", {"model.norm.weight": ([32], [1.0] * 32), "other": ([1], [math.nan])}, {})
        for words in COMMANDS:
            done = subprocess.run(["sh", "-c", f"'{program}' {words} --json"], cwd=folder, capture_output=True, text=True)
            for line in done.stdout.splitlines():
                value = json.loads(line)
                found.setdefault((words.split()[0], value.pop("type")), set()).update(printed(value))
    return found


def main(program: str) -> int:
    listed, shown = documented(program), print_all(program)
    status = 0
    for command, kind in sorted(listed.keys() | shown.keys()):
        # `try` prints figures as bench does, of products that take it seconds.
        sides = [{name for name in side.get((command, kind), ()) if not needs_more(kind, name)} for side in (listed, shown)]
        if sides[0] != sides[1] and command != "try":
            print(f"octavo help json: {command}: {kind} must list what is printed; "
                  f"listed alone {sorted(sides[0] - sides[1])}, printed alone {sorted(sides[1] - sides[0])}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(str(Path(sys.argv[1]).resolve())))
