# SPDX-License-Identifier: Apache-2.0
"""Tokens and sentences a second of servers and libraries with Octavo and without, and of their peers: `./dev bench --serve`.

A cell is a variant of table.py, a model, a number of threads, a round; it runs in a process of its own, and its line goes to
BUILD/cells.jsonl. Rounds go through all variants in turn. A further run goes on where the last one stopped. A variant
that cannot be had is printed as `not run` with its reason. At the end: bench/results/data/serve.csv of all cells.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from . import environments, models, page
from .table import FORMATS, MODELS, VARIANTS, Variant

ENGINES = Path(__file__).resolve().parent / "engines"
CELL_SECONDS = 400


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench --serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--texts", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=float, default=75, help="after which no cell starts; default: 75")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--threads", type=int, nargs="*", default=[2, 1], help="default: 2 1")
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--variants", nargs="*", default=[each.name for each in VARIANTS], choices=[each.name for each in VARIANTS])
    parser.add_argument("--prepare", action="store_true", help="only make environments and folders")
    parser.add_argument("--write", action="store_true", help="write bench/results/data/serve.csv of what was measured, with the page's table")
    options = parser.parse_args()
    end = time.monotonic() + options.minutes * 60
    cells = options.build / "cells.jsonl"
    there = [json.loads(line) for line in cells.read_text().splitlines()] if cells.exists() else []
    known = {(cell["round"], cell["threads"], cell["model"], cell["variant"]) for cell in there}
    refused: dict[tuple[str, str], str] = {}
    variants = [each for each in VARIANTS if each.name in options.variants]
    for turn in range(0 if options.write else options.rounds):
        for threads in options.threads:
            for model in options.models:
                for variant in variants:
                    key = (turn, threads, model, variant.name)
                    if key in known or (model, variant.name) in refused or not variant.runs(MODELS[model]):
                        continue
                    if time.monotonic() > end:
                        break
                    try:
                        found = cell(options, variant, model, threads)
                    except environments.NotThere as reason:
                        refused[model, variant.name] = str(reason)
                        print(f"not run: {variant.name}, {model}: {reason}", flush=True)
                        continue
                    if found is None:
                        continue
                    found = {"round": turn, "threads": threads, "model": model, "variant": variant.name, "loadavg": os.getloadavg()[0]} | found
                    there.append(found)
                    with cells.open("a") as file:
                        file.write(json.dumps(found) + "\n")
                    print(f"{model:15} {variant.name:29} {threads} threads ", *(f"{found[case]:8.1f}" for case in MODELS[model].cases), flush=True)
    if there and not options.prepare:
        print(page.text(there))
    if options.write:
        page.write(there)
    return 0


def cell(options: argparse.Namespace, variant: Variant, model: str, threads: int) -> dict[str, object] | None:
    """What the engine's process found; None: everything was only prepared. Raises: environments.NotThere."""
    python = environments.python_of(variant.environment, options.build)
    folder = (models.float_folder(options.build, model, options.texts) if variant.format is None else
              models.coded_folder(options.build, model, FORMATS[variant.format], options.texts))
    if options.prepare:
        return None
    windows = options.build / "models" / model / "windows.json"
    output = environments.checked(
        [python, ENGINES / variant.script, folder, variant.scheme or variant.weights, str(threads), *([windows] if windows.exists() else [])],
        options.build / f"log/cell-{model}-{variant.name}.log", seconds=CELL_SECONDS,
        env=environments.variables(python) | variant.variables | {"LLAMA_CPP": str(options.build / "llama.cpp")},
        preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads]))
    return json.loads(output.strip().splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
