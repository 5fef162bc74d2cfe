# SPDX-License-Identifier: Apache-2.0
"""Two ranks of gloo behind a relay: `relay_checks.py CHECK [OCTAVO]`. OCTAVO: the command line, whose plan `time` is held to."""

import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torch.distributed as dist

import octavo
import relay
from forks import ended, forked
from octavo.torch.parallel import ColumnParallelLinear, RowParallelLinear

TIMEOUT = 30.0  # of the group, seconds
SILENT = 6.0  # of one that is to run into it; of a broken connection, too, gloo tells only a rank that is receiving at once


def layer_of(scheme, n, k):
    torch.manual_seed(1)
    return RowParallelLinear.from_float(torch.nn.Linear(k, n, bias=False), scheme)


def same_results(rank):
    """With delay and a limited rate, what one rank gives."""
    for scheme in ("int8-dynamic", "fp8-dynamic", "llm-int8"):
        torch.manual_seed(1)
        linear, x = torch.nn.Linear(512, 96), torch.randn(70, 512)
        row = RowParallelLinear.from_float(linear, scheme)
        column = ColumnParallelLinear.from_float(linear, scheme)
        y, gathered = row(x), column._layer.gather(column(x).detach())
        with open(f"{os.environ['FOLDER']}/{scheme}-{rank}", "wb") as file:
            file.write(y.detach().numpy().tobytes() + gathered.numpy().tobytes())


def an_error(rank):
    """A connection that breaks, or is silent, in the middle of a call: an error within a few timeouts."""
    start = time.monotonic()
    try:
        layer, x = layer_of("fp8-dynamic", 512, 512), torch.randn(256, 512)
        for _ in range(1000):
            layer(x)
    except RuntimeError as error:
        assert "ranks: every rank must answer" in str(error), error
        assert time.monotonic() - start < 4 * SILENT
        os._exit(0)
    raise AssertionError("nothing was said")


SHAPES = ((1, "int8-dynamic"), (1, "fp8-dynamic"), (64, "int8-dynamic"), (64, "fp8-dynamic"), (256, "int8-dynamic"),
          (256, "fp8-dynamic"))
N, K, LATENCY, RATE = 1024, 2048, 0.005, 12.5e6


def message_seconds(rank, size):
    """A message of so many bytes from rank 0 to rank 1, which asks for it when it is sent: gloo's sender waits for that."""
    message, times = torch.zeros(size, dtype=torch.uint8), []
    for _ in range(6):
        start = torch.tensor([time.monotonic() + 20 * LATENCY], dtype=torch.float64)
        dist.broadcast(start, 0)
        time.sleep(start.item() - time.monotonic())
        (dist.send if rank == 0 else dist.recv)(message, 1 - rank)
        took = torch.tensor([time.monotonic() - start.item()])
        dist.broadcast(took, 1)
        times.append(took.item())
    return statistics.median(times[1:])


def measured(rank):
    """Seconds of a message, of a byte more, and of row-parallel calls, into FOLDER."""
    latency = message_seconds(rank, 1)
    seconds = [latency, (message_seconds(rank, 1_000_000) - latency) / 1e6]
    for m, scheme in SHAPES:
        layer, x = layer_of(scheme, N, K), torch.randn(m, K).bfloat16()
        times = []
        for _ in range(6):
            dist.barrier()
            start = time.monotonic()
            layer(x)
            times.append(time.monotonic() - start)
        seconds.append(statistics.median(times[1:]))
    if rank == 0:
        with open(f"{os.environ['FOLDER']}/seconds", "w") as file:
            json.dump(seconds, file)


def on_rank(rank, check, folder, timeout):
    torch.set_num_threads(1)
    octavo.set_num_threads(1)
    store = relay.RelayedStore(dist.FileStore(f"{folder}/store", 2), folder, rank)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=datetime.timedelta(seconds=timeout))
    check(rank)


def behind_a_relay(check, links, breaks=False, timeout=TIMEOUT):
    """Runs a check on two ranks; whether it passed."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FOLDER"] = folder
        ranks = forked(2, check.__name__, lambda rank: on_rank(rank, check, folder, timeout))
        relay.start(folder, links, breaks)
        passed = ended(ranks)
        kept = {name: open(f"{folder}/{name}", "rb").read() for name in os.listdir(folder)}
        return passed, kept


def main(name, octavo_cli=None):
    if name == "results":
        plain, direct = behind_a_relay(same_results, (relay.Link(), relay.Link()))
        slow, through = behind_a_relay(same_results, (relay.Link(0.003, 5e6), relay.Link(0.003, 5e6)))
        names = [f"{scheme}-{rank}" for scheme in ("int8-dynamic", "fp8-dynamic", "llm-int8") for rank in range(2)]
        return plain and slow and all(direct[n] == through[n] == direct[n[:-1] + "0"] for n in names)
    if name in ("broken", "silent"):
        links = relay.Link(stop_after=2_000_000), relay.Link()
        return behind_a_relay(an_error, links, name == "broken", SILENT)[0]
    passed, kept = behind_a_relay(measured, (relay.Link(LATENCY, RATE), relay.Link(LATENCY, RATE)))
    if not passed:
        return False
    worst = 0.0
    latency, byte, *times = json.loads(kept["seconds"])
    print(f"a message takes {1e3 * latency:.1f} ms and {1e-6 / byte:.1f} MB/s")
    for (m, scheme), seconds in zip(SHAPES, times):
        with tempfile.TemporaryDirectory() as folder:
            weight = octavo.checkpoints.quantize_weight(torch.ones(N, K), scheme)
            octavo.checkpoints.write_checkpoint(f"{folder}/model.safetensors", {"model.layers.0.mlp.down_proj": weight})
            told = subprocess.run([octavo_cli, "plan", "--ranks", "2", "--rows", str(m), "--network",
                                   f"{8e-6 / byte}Mb", "--latency", f"{latency * 1e6}us", "--threads", "1", "--json", f"{folder}/model.safetensors"],
                                  capture_output=True, text=True, check=True).stdout
        plan = json.loads(told.splitlines()[-1])
        planned = plan["compute_seconds"] + plan["communication_seconds"]
        worst = max(worst, abs(planned / seconds - 1))
        print(f"{scheme} {m} x {N} x {K}: {1e3 * seconds:.1f} ms, planned {1e3 * planned:.1f} ms ({planned / seconds:.2f})")
    return worst <= 0.25


if __name__ == "__main__":
    sys.exit(0 if main(*sys.argv[1:]) else 1)
