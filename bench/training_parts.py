#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: training_parts.py [THREADS]: where the time of a training step goes.

A step of Fp8Linear and of bfloat16's nn.Linear (512 x 2048 x 2048: forward, gradients of x, weight and
bias), and what they are made of: products, quantisers, and products with what is rescaled for them. All
take turns, as in torch_bench.py. Run by the Python that ./dev python makes.
"""

import sys

import torch

import octavo
import octavo.torch
from octavo import _octavo
from octavo.torch.operators import _straight_through
from torch_kit import gaussian, measure, ratio

M, N, K = 512, 2048, 2048


def main() -> None:
    if len(sys.argv) > 1:
        torch.set_num_threads(int(sys.argv[1]))
    x = gaussian(M, K).bfloat16().requires_grad_()
    grad = gaussian(M, N, seed=4).bfloat16()
    float_layer = torch.nn.Linear(K, N, dtype=torch.bfloat16)
    own = octavo.torch.nn.Fp8Linear(K, N, dtype=torch.bfloat16)
    own.load_state_dict(float_layer.state_dict())
    plain, weight, bias = x.detach(), float_layer.weight.detach(), float_layer.bias.detach()

    def step(module):
        def run(_):
            module.zero_grad(set_to_none=True)
            x.grad = None
            module(x).backward(grad)
        return run

    def codes(tensor):
        return _straight_through.quantize(tensor, None, torch.float8_e4m3fn, "token")

    x_codes, x_scale = codes(plain)
    w_codes, w_scale = codes(weight)

    def gradients(*wanted):
        return lambda _: _straight_through._vjp_kernel(
            grad, x_codes, x_scale, "token", w_codes, w_scale, "channel", bias, torch.bfloat16, False,
            list(wanted))

    def product(a, b):
        return lambda _: _octavo.scaled_mm(a, b, out_dtype=torch.bfloat16)

    times = measure({
        "step, Fp8Linear": step(own),
        "step, nn.Linear bf16": step(float_layer),
        "quantise x": lambda _: codes(plain),
        "quantise weight": lambda _: codes(weight),
        "forward": lambda _: _octavo.scaled_mm(x_codes, w_codes.t(), x_scale, w_scale.t(), bias, None,
                                               torch.bfloat16, "token", "channel"),
        "gradient of x": gradients(True, False, False),
        "gradient of x, product alone": product(grad, w_codes),
        "gradient of weight": gradients(False, True, False),
        "gradient of weight, product alone": product(grad.t().contiguous(), x_codes),
        "gradient of bias": gradients(False, False, True),
        "forward, bf16": lambda _: torch.nn.functional.linear(plain, weight, bias),
        "gradient of x, bf16": lambda _: grad @ weight,
        "gradient of weight, bf16": lambda _: grad.t() @ plain,
    }, 9, 0.05)
    for name, timed in times.items():
        print(f"{name:36s}{timed.median() * 1e3:8.3f} ms")
    print("Fp8Linear over nn.Linear: {:.3f} [{:.3f}, {:.3f}]".format(
        *ratio(times["step, nn.Linear bf16"], times["step, Fp8Linear"])))


if __name__ == "__main__":
    main()
