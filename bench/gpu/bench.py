#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: bench.py LIBRARY OUT [--seconds S] [--quick]

Times Octavo's products on the machine's first CUDA device beside PyTorch's and cuBLASLt's (of its algorithms
the one that is the fastest for the row) on the same operands, in turn, and writes OUT/gpu.json and OUT/gpu.md. Needs PyTorch with CUDA and LIBRARY, bench/gpu's shim.

Every row: operands of random codes, scales per token and channel, bf16 out, plain weights [N, K]. Each
contestant is captured in a graph of several calls, which read different copies of the weight where one is
smaller than the second-level cache; rounds of all contestants alternate; the figure is the median of
rounds, the spread their quartiles."""

import argparse
import ctypes
import json
import statistics
import sys
from pathlib import Path
from typing import Any, Callable, NamedTuple

import torch

import cublaslt

L2_BYTES = 64 << 20
SWEEP_ROUNDS = 5
DTYPES = {"int8": torch.int8, "float8_e4m3fn": torch.float8_e4m3fn}


class Row(NamedTuple):
    """A product; the goals are ratios to the best peer, or microseconds."""
    name: str
    dtype: str
    fast: bool
    m: int
    n: int
    k: int
    goal: str


ROWS = (
    Row("int8", "int8", False, 8192, 8192, 8192, "1.35x"),
    Row("int8", "int8", False, 1024, 28672, 4096, "1.45x"),
    Row("int8", "int8", False, 256, 4096, 14336, "2.0x"),
    Row("fp8 fast", "float8_e4m3fn", True, 8192, 8192, 8192, "1.00x"),
    Row("fp8", "float8_e4m3fn", False, 8192, 8192, 8192, "1.05x"),
    Row("fp8", "float8_e4m3fn", False, 256, 4096, 14336, "1.7x"),
    Row("fp8", "float8_e4m3fn", False, 1, 28672, 4096, "31 us"),
    Row("int8", "int8", False, 1, 28672, 4096, "31 us"),
    Row("fp8", "float8_e4m3fn", False, 16, 28672, 4096, "32 us"),
    Row("int8", "int8", False, 16, 28672, 4096, "32 us"),
    Row("fp8", "float8_e4m3fn", False, 64, 28672, 4096, "33.5 us"),
    Row("int8", "int8", False, 64, 28672, 4096, "33.5 us"),
)


class Shim:
    """The library's functions."""

    def __init__(self, path: str) -> None:
        self.library = ctypes.CDLL(path)
        for name in ("bench_make", "bench_run", "bench_explain"):
            getattr(self.library, name).restype = ctypes.c_char_p

    def check(self, failure: bytes | None) -> None:
        if failure is not None:
            raise RuntimeError(failure.decode())

    def make(self, row: Row, o: "Operands", weight: torch.Tensor, stream: int) -> ctypes.c_void_p:
        product = ctypes.c_void_p()
        pointers = [ctypes.c_void_p(t.data_ptr()) for t in (o.a, weight, o.scale_a, o.scale_b)]
        self.check(self.library.bench_make(
            ctypes.byref(product), row.dtype.encode(), b"bfloat16", ctypes.c_int64(row.m), ctypes.c_int64(row.n),
            ctypes.c_int64(row.k), *pointers, 1, ctypes.c_void_p(o.out.data_ptr()), ctypes.c_void_p(stream),
            int(row.fast), 0))
        return product

    def run(self, product: ctypes.c_void_p, times: int = 1) -> None:
        self.check(self.library.bench_run(product, times))

    def explain(self, product: ctypes.c_void_p) -> str:
        return self.library.bench_explain(product).decode()


class Operands:
    """Of a row: as many copies of the weight as do not fit the cache together."""

    def __init__(self, row: Row) -> None:
        torch.manual_seed(1)
        copies = max(1, -(-3 * L2_BYTES // (row.n * row.k)))
        if row.dtype == "int8":
            self.a = torch.randint(-127, 128, (row.m, row.k), dtype=torch.int8, device="cuda")
            self.weights = [torch.randint(-127, 128, (row.n, row.k), dtype=torch.int8, device="cuda")
                            for _ in range(copies)]
        else:
            self.a = torch.randn(row.m, row.k, device="cuda").to(DTYPES[row.dtype])
            self.weights = [torch.randn(row.n, row.k, device="cuda").to(DTYPES[row.dtype]) for _ in range(copies)]
        self.scale_a = torch.rand(row.m, 1, device="cuda") / 64
        self.scale_b = torch.rand(1, row.n, device="cuda") / 64
        self.out = torch.empty(row.m, row.n, dtype=torch.bfloat16, device="cuda")


Call = Callable[[torch.Tensor], Any]


def peers(row: Row, o: Operands, compiled: bool) -> dict[str, Call]:
    """PyTorch's ways to the same result, or nearly: what differs is in the name."""
    one = torch.ones((), device="cuda")
    if row.dtype == "int8":
        def int_mm(w: torch.Tensor) -> torch.Tensor:
            return (torch._int_mm(o.a, w.t()).float() * o.scale_a * o.scale_b).to(torch.bfloat16)
        if row.m <= 16:  # which it refuses
            return {}
        found: dict[str, Call] = {"_int_mm, scaled": int_mm}
        if compiled:
            found["_int_mm, scaled, compiled"] = torch.compile(int_mm)
        return found
    found = {"_scaled_mm": lambda w: torch._scaled_mm(
        o.a, w.t(), scale_a=o.scale_a, scale_b=o.scale_b, out_dtype=torch.bfloat16, use_fast_accum=row.fast)}
    found["_scaled_mm, one scale"] = lambda w: torch._scaled_mm(
        o.a, w.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=row.fast)
    return found


def captured(call: Callable[[int], Any], calls: int, stream: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
    for i in range(min(3, calls)):
        call(i)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for i in range(calls):
            call(i)
    return graph


def microseconds(graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream, calls: int) -> float:
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record(stream)
    graph.replay()
    end.record(stream)
    end.synchronize()
    return begin.elapsed_time(end) * 1000 / calls


def timed(call: Callable[[int], Any], calls: int, stream: torch.cuda.Stream, rounds: int) -> list[float]:
    graph = captured(call, calls, stream)
    return [microseconds(graph, stream, calls) for _ in range(rounds)]


def swept(row: Row, o: Operands, lt: cublaslt.CublasLt, stream: torch.cuda.Stream) -> tuple[str, Call]:
    """cuBLASLt's fastest algorithm for a row."""
    product = cublaslt.Product(lt, o.a, row.n, o.scale_a, o.scale_b, row.fast)
    calls = max(4, len(o.weights))
    product.choose(lambda run: timed(lambda i: run(o.weights[i % len(o.weights)]), calls, stream, SWEEP_ROUNDS))
    what = "int32 sums" if row.dtype == "int8" else "scaled"
    return f"cuBLASLt, {what}, best of {len(product.algorithms)}", product.run


def check(row: Row, o: Operands) -> float:
    """The largest difference from a float64 product of a few rows, relative to the largest value."""
    rows = min(row.m, 16)
    want = (o.a[:rows].double() @ o.weights[0].double().t()) * o.scale_a[:rows].double() * o.scale_b.double()
    return ((o.out[:rows].double() - want).abs().max() / want.abs().max()).item()


def measure(row: Row, shim: Shim, lt: cublaslt.CublasLt | None, seconds: float, compiled: bool) -> dict[str, Any]:
    o = Operands(row)
    stream = torch.cuda.Stream()
    result: dict[str, Any] = {**row._asdict(), "us": {}, "skipped": {}}
    with torch.cuda.stream(stream):
        products = [shim.make(row, o, w, stream.cuda_stream) for w in o.weights]
        result["explain"] = shim.explain(products[0])
        shim.run(products[0])
        stream.synchronize()
        result["error"] = check(row, o)
        calls = max(4, len(o.weights))
        contestants: dict[str, Callable[[int], Any]] = {"octavo": lambda i: shim.run(products[i % len(products)])}
        others = peers(row, o, compiled)
        if lt is not None:
            try:
                name, call = swept(row, o, lt, stream)
                others[name] = call
            except Exception as error:
                result["skipped"]["cuBLASLt"] = str(error).splitlines()[0][:200]
        for name, call in others.items():
            contestants[name] = lambda i, call=call: call(o.weights[i % len(o.weights)])
        graphs = {}
        for name, contestant in contestants.items():
            try:
                graphs[name] = captured(contestant, calls, stream)
            except Exception as error:  # a peer that refuses the shape; octavo must not
                if name == "octavo":
                    raise
                result["skipped"][name] = str(error).splitlines()[0][:200]
        once = max(microseconds(g, stream, calls) for g in graphs.values()) * calls / 1e6
        rounds = max(5, int(seconds / max(once * len(graphs), 1e-6)))
        times: dict[str, list[float]] = {name: [] for name in graphs}
        for _ in range(min(rounds, 400)):
            for name, graph in graphs.items():
                times[name].append(microseconds(graph, stream, calls))
    for name, values in times.items():
        quartiles = statistics.quantiles(values, n=4)
        result["us"][name] = {"median": statistics.median(values), "low": quartiles[0], "high": quartiles[2],
                              "rounds": len(values)}
    return result


LESS = ("int32 sums", "one scale")  # in the names of contestants that do less than the row says


def best(times: dict[str, float]) -> str:
    name = min(times, key=times.__getitem__) if times else ""
    return f"{times[name]:.1f} ({name})" if times else "none takes it"


def report(device: str, results: list[dict[str, Any]]) -> str:
    lines = [f"# Products on {device}", "",
             "Median microseconds, scales per token and channel, bf16 out, plain weights [N, K] of which copies do not fit the "
             "cache, calls in captured graphs, contestants in turn. A ratio is a peer's time over Octavo's: of the best one that "
             "does the same work, and of the best one that does less (int32 sums without scales; one scale for all). "
             "Written by `./dev gpu-bench`.", "",
             "| M x N x K | | Octavo | the same work | ratio | less | ratio | TB/s of the weight, TFLOP/s | goal | largest error |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    ratios = {"the same work": [], "less": []}
    for r in results:
        begin = f"| {r['m']} x {r['n']} x {r['k']} | {r['name']} | "
        if "failed" in r:
            lines.append(begin + f"failed: {r['failed']} | | | | | | {r['goal']} | |")
            continue
        ours = r["us"]["octavo"]["median"]
        cells = []
        for kind, does_less in (("the same work", False), ("less", True)):
            times = {name: t["median"] for name, t in r["us"].items()
                     if name != "octavo" and does_less == any(words in name for words in LESS)}
            if times:
                ratios[kind].append(min(times.values()) / ours)
            cells += [best(times), f"{ratios[kind][-1]:.2f}" if times else ""]
        rate = r["n"] * r["k"] / ours / 1e6
        flops = 2 * r["m"] * r["n"] * r["k"] / ours / 1e6
        lines.append(begin + f"{ours:.1f} | {' | '.join(cells)} | {rate:.2f}, {flops:.0f} | {r['goal']} | {r['error']:.1e} |")
    worst = [f"{min(of):.2f} of {kind}" for kind, of in ratios.items() if of]
    lines += ["", f"Worst ratios: {', '.join(worst)}." if worst else "", "", "## What ran", ""]
    said: dict[str, list[str]] = {}  # rows by what explain says of them
    for r in results:
        row = f"{r['m']} x {r['n']} x {r['k']}, {r['name']}"
        lines += [f"{row}: {name} skipped: {why}\n" for name, why in r.get("skipped", {}).items()]
        if "explain" in r:
            said.setdefault(r["explain"].strip(), []).append(row)
    for text, rows in said.items():
        lines += ["; ".join(rows) + ":", "", "```", text, "```", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="times products on a CUDA device beside PyTorch's")
    parser.add_argument("library")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0, help="of rounds for each row")
    parser.add_argument("--quick", action="store_true", help="a second for each row, without torch.compile")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu-bench: skipped: PyTorch finds no CUDA device")
    shim = Shim(arguments.library)
    lt = None
    try:
        lt = cublaslt.CublasLt()
    except Exception as error:
        print(f"gpu-bench: skipped cuBLASLt: {error}", flush=True)
    results = []
    for row in ROWS:
        print(f"gpu-bench: {row.name} {row.m}x{row.n}x{row.k}", flush=True)
        try:
            results.append(measure(row, shim, lt, 1.0 if arguments.quick else arguments.seconds, not arguments.quick))
            print("  " + ", ".join(f"{name} {t['median']:.1f} us" for name, t in results[-1]["us"].items()), flush=True)
        except Exception as error:
            results.append({**row._asdict(), "failed": str(error).splitlines()[0][:300]})
            print(f"  failed: {results[-1]['failed']}", flush=True)
        torch.cuda.empty_cache()
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "gpu.json").write_text(json.dumps(results, indent=1))
        (arguments.out / "gpu.md").write_text(report(torch.cuda.get_device_name(), results))


if __name__ == "__main__":
    main()
