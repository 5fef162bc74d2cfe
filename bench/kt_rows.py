# SPDX-License-Identifier: Apache-2.0
"""Rows of torch_bench.py: mixtures of fp8 experts beside kt-kernel (KTransformers on CPUs).

kt-kernel is a peer where it can be imported (`pip install --no-deps kt-kernel gguf`, 0.7.2 in the
results). Its activations stay bfloat16, so each format is there twice: with bfloat16 activations
of ours, the same problem, and with fp8 ones, which is how such a model is served. A thread that
calls it waits without sleeping, besides the threads that work: it is timed with as many of these
as ours has, and with one less, so that all of them have a core. They look for the next call for
50 ms: samples begin after a rest. What it prints goes to stderr.
"""

import contextlib
import ctypes
import functools
import os
import sys
from typing import Any, Callable, Iterator, NamedTuple

import torch

import octavo.torch
from experts_rows import Sizes, float_experts, loop, routes
from torch_kit import Row, gaussian, named, relative_error

KT = "kt-kernel"
REST = 0.08


@contextlib.contextmanager
def stdout_as_stderr() -> Iterator[None]:
    """Of C's printf, too."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


try:
    from kt_kernel import kt_kernel_ext as kt

    NOT_RUN = {}
except (ImportError, OSError, RuntimeError) as error:
    kt = None
    NOT_RUN = {KT: str(error)}


class Format(NamedTuple):
    """Of stored experts, in ours and in kt-kernel."""

    name: str
    scheme: str
    granularity: str
    block: int  # rows and columns of one scale; 0: a scale for each row
    kernel: str
    config: tuple[str, Any]  # a field of its quant_config


FORMATS = (
    Format("fp8 blocks", "fp8-block", "block128x128", 128, "AMXFP8_MOE", ("group_size", 128)),
    Format("fp8 channels", "fp8-dynamic", "channel", 0, "AMXFP8PerChannel_MOE",
           ("per_channel", True)),
)


class Experts(NamedTuple):
    """A layer as checkpoints store it, in ours with 8-bit and 16-bit activations, in kt-kernel."""

    w13: Callable[[int], torch.Tensor]  # of an expert, float64
    w2: Callable[[int], torch.Tensor]
    quantized: torch.nn.Module
    wide: torch.nn.Module
    peers: dict[str, Callable[..., torch.Tensor]]  # by name


@functools.cache
def pool(threads: int) -> Any:
    with stdout_as_stderr():
        return kt.CPUInfer(threads)


def peer_experts(form: Format, state: dict[str, torch.Tensor], sizes: Sizes,
                 threads: int) -> Callable[..., torch.Tensor]:
    e, topk, inner, hidden = sizes
    infer = pool(threads)
    config = kt.moe.MOEConfig(e, topk, hidden, inner, 0)
    config.max_len = 256
    config.pool = infer.backend_
    config.quant_config.bits = 8
    config.quant_config.zero_point = False
    setattr(config.quant_config, *form.config)
    kept = {"down_proj": state["w2"], "down_scale": state["w2_scale"]}
    kept["gate_proj"], kept["up_proj"] = state["w13"].chunk(2, 1)
    kept["gate_scale"], kept["up_scale"] = state["w13_scale"].chunk(2, 1)
    kept = {name: t.contiguous() for name, t in kept.items()}
    for name, t in kept.items():
        setattr(config, name, t.data_ptr())
    order = torch.arange(e)
    with stdout_as_stderr():
        layer = getattr(kt.moe, form.kernel)(config)
        infer.submit(layer.load_weights_task(order.data_ptr()))
        infer.sync()

    def call(x, weights, ids):
        out = torch.empty_like(x)
        rows = torch.tensor([len(x)], dtype=torch.int32)
        layer.forward(rows.data_ptr(), topk, ids.data_ptr(), weights.data_ptr(), x.data_ptr(),
                      out.data_ptr(), False)
        return out

    return call


@functools.lru_cache(1)
def experts(form: Format, sizes: Sizes) -> Experts:
    nn = octavo.torch.nn
    quantized = nn.FusedMoE.from_float(*float_experts(sizes), scheme=form.scheme)
    state = quantized.state_dict()
    stored = (state[name] for name in ("w13", "w13_scale", "w2", "w2_scale"))
    wide = nn.FusedMoE.from_quantized(*stored, granularity=form.granularity)

    def dequantized(name):
        def of(expert):
            scale = state[f"{name}_scale"][expert].double()
            if form.block:
                scale = scale.repeat_interleave(form.block, 0).repeat_interleave(form.block, 1)
            else:
                scale = scale.reshape(-1, 1)
            return state[name][expert].double() * scale
        return of

    threads = octavo.machine.get_num_threads()
    peers = {f"{KT}, threads={t}": peer_experts(form, state, sizes, t)
             for t in (threads, threads - 1) if kt and t > 0}
    return Experts(dequantized("w13"), dequantized("w2"), quantized, wide, peers)


@named(lambda form, m, wide, sizes:
       f"FusedMoE, {form.name}, {'bfloat16' if wide else 'fp8'} activations, {sizes.of(m)}")
def row(form: Format, m: int, wide: bool, sizes: Sizes = Sizes()) -> Row:
    made = experts(form, sizes)
    x = gaussian(m, sizes.hidden, seed=3).bfloat16()
    weights, turns = routes(m, sizes)
    weights = weights.contiguous()
    theirs = [ids.long() for ids in turns]
    own = made.wide if wide else made.quantized
    exact = loop(x.double(), made.w13, made.w2, weights, turns[0])
    peers = {name: lambda i, peer=peer: peer(x, weights, theirs[i % len(turns)])
             for name, peer in made.peers.items()}
    return Row(lambda i: own(x, weights, turns[i % len(turns)]), peers, {},
               relative_error(exact), len(turns), NOT_RUN, REST if peers else 0.0)


ROWS = [row(form, m, wide)
        for form in FORMATS for wide in (True, False) for m in (1, 16, 256)]
