#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: torch_test.py [DEVICE]

Octavo's operators and layers on PyTorch tensors of DEVICE (cuda) against the same on the CPU: integer
products, quantisers and layers to the bit, fp8 within the bound that explain gives; streams, a captured
graph, gradients. `torch_test.py cpu` tests this test. Needs PyTorch and the installed package, no pytest. Exits with 77 where there is no such device."""

import sys
import traceback

import torch

import octavo
import octavo.torch
import torch_layers
from torch_kit import DEVICE, close, same, there


def integer_operands() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    a = torch.randint(-128, 128, (40, 300), dtype=torch.int8)
    b = torch.randint(-128, 128, (70, 300), dtype=torch.int8).t()
    return a, b, torch.rand(40, 1) / 8, torch.rand(1, 70) / 8, torch.randn(70)


def test_integer_products_have_the_cpus_bits() -> None:
    a, b, scale_a, scale_b, bias = integer_operands()
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        want = octavo.scaled_mm(a, b, scale_a=scale_a, scale_b=scale_b, bias=bias, out_dtype=dtype)
        got = octavo.scaled_mm(there(a), there(b), scale_a=there(scale_a), scale_b=there(scale_b), bias=there(bias),
                               out_dtype=dtype)
        same(got, want)


def test_quantizers_have_the_cpus_bits() -> None:
    torch.manual_seed(2)
    x = torch.randn(33, 384, dtype=torch.bfloat16)
    x[3, 5], x[4, 6] = float("inf"), float("nan")
    for dtype in (torch.int8, torch.float8_e4m3fn, torch.float8_e5m2):
        for granularity in ("tensor", "token", "channel", "group128", "block128x128"):
            side = "b" if granularity == "channel" else "a"
            want = octavo.quantize(x, dtype=dtype, granularity=granularity, side=side)
            got = octavo.quantize(there(x), dtype=dtype, granularity=granularity, side=side)
            same(got.data, want.data)
            same(got.scale, want.scale)


def test_layers_have_the_cpus_bits() -> None:
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.ReLU(), torch.nn.Linear(96, 32)).to(torch.bfloat16)
    x = torch.randn(50, 64, dtype=torch.bfloat16)
    octavo.torch.quantize_(model, "int8-dynamic")
    want = model(x)
    got = model.to(DEVICE)(there(x))
    same(got, want)


def test_fp8_products_stay_within_the_bound() -> None:
    torch.manual_seed(4)
    a, b = torch.rand(33, 4500), torch.rand(4500, 40)
    a8, b8 = a.to(torch.float8_e4m3fn), b.t().contiguous().to(torch.float8_e4m3fn).t()
    want = a8.double() @ b8.double()
    got = octavo.scaled_mm(there(a8), there(b8.t().contiguous()).t(), out_dtype=torch.float32)
    close(got, want, octavo.explain(there(a8), there(b8)).error_bound)


def test_gradients_are_the_cpus() -> None:
    torch.manual_seed(5)
    weight = torch.randn(48, 64)

    def gradient(device: torch.device) -> torch.Tensor:
        layer = torch.nn.Linear(64, 48, bias=False)
        layer.weight.data = weight.clone()
        octavo.torch.quantize_(layer_model := torch.nn.Sequential(layer), "int8-dynamic")
        x = torch.linspace(-1, 1, 20 * 64).reshape(20, 64).to(device).requires_grad_()
        layer_model.to(device)(x).sum().backward()
        return x.grad
    close(gradient(DEVICE), gradient(torch.device("cpu")), 1e-5)


def test_streams_and_graphs() -> None:
    if DEVICE.type != "cuda":
        return
    a, b, scale_a, scale_b, bias = integer_operands()
    at, bt, sa, sb = there(a), there(b.t().contiguous()).t(), there(scale_a), there(scale_b)
    out = torch.empty(40, 70, dtype=torch.bfloat16, device=DEVICE)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            octavo.scaled_mm(at, bt, scale_a=sa, scale_b=sb, out_dtype=torch.bfloat16, out=out)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        octavo.scaled_mm(at, bt, scale_a=sa, scale_b=sb, out_dtype=torch.bfloat16, out=out)
    for seed in range(3):
        torch.manual_seed(seed)
        values = torch.randint(-128, 128, a.shape, dtype=torch.int8)
        at.copy_(values)
        graph.replay()
        torch.cuda.synchronize()
        same(out, octavo.scaled_mm(values, b, scale_a=scale_a, scale_b=scale_b, out_dtype=torch.bfloat16))


def main() -> int:
    if DEVICE.type == "cuda" and not torch.cuda.is_available():
        print("torch_test: skipped: PyTorch finds no CUDA device")
        return 77
    failed = []
    for name, test in [*globals().items(), *vars(torch_layers).items()]:
        if not (name.startswith("test_") and callable(test)):
            continue
        try:
            test()
            print(f"{name}: right")
        except Exception:
            failed.append(name)
            print(f"{name}: FAILED\n{traceback.format_exc()}")
    print(f"torch_test on {DEVICE}: {'failed: ' + ', '.join(failed) if failed else 'all right'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
