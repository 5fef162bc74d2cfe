# SPDX-License-Identifier: Apache-2.0
"""What every engine is measured by: steps of decoding, prompts, loading, memory, perplexity.

An engine's script runs in its own environment: SCRIPT FOLDER SCHEME THREADS [IDS]. It prints one line of JSON,
{case: value}: `decode N` and `prompt N` in tokens a second, `load` in seconds, `memory` in bytes (the process's peak),
`perplexity` of the windows in the file IDS, if there is one and the engine gives probabilities.
"""

import json
import math
import os
import random
import sys
import time
from pathlib import Path
from statistics import median

PROMPT = 32
STEPS = {1: 32, 4: 32, 16: 32, 64: 16}  # further tokens of each row, by rows
PROMPTS = {512: 3, 2048: 2}             # repetitions, by tokens
REPETITIONS = 3
SECONDS = 15                            # after which a figure gets no further repetition
LENGTH = 2304                           # positions that an engine is made for


class Engine:
    """What a script implements. Tokens are lists of ids; every row gets exactly `count` further tokens, greedily."""

    def __init__(self, folder: Path, scheme: str, threads: int) -> None:
        raise NotImplementedError

    def generate(self, rows: list[list[int]], count: int) -> None:
        raise NotImplementedError

    def log_likelihoods(self, ids: list[int]) -> list[float] | None:
        """Of each token but the first under those before it; None: the engine does not tell."""
        return None

    def notes(self) -> dict[str, str]:
        """What a reader has to know: versions, which kernels ran."""
        return {}


def float_type() -> str:
    """What a CPU multiplies fastest beside 8 bits: bfloat16 where it has instructions for it, else float32."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def main(engine_of) -> None:
    folder, scheme, threads, *windows = sys.argv[1:]
    os.environ |= {name: threads for name in ("OMP_NUM_THREADS", "OCTAVO_NUM_THREADS")}
    begin = time.perf_counter()
    engine = engine_of(Path(folder), scheme, int(threads))
    found: dict[str, object] = {"load": time.perf_counter() - begin}
    draw = random.Random(0)
    prompts = lambda rows, length: [[draw.randrange(5, 500) for _ in range(length)] for _ in range(rows)]  # noqa: E731

    def seconds(rows, length, count):
        tokens = prompts(rows, length)
        start = time.perf_counter()
        engine.generate(tokens, count)
        return time.perf_counter() - start

    def middle(sample, repetitions):
        end, samples = time.perf_counter() + SECONDS, []
        while len(samples) < repetitions and not (samples and time.perf_counter() > end):
            samples.append(sample())
        return median(samples)

    engine.generate(prompts(1, PROMPT), 2)
    for rows, steps in STEPS.items():
        spent = middle(lambda: seconds(rows, PROMPT, steps + 1) - seconds(rows, PROMPT, 1), REPETITIONS)  # noqa: B023
        found[f"decode {rows}"] = rows * steps / spent
    for length, repetitions in PROMPTS.items():
        found[f"prompt {length}"] = length / middle(lambda: seconds(1, length, 1), repetitions)  # noqa: B023
    found["memory"] = peak_bytes()
    if windows:
        told = [engine.log_likelihoods(ids) for ids in json.loads(Path(windows[0]).read_text())]
        if None not in told:
            found["perplexity"] = math.exp(-sum(map(sum, told)) / sum(map(len, told)))
    say(found | {"notes": engine.notes()})


def peak_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def say(found: dict[str, object]) -> None:
    sys.stdout.flush()
    print("\n" + json.dumps(found), flush=True)
