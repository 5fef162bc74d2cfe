# SPDX-License-Identifier: Apache-2.0
"""What rows of torch_bench.py are made of, and how implementations take turns."""

import functools
import inspect
import math
import time
from typing import Callable, NamedTuple

import numpy as np
import torch

COLD_BYTES = 256 << 20
LEAST_ROUNDS = 6  # the ends of six ratios are the 95 % interval of their median


class Row(NamedTuple):
    """Ours and the peers, each a function of the index of the weights to use."""

    ours: Callable[[int], object]
    peers: dict[str, Callable[[int], object]]
    bars: dict[str, float]  # least times as fast, by peer
    error: Callable[[Callable[[int], object]], float] | None = None
    copies: int = 1
    not_run: dict[str, str] = {}  # why peers that are not there are not
    rest: float = 0.0  # seconds before a sample, in which threads of a peer fall asleep


class Problem(NamedTuple):
    """A row that is made when it is wanted: operands take longer to make than to multiply."""

    name: str
    make: Callable[[], Row]


def named(name: Callable[..., str]) -> Callable[[Callable[..., Row]], Callable[..., Problem]]:
    """Of a function that makes a row: it gives a problem instead, called name(**its arguments)."""
    def decorate(make: Callable[..., Row]) -> Callable[..., Problem]:
        @functools.wraps(make)
        def problem(*args, **kwargs) -> Problem:
            bound = inspect.signature(make).bind(*args, **kwargs)
            bound.apply_defaults()
            return Problem(name(**bound.arguments), functools.partial(make, *args, **kwargs))
        return problem
    return decorate


class Timed(NamedTuple):
    seconds: list[float]  # of one call, a round each

    def median(self) -> float:
        return float(np.median(self.seconds))


def calls_for(function: Callable[[int], object], least: float) -> int:
    """How many calls last at least that long."""
    calls = 1
    while True:
        start = time.perf_counter()
        for i in range(calls):
            function(i)
        passed = time.perf_counter() - start
        if passed >= least:
            return calls
        calls = max(calls + 1, math.ceil(calls * min(8.0, 1.1 * least / max(passed, 1e-9))))


def measure(functions: dict[str, Callable[[int], object]], rounds: int, least: float,
            rest: float = 0.0, most: float = math.inf) -> dict[str, Timed]:
    """Rounds of samples that last `least` seconds each; after `most` seconds LEAST_ROUNDS of them do."""
    calls = {name: calls_for(function, least) for name, function in functions.items()}
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    begin = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.perf_counter() - begin > most:
            break
        for name, function in functions.items():
            time.sleep(rest)
            start = time.perf_counter()
            for i in range(calls[name]):
                function(i)
            seconds[name].append((time.perf_counter() - start) / calls[name])
    return {name: Timed(values) for name, values in seconds.items()}


def ratio(peer: Timed, ours: Timed) -> tuple[float, float, float]:
    """Median of the rounds' ratios and the 95 % interval of that median (order statistics)."""
    ratios = sorted(p / o for p, o in zip(peer.seconds, ours.seconds))
    n = len(ratios)
    low = max(0, int(math.floor(n / 2 - 0.98 * math.sqrt(n))))
    return float(np.median(ratios)), ratios[low], ratios[n - 1 - low]


def copies_of(nbytes: int) -> int:
    return max(2, math.ceil(COLD_BYTES / nbytes))


def gaussian(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def relative_error(exact: torch.Tensor) -> Callable[[Callable[[int], object]], float]:
    """Of the result with weights 0, in the Frobenius norm."""
    return lambda function: float((function(0).double() - exact).norm() / exact.norm())
