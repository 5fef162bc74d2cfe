#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every class of transformers through `octavo quantize`; a line of JSON for each class and scheme.

usage: python tests/zoo/run.py OCTAVO RESULTS [--part I/N] [--only CLASS ...] [--ways]

--ways: those classes of selection.txt through every scheme, every target of convert and save_pretrained, read by transformers
and by Octavo. Classes that RESULTS has already are passed over: a run that was ended goes on. Ends with 1 where a class fails.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")  # bars of what is loaded in a moment

import torch
import transformers

from shrink import limited  # and the path of the classes
from classes import TooLong, model_classes
import case
import ways

SCHEMES = ("int8-dynamic", "fp8-dynamic")
SELECTION = Path(__file__).with_name("selection.txt")  # a class of each kind


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("octavo")
    parser.add_argument("results", type=Path)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--ways", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity(100)
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    part, parts = map(int, arguments.part.split("/"))
    done = {(row["cls"], row["scheme"]) for row in rows(arguments.results)}
    only = arguments.only or (SELECTION.read_text().split() if arguments.ways else None)
    classes = [(name, cls) for name, cls in model_classes().items() if only is None or name in only]
    begin, failed = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder, arguments.results.open("a") as out:
        for number, (name, cls) in enumerate(classes):
            if number % parts != part:
                continue
            for result in walked(arguments, name, cls, Path(folder), done):
                failed += result.outcome == "FAILED"
                print(case.line(result), file=out, flush=True)
            if number % 100 == part:
                print(f"zoo: {number} of {len(classes)} classes, {time.monotonic() - begin:.0f} s, {failed} failed", file=sys.stderr)
    return 1 if failed else 0


def walked(arguments: argparse.Namespace, name: str, cls: type, folder: Path, done: set[tuple[object, object]]) -> Iterator[case.Result]:
    """The results of a class that are not there yet."""
    try:
        if arguments.ways:
            with limited(600):
                yield from () if any(one == name for one, _ in done) else ways.run(arguments.octavo, cls, folder)
            return
        for scheme in SCHEMES:
            if (name, scheme) not in done:
                with limited(120):
                    yield case.run(arguments.octavo, cls, scheme, folder)
    except TooLong as late:
        yield case.Result(name, "all", "FAILED", None, str(late))


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
