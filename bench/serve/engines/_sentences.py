# SPDX-License-Identifier: Apache-2.0
"""What every encoder is measured by: batches of sentences of random tokens, in sentences a second.

SCRIPT FOLDER SCHEME THREADS prints one line of JSON, {case: value} as _measure.py does.
"""

import os
import random
import sys
import time
from pathlib import Path
from statistics import median

from _measure import peak_bytes, say

CASES = {"1 x 16": (1, 16, 40), "32 x 16": (32, 16, 9), "32 x 128": (32, 128, 5)}  # sentences, tokens, repetitions


def main(encoder_of) -> None:
    """encoder_of(folder, scheme, threads) gives a function of rows of ids, which returns when they are encoded, and notes."""
    folder, scheme, threads, *_ = sys.argv[1:]
    os.environ |= {name: threads for name in ("OMP_NUM_THREADS", "OCTAVO_NUM_THREADS")}
    begin = time.perf_counter()
    encode, notes = encoder_of(Path(folder), scheme, int(threads))
    found: dict[str, object] = {"load": time.perf_counter() - begin}
    draw = random.Random(0)
    for case, (sentences, tokens, repetitions) in CASES.items():
        spent = []
        for _ in range(repetitions + 2):
            rows = [[draw.randrange(1000, 20000) for _ in range(tokens)] for _ in range(sentences)]
            start = time.perf_counter()
            encode(rows)
            spent.append(time.perf_counter() - start)
        found[case] = sentences / median(spent[2:])
    say(found | {"memory": peak_bytes(), "notes": notes})
