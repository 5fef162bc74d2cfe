#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Octavo beside PyTorch on torch tensors, in one process; writes results/<cpu>-torch.md.

The rules are those of octavo bench: implementations take turns, each sample lasts at least 50 ms, a
figure is the median of the rounds' ratios with its 95 % interval, weights rotate through 256 MB so that
none is served from a cache, and one implementation runs twice (A/A) to show the noise. Rows whose rounds
take long have fewer of them, six at the least.
"""

import argparse
import inspect
import math
import shlex
import sys
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
import torch

import experts_rows
import kt_rows
import llm_int8_rows
import machine
import octavo
import octavo.torch
import tables
import w8a8_rows
import zentorch_rows
from torch_kit import Problem, Row, copies_of, gaussian, measure, named, ratio, relative_error

# ---- operands -------------------------------------------------------------------------------------


class Codes(NamedTuple):
    """Quantised activations and rotating quantised weights, dequantised for the exact product."""

    x: octavo.Quantized
    weights: list[octavo.Quantized]  # [N, K]
    exact: torch.Tensor


def codes(m: int, n: int, k: int, dtype: str) -> Codes:
    x = octavo.quantize(gaussian(m, k), dtype)
    first = octavo.quantize(gaussian(n, k, seed=2), dtype)
    others = [octavo.Quantized(first.data.clone(), first.scale, None, 1, 0)
              for _ in range(copies_of(n * k) - 1)]
    exact = octavo.dequantize(x).double() @ octavo.dequantize(first).double().t()
    return Codes(x, [first, *others], exact)


# ---- rows -----------------------------------------------------------------------------------------


@named(lambda m, n, k, **_: f"fp8 scaled_mm, rows and columns scaled, {m}x{n}x{k}")
def fp8_product(m: int, bar: float, n: int = 4096, k: int = 4096) -> Row:
    c = codes(m, n, k, "float8_e4m3fn")
    scales = [w.scale.t() for w in c.weights]
    data = [w.data.t() for w in c.weights]

    def ours(i):
        j = i % len(data)
        return octavo.scaled_mm(c.x.data, data[j], c.x.scale, scales[j], out_dtype=torch.bfloat16)

    def peer(i):
        j = i % len(data)
        return torch._scaled_mm(c.x.data, data[j], c.x.scale, scales[j], out_dtype=torch.bfloat16)

    return Row(ours, {"torch._scaled_mm": peer}, {"torch._scaled_mm": bar}, relative_error(c.exact), len(data))


def laid(weight: torch.Tensor, layout: str) -> torch.Tensor:
    """[K, N] of a weight [N, K], lying as the layout says; as it is, where there is a packed one beside it."""
    return weight.t().contiguous() if layout == "[K, N]" else weight.t()


def described(layout: str) -> str:
    return "packed weight" if layout == "packed" else f"plain weight {layout}"


@named(lambda m, weight, n, k, **_: f"int8 product, {described(weight)}, {m}x{n}x{k}")
def int8_product(m: int, bar: float, weight: str = "packed", n: int = 4096, k: int = 4096) -> Row:
    c = codes(m, n, k, "int8")
    scales = [w.scale.t() for w in c.weights]
    data = [laid(w.data, weight) for w in c.weights]
    own = [octavo.pack(w.T) for w in c.weights] if weight == "packed" else []

    def ours_packed(i):
        return octavo.scaled_mm(c.x.data, own[i % len(own)], c.x.scale, out_dtype=torch.bfloat16)

    def ours_plain(i):
        j = i % len(data)
        return octavo.scaled_mm(c.x.data, data[j], c.x.scale, scales[j], out_dtype=torch.bfloat16)

    def peer(i):
        j = i % len(data)
        return (torch._int_mm(c.x.data, data[j]) * c.x.scale * scales[j]).to(torch.bfloat16)

    return Row(ours_packed if own else ours_plain, {"torch._int_mm + scales": peer}, {"torch._int_mm + scales": bar},
               relative_error(c.exact), len(data))


@named(lambda m, layout, n, k, **_: f"bfloat16 product, {described(layout)}, {m}x{n}x{k}")
def bfloat16_plain(m: int, bar: float, layout: str, n: int = 4096, k: int = 4096) -> Row:
    x = gaussian(m, k).bfloat16()
    first = laid((gaussian(n, k, seed=2) * k ** -0.5).bfloat16(), layout)
    weights = [first, *(first.clone() for _ in range(copies_of(2 * n * k) - 1))]

    def ours(i):
        return octavo.scaled_mm(x, weights[i % len(weights)], out_dtype=torch.bfloat16)

    def peer(i):
        return torch.mm(x, weights[i % len(weights)])

    return Row(ours, {"torch.mm bf16": peer}, {"torch.mm bf16": bar}, relative_error(x.double() @ first.double()),
               len(weights))


@named(lambda what, heads, m, n, k: f"attention, {what}, bfloat16, {heads} x {m}x{n}x{k}, warm")
def attention(what: str, m: int, n: int, k: int, heads: int = 32) -> Row:
    """Products of each head, warm: queries by keys, which lie [N, K], or weights by values, [K, N]."""
    a = gaussian(heads, m, k).bfloat16()
    keys = gaussian(heads, n, k, seed=2).bfloat16().transpose(1, 2)
    b = keys if what == "queries by keys" else keys.contiguous()
    return Row(lambda _: octavo.grouped_mm(a, b, out_dtype=torch.bfloat16),
               {"torch.bmm": lambda _: torch.bmm(a, b)}, {"torch.bmm": 1.0}, relative_error(a.double() @ b.double()))


@named(lambda kind, m, n, k, **_: f"{kind.__name__}, bfloat16 in and out, {m}x{n}x{k}")
def layer(kind: type, m: int, bar: float, n: int = 4096, k: int = 4096) -> Row:
    x = gaussian(m, k).bfloat16()
    weight = gaussian(n, k, seed=2) * k ** -0.5
    bias = gaussian(n, seed=3).bfloat16()

    def linear(dtype):
        result = torch.nn.Linear(k, n, device="meta", dtype=dtype).to_empty(device="cpu")
        result.weight.data.copy_(weight)
        result.bias.data.copy_(bias)
        return result

    count = copies_of(n * k)
    bf16 = [linear(torch.bfloat16) for _ in range(copies_of(2 * n * k))]
    fp32 = [linear(torch.float32) for _ in range(copies_of(4 * n * k))]
    own = [kind.from_float(bf16[0]) for _ in range(count)]
    x32 = x.float()
    exact = x.double() @ bf16[0].weight.detach().double().t() + bias.double()
    return Row(lambda i: own[i % count](x),
               {"F.linear bf16": lambda i: bf16[i % len(bf16)](x),
                "F.linear fp32": lambda i: fp32[i % len(fp32)](x32)},
               {"F.linear bf16": bar}, relative_error(exact), count)


@named(lambda m, n, k, **_: f"training step of Fp8Linear (forward, gradients of x, weight, bias), {m}x{n}x{k}, warm")
def training_step(bar: float, m: int = 512, n: int = 2048, k: int = 2048) -> Row:
    x = gaussian(m, k).bfloat16().requires_grad_()
    grad = gaussian(m, n, seed=4).bfloat16()
    float_layer = torch.nn.Linear(k, n, dtype=torch.bfloat16)
    own = octavo.torch.nn.Fp8Linear(k, n, dtype=torch.bfloat16)
    own.load_state_dict(float_layer.state_dict())

    def step(module):
        def run(_):
            module.zero_grad(set_to_none=True)
            x.grad = None
            with torch.enable_grad():
                module(x).backward(grad)
            return module.weight.grad
        return run

    exact = grad.double().t() @ x.detach().double()
    return Row(step(own), {"nn.Linear bf16": step(float_layer)}, {"nn.Linear bf16": bar}, relative_error(exact))


# Plain weights on both sides: how they lie, and the least by rows.
PLAIN = ("[N, K]", "[K, N]")
PLAIN_BARS = ((1, 0.97), (4, 0.97), (16, 1.1), (64, 1.05), (256, 1.0), (1024, 1.0))

ROWS: list[Problem] = [
    *(fp8_product(m, bar) for m, bar in ((1, 20.0), (16, 8.0), (256, 2.2))),
    *(int8_product(m, bar) for m, bar in ((1, 5.0), (16, 4.0), (256, 1.2))),
    *(int8_product(m, bar, layout) for layout in PLAIN for m, bar in PLAIN_BARS),
    *(bfloat16_plain(m, bar, layout) for layout in PLAIN for m, bar in PLAIN_BARS),
    attention("queries by keys", 128, 4096, 64),
    attention("weights by values", 128, 64, 4096),
    *(layer(octavo.torch.nn.Int8Linear, m, bar) for m, bar in ((1, 1.7), (16, math.nan), (256, 1.6))),
    *(layer(octavo.torch.nn.Fp8Linear, m, bar) for m, bar in ((1, 1.7), (16, math.nan), (256, math.nan))),
    training_step(1.08),
    *w8a8_rows.ROWS,
    *llm_int8_rows.ROWS,
    *experts_rows.ROWS,
    *kt_rows.ROWS,
    *zentorch_rows.ROWS,
]

# ---- the cost of a call ---------------------------------------------------------------------------


def empty_operator() -> Callable[..., torch.Tensor]:
    """A custom operator with octavo::scaled_mm's schema that only allocates its result."""
    schema = octavo.torch.operators._products.scaled_mm._schema
    library = torch.library.Library("octavo_bench", "DEF")
    library.define(str(schema).replace("octavo::scaled_mm", "empty"))
    library.impl("empty", lambda *arguments: torch.empty((1, 64)), "CPU")
    torch.library.register_autograd("octavo_bench::empty", lambda ctx, grad: (None,) * len(schema.arguments), lib=library)
    empty_operator.library = library  # operators live as long as their library
    return torch.ops.octavo_bench.empty.default


def overhead(rounds: int, least: float) -> list[list[str]]:
    """Microseconds of int8 1x64x64 with scales and bias, packed or not, by language."""
    x = octavo.quantize(np.ones((1, 64), np.float32))
    weight = octavo.quantize(np.ones((64, 64), np.float32))
    packed = octavo.pack(weight.T)
    bias = np.ones(64, np.float32)
    arguments = (x.data, packed, x.scale)
    scale_b = np.ascontiguousarray(weight.scale.T)
    torch_arguments = [torch.from_numpy(a) for a in (x.data, weight.data.T, x.scale, scale_b, bias)]
    operator = octavo.torch.operators._products.scaled_mm
    a, b, sa, sb, t_bias = torch_arguments
    parameters = inspect.signature(octavo.scaled_mm).parameters
    defaults = [parameters[a.name].default for a in operator._schema.arguments[len(torch_arguments):]]
    rest = [None if value is octavo._octavo.UNDEFINED else value for value in defaults]
    empty = empty_operator()
    loops = 1000
    functions = {
        "C++ octavo::scaled_mm": lambda i: octavo._octavo._time_scaled_mm(loops, *arguments, bias=bias),
        "NumPy octavo.scaled_mm": lambda i: [octavo.scaled_mm(*arguments, bias=bias) for _ in range(loops)],
        "C++, unpacked": lambda i: octavo._octavo._time_scaled_mm(
            loops, x.data, weight.data.T, x.scale, scale_b, bias=bias),
        "empty custom operator": lambda i: [empty(a, b, sa, sb, t_bias, *rest) for _ in range(loops)],
        "torch.ops.octavo.scaled_mm": lambda i: [operator(a, b, sa, sb, t_bias, *rest) for _ in range(loops)],
        "torch octavo.scaled_mm": lambda i: [octavo.scaled_mm(a, b, sa, sb, t_bias) for _ in range(loops)],
    }
    timed = measure(functions, rounds, least)
    return [[name, f"{t.median() / loops * 1e6:.2f}"] for name, t in timed.items()]


# ---- the report -----------------------------------------------------------------------------------


def figure(name: str, row: Row, rounds: int, least: float, most: float) -> list[list[str]]:
    functions = {"ours": row.ours, "again": row.ours, **row.peers}
    with torch.no_grad():
        errors = {who: row.error(f) if row.error else math.nan for who, f in functions.items()}
        timed = measure(functions, rounds, least, row.rest, most)
    noise = ratio(timed["again"], timed["ours"])
    begin = [name, f"{timed['ours'].median() * 1e6:.1f}", f"{errors['ours']:.2e}"]
    lines = []
    for peer in row.peers:
        middle, low, high = ratio(timed[peer], timed["ours"])
        bar = row.bars.get(peer, math.nan)
        verdict = "" if math.isnan(bar) else f"{bar:g}x: {'reached' if high >= bar else 'missed'}"
        lines.append([*begin, peer,
                      f"{timed[peer].median() * 1e6:.1f}", f"{errors[peer]:.2e}",
                      f"{middle:.2f} [{low:.2f}, {high:.2f}]", verdict,
                      f"[{noise[1]:.2f}, {noise[2]:.2f}]"])
    for peer, reason in row.not_run.items():
        lines.append([*begin, peer, f"not run: {reason}", "", "", "", f"[{noise[1]:.2f}, {noise[2]:.2f}]"])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.05, help="least time of a sample")
    parser.add_argument("--most", type=float, default=60.0,
                        help="seconds after which a row has no more rounds than it needs")
    parser.add_argument("--threads", type=int, default=0, help="0: all")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--write", nargs="?", const="torch", metavar="NAME",
                        help="write results/<cpu>-NAME.md, by default torch")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
        octavo.set_num_threads(options.threads)
    lines = []
    for problem in ROWS:
        if options.only in problem.name:
            added = figure(problem.name, problem.make(), options.rounds, options.seconds, options.most)
            print("  ".join(added[0]), file=sys.stderr)
            lines += added
    chosen = [*(["--only", options.only] if options.only else []),
              *(["--write", options.write] if options.only and options.write else [])]
    command = shlex.join(["./dev", "bench", "--torch", *chosen])
    head = ["problem", "us", "error", "peer", "its us", "its error", "times as fast", "bar", "A/A"]
    text = [f"# Octavo beside PyTorch on {octavo.machine.cpu_name()}", "",
            f"Octavo {octavo.__version__} ({machine.commit()}), PyTorch {torch.__version__}, "
            f"{octavo.machine.get_num_threads()} threads each; `{command}`. Weights are cold unless a row says "
            "warm; errors are relative to the float64 product of the same operands (of the float "
            "operands, for layers and gradients), in the Frobenius norm.", "",
            *tables.table(lines, head, 1)]
    if options.only in "call overhead":
        text += ["", "int8 1x64x64 with both scales and a bias, microseconds a call:", "",
                 *tables.table(overhead(options.rounds, options.seconds), ["call", "us"], 1)]
    print("\n".join(text))
    if options.write:
        name = f"{machine.file_name(octavo.machine.cpu_name())}-{options.write}.md"
        path = Path(__file__).resolve().parent / "results" / name
        path.write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
