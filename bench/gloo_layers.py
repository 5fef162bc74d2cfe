# SPDX-License-Identifier: Apache-2.0
"""What a call of a layer costs on ranks of gloo: the layers and M of bench/mpi_layers.cpp.

    OCTAVO_NUM_THREADS=2 torchrun --nproc-per-node 1 bench/gloo_layers.py
    OCTAVO_NUM_THREADS=1 torchrun --nproc-per-node 2 bench/gloo_layers.py

bfloat16 activations, packed weights, four of each layer in turn, so that they come from memory; column-parallel layers leave
their output in parts, row-parallel ones are exact. Medians of rounds that begin on all ranks together.
"""

import os
import statistics
import time

import torch
import torch.distributed as dist

import octavo
from octavo.torch.parallel import ColumnParallelLinear, RowParallelLinear

WEIGHTS, ROUNDS = 4, 15
LAYERS = (("column", ColumnParallelLinear, 14336, 4096), ("row", RowParallelLinear, 4096, 14336))


def seconds(layers, x):
    times = []
    for _ in range(ROUNDS):
        for layer in layers:
            dist.barrier()
            start = time.perf_counter()
            layer(x)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    dist.init_process_group("gloo")
    threads = int(os.environ["OCTAVO_NUM_THREADS"])
    torch.set_num_threads(threads)
    octavo.set_num_threads(threads)
    for scheme in ("int8-dynamic", "fp8-dynamic"):
        for name, kind, n, k in LAYERS:
            weight = octavo.checkpoints.quantize_weight((torch.arange(n * k) % 251 / 125 - 1).reshape(n, k), scheme)
            layers = [kind(weight) for _ in range(WEIGHTS)]
            for m in (1, 16, 256):
                with torch.no_grad():
                    took = seconds(layers, torch.ones(m, k, dtype=torch.bfloat16))
                if dist.get_rank() == 0:
                    print(f"{name} {scheme} {m}x{n}x{k} ranks={dist.get_world_size()} {1e3 * took:.3f} ms", flush=True)


if __name__ == "__main__":
    main()
