# SPDX-License-Identifier: Apache-2.0
"""Rows of torch_bench.py: LLM.int8() beside bitsandbytes, 16 bits, and itself without outliers.

bitsandbytes is a peer where it can be imported (`pip install --no-deps bitsandbytes`, 0.50.2 in the results); its
logger is told to be silent about casts.
"""

import logging
import math
from typing import Any, Callable

import torch

import octavo.bnb
from torch_kit import Row, copies_of, gaussian, named, relative_error

try:
    import bitsandbytes

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    NOT_RUN = {}
except ImportError as error:
    bitsandbytes = None
    NOT_RUN = {"bitsandbytes": str(error)}

OUTLIERS = (3, 500, 1023, 1024, 2047, 3000, 3001, 4095)  # columns
BNB, THRESHOLD_0, BF16 = "bitsandbytes", "threshold 0", "nn.Linear bf16"


def activations(m: int, k: int) -> torch.Tensor:
    x = gaussian(m, k)
    x[:, OUTLIERS] *= 20
    return x.bfloat16()


def layers(module: Any, float_layer: torch.nn.Linear, count: int, training: bool, **options: Any) -> list[torch.nn.Module]:
    """Copies of a layer of octavo.bnb or bitsandbytes, each with a weight of its own."""
    made = []
    for _ in range(count):
        layer = module.nn.Linear8bitLt(float_layer.in_features, float_layer.out_features, **options)
        layer.load_state_dict({name: t.float() for name, t in float_layer.state_dict().items()})
        layer.to("cpu")
        if layer.bias is not None:
            layer.bias.data = layer.bias.data.bfloat16()
        made.append(layer.train(training))
    return made


def float_layer(n: int, k: int) -> torch.nn.Linear:
    result = torch.nn.Linear(k, n, dtype=torch.bfloat16)
    result.weight.data.copy_(gaussian(n, k, seed=2) * k ** -0.5)
    return result


@named(lambda m, threshold, training, n, k, **_:
       f"Linear8bitLt, threshold {threshold:g}, {'train' if training else 'eval'} mode, bfloat16, {m}x{n}x{k}")
def forward(m: int, threshold: float, training: bool, bars: dict[str, float], n: int = 4096, k: int = 4096) -> Row:
    x = activations(m, k)
    given = float_layer(n, k)
    count = copies_of(n * k)
    options = {"has_fp16_weights": False, "threshold": threshold}
    own = layers(octavo.bnb, given, count, training, **options)
    peers: dict[str, Callable[[int], object]] = {}
    if bitsandbytes:
        theirs = layers(bitsandbytes, given, count, training, **options)
        peers[BNB] = lambda i: theirs[i % count](x)
    if threshold and not training:
        plain = layers(octavo.bnb, given, count, training, has_fp16_weights=False)
        floats = [float_layer(n, k) for _ in range(copies_of(2 * n * k))]
        peers[THRESHOLD_0] = lambda i: plain[i % count](x)
        peers[BF16] = lambda i: floats[i % len(floats)](x)
    exact = x.double() @ given.weight.detach().double().t() + given.bias.detach().double()
    return Row(lambda i: own[i % count](x), peers, bars, relative_error(exact), count, NOT_RUN)


def steps_of(trains: str | None) -> str:
    return f"all gradients, weight trains, {trains}" if trains else "gradient of x, frozen weight"


@named(lambda trains, threshold, m, n, k:
       f"training step of Linear8bitLt ({steps_of(trains)}), threshold {threshold:g}, bfloat16, {m}x{n}x{k}, warm")
def step(trains: str | None, threshold: float, m: int = 512, n: int = 4096, k: int = 4096) -> Row:
    """Forward and backward: of a weight that trains (all gradients, its own "exact" or "int8"), or of x around a frozen one."""
    x = activations(m, k).requires_grad_()
    grad = gaussian(m, n, seed=4).bfloat16()
    given = float_layer(n, k)
    options = {"has_fp16_weights": trains is not None, "threshold": threshold}

    def one(module):
        layer = layers(module, given, 1, True, **options)[0]
        if trains and module is octavo.bnb:
            layer.state.weight_gradient = trains
        if trains:
            layer.bfloat16()
        return layer

    def stepping(module):
        def run(_):
            module.zero_grad(set_to_none=True)
            x.grad = None
            with torch.enable_grad():
                module(x).backward(grad)
            return module.weight.grad if trains else x.grad
        return run

    peers = {BF16: stepping(given if trains else float_layer(n, k).requires_grad_(False))}
    if bitsandbytes:
        peers[BNB] = stepping(one(bitsandbytes))
    exact = (grad.double().t() @ x.detach().double() if trains
             else grad.double() @ given.weight.detach().double())
    return Row(stepping(one(octavo.bnb)), peers, {BF16: 1.0}, relative_error(exact), not_run=NOT_RUN)


EVAL_BARS = {1: 8.0, 16: 5.0, 256: 1.8}
ROWS = [
    *(forward(m, t, False, {BNB: EVAL_BARS[m], THRESHOLD_0: 0.9, BF16: 1.4 if m >= 16 else math.nan})
      for t in (0.0, 6.0) for m in (1, 16, 256)),
    *(forward(m, t, True, {BNB: 4.0}) for t in (0.0, 6.0) for m in (1, 16, 256)),
    step("int8", 6.0),
    step("exact", 6.0),
    step(None, 6.0),
]
