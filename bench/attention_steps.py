# SPDX-License-Identifier: Apache-2.0
"""Attention over an int8 cache beside PyTorch's in bfloat16: attention_steps.py [--csv FILE] [--rounds N] [--threads 1 2].

Of one sequence with 1k, 8k and 32k tokens in the cache: a decoding step (one query) and, up to 8k, a prompt's last 256
queries; 16 query heads of 128 over 16 and 4 K/V heads, and 32 of 64 over 8 (bench/serve's Llama of 0.85 billion). Both sides
take turns in every round, on caches that no one read since the round before. Columns: medians in microseconds, the median of
the rounds' ratios with the least and the largest, bytes of the caches, and errors relative to float64 attention over the
states before rounding. PyTorch: F.scaled_dot_product_attention, and a copy of the K/V heads where that is faster (`repeated`).
"""

import argparse
import csv
import os
import subprocess
import sys
import time
from statistics import median

CASES = [(16, 16, 128), (16, 4, 128), (32, 8, 64)]
LENGTHS = (1024, 8192, 32768)
PROMPT = 256
COPIES = 3  # of the caches, in turns
FIELDS = ("threads", "queries", "heads", "kv_heads", "head_dim", "tokens", "octavo_us", "bfloat16_us", "ratio", "ratio_least",
          "ratio_largest", "octavo_bytes", "bfloat16_bytes", "octavo_error", "bfloat16_error")


def caches(kv_heads, depth, tokens, seed):
    """Keys and values in bfloat16 [1, H_kv, L, D], and as codes and scales; and what they were rounded of."""
    import octavo
    import torch

    draw = torch.Generator().manual_seed(seed)
    exact = [torch.randn(1, kv_heads, tokens, depth, generator=draw) for _ in range(2)]
    wide = [states.bfloat16() for states in exact]
    coded = []
    for states in wide:
        q = octavo.quantize(states.reshape(-1, depth))
        coded += [q.data.view(1, kv_heads, tokens, depth).transpose(1, 2), q.scale.view(1, kv_heads, tokens).transpose(1, 2)]
    return exact, wide, coded


def seconds(function):
    begin = time.perf_counter()
    result = function()
    return time.perf_counter() - begin, result


def row(threads, queries, heads, kv_heads, depth, tokens, rounds):
    import octavo.attention
    import torch

    made = [caches(kv_heads, depth, tokens, seed) for seed in range(COPIES)]
    q = torch.randn(1, heads, queries, depth, generator=torch.Generator().manual_seed(9)).bfloat16()
    rows = torch.arange(tokens - queries, tokens)[:, None]
    mask = None if queries == 1 else torch.arange(tokens) <= rows

    def theirs(states, repeated=False):
        if repeated:
            states = [s.repeat_interleave(heads // kv_heads, 1) for s in states]
        return torch.nn.functional.scaled_dot_product_attention(q.to(states[0].dtype), *states, mask, enable_gqa=not repeated)

    def ours(coded):
        return octavo.attention.attention(q.transpose(1, 2), *coded).transpose(1, 2)

    repeated = heads != kv_heads and min(seconds(lambda: theirs(made[0][1], True))[0] for _ in range(3)) < min(
        seconds(lambda: theirs(made[0][1]))[0] for _ in range(3))
    times = []
    for i in range(rounds):
        _, wide, coded = made[i % COPIES]
        times.append((seconds(lambda: ours(coded))[0], seconds(lambda: theirs(wide, repeated))[0]))
    exact, wide, coded = made[0]
    want = theirs([states.double() for states in exact])
    errors = [float((got.double() - want).norm() / want.norm()) for got in (ours(coded), theirs(wide))]
    ratios = [b / a for a, b in times]
    sizes = [sum(tensor.numel() * tensor.element_size() for tensor in tensors) for tensors in (coded, wide)]
    return dict(zip(FIELDS, (threads, queries, heads, kv_heads, depth, tokens, *(round(median(t) * 1e6) for t in zip(*times)),
                             *(f"{value:.2f}" for value in (median(ratios), min(ratios), max(ratios))), *sizes,
                             *(f"{error:.4f}" for error in errors))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--one", action="store_true", help="this process alone, of one number of threads")
    arguments = parser.parse_args()
    out = csv.DictWriter(sys.stdout, FIELDS)
    if arguments.one:
        import torch

        torch.set_num_threads(arguments.threads[0])
        for case in CASES:
            for tokens in LENGTHS:
                for queries in (1, PROMPT) if tokens <= 8192 else (1,):
                    out.writerow(row(arguments.threads[0], queries, *case, tokens, arguments.rounds))
                    sys.stdout.flush()
        return 0
    text = [",".join(FIELDS) + "\n"]
    for threads in arguments.threads:
        command = [sys.executable, __file__, "--one", "--threads", str(threads), "--rounds", str(arguments.rounds)]
        environment = os.environ | {"OCTAVO_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
            for line in child.stdout:
                text.append(line.replace("\r", ""))
                print(line.strip(), flush=True)
        if child.returncode:
            return child.returncode
    if arguments.csv:
        with open(arguments.csv, "w") as file:
            file.writelines(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
