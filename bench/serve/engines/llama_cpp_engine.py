# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's own batched benchmark on model.gguf of the folder; LLAMA_CPP of the environment is where it was built."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from _measure import LENGTH, PROMPT, PROMPTS, REPETITIONS, STEPS, say

BINARY = Path(os.environ["LLAMA_CPP"]) / "build/bin/llama-batched-bench"


def bench(file, threads, prompt, count, rows):
    """(tokens/s of the prompt, of decoding) by the program's own clock."""
    context = max(LENGTH, rows * (prompt + count))
    done = subprocess.run([BINARY, "-m", file, "-c", str(context), "-b", "2048", "-ub", "512", "-t", threads, "-tb", threads, "-npp", str(prompt),
                           "-ntg", str(count), "-npl", str(rows), "--output-format", "jsonl"], capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise SystemExit(done.stderr[-2000:])
    return lines[-1]["speed_pp"], lines[-1]["speed_tg"]


def main():
    folder, _, threads, *_ = sys.argv[1:]
    file = Path(folder) / "model.gguf"
    found = {}
    for rows, steps in STEPS.items():
        found[f"decode {rows}"] = median(bench(file, threads, PROMPT, steps, rows)[1] for _ in range(REPETITIONS))
    for length, repetitions in PROMPTS.items():
        found[f"prompt {length}"] = median(bench(file, threads, length, 1, 1)[0] for _ in range(repetitions))
    begin = time.perf_counter()
    whole = bench(file, threads, 1, 1, 1)
    found["load"] = time.perf_counter() - begin - sum(1 / speed for speed in whole)
    found["memory"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    say(found | {"notes": {"llama.cpp": Path(os.environ["LLAMA_CPP"], "version").read_text().strip()}})


if __name__ == "__main__":
    main()
