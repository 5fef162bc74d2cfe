# SPDX-License-Identifier: Apache-2.0
"""Threads: the interpreter's lock is released, calls are safe beside each other, and can be limited."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import octavo


@pytest.fixture
def limited():
    yield
    octavo.set_num_threads(0)


def test_other_threads_run_during_a_product():
    a = np.ones((600, 2048), np.int8)
    b = np.ones((2048, 2048), np.int8)
    done = threading.Event()

    def multiply():
        octavo.scaled_mm(a, b, backend="reference")  # long: the lock would be held for all of it
        done.set()

    thread = threading.Thread(target=multiply)
    thread.start()
    ticks = 0
    while not done.is_set():
        time.sleep(0.001)
        ticks += 1
    thread.join()
    assert ticks > 20


def test_concurrent_calls_give_what_one_gives(rng):
    x = rng.standard_normal((33, 256)).astype(np.float32)
    packed = octavo.pack(octavo.quantize(rng.standard_normal((128, 256)).astype(np.float32)).T, activation="int8")
    expected = octavo.linear(x, packed)
    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(lambda _: octavo.linear(x, packed), range(200)):
            assert np.array_equal(y, expected)


def test_ctrl_c_comes_through_between_calls():
    a = np.ones((64, 512), np.int8)
    b = np.ones((512, 512), np.int8)
    timer = threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            octavo.scaled_mm(a, b)
    assert (octavo.scaled_mm(a, b) == 512).all()


def test_a_limit_changes_no_result(rng, limited):
    a = rng.integers(-128, 127, (70, 300), np.int8)
    b = rng.integers(-128, 127, (300, 200), np.int8)
    most = octavo.get_num_threads()
    expected = octavo.scaled_mm(a, b)
    octavo.set_num_threads(1)
    assert octavo.get_num_threads() == 1
    assert np.array_equal(octavo.scaled_mm(a, b), expected)
    octavo.set_num_threads(0)
    assert octavo.get_num_threads() == most
