# SPDX-License-Identifier: Apache-2.0
"""Threads: the interpreter's lock is released, calls are safe beside each other, and can be limited."""

import glob
import os
import signal
import subprocess
import sys
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
    a = np.ones((60, 2048), np.int8)
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


def test_ctrl_c_comes_through_between_calls(interruptible):
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
    most = octavo.machine.get_num_threads()
    expected = octavo.scaled_mm(a, b)
    octavo.set_num_threads(1)
    assert octavo.machine.get_num_threads() == 1
    assert np.array_equal(octavo.scaled_mm(a, b), expected)
    octavo.set_num_threads(0)
    assert octavo.machine.get_num_threads() == most


FORK = """
import os, sys
import numpy as np
{imports}
a, b = np.ones((256, 512), np.int8), np.ones((512, 512), np.int8)
expected = octavo.scaled_mm(a, b)
child = os.fork()
if child == 0:
    os._exit(0 if (octavo.scaled_mm(a, b) == expected).all() and octavo.machine.get_num_threads() == 1 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("imports", ["import octavo", "import torch, octavo.torch; torch.ones(999, 999) @ torch.ones(999, 9)"])
def test_a_forked_child_runs_serially(imports):
    if "torch" in imports:
        pytest.importorskip("torch")
    imports = imports if imports.startswith("import octavo") else imports + "; import octavo"
    subprocess.run([sys.executable, "-c", FORK.format(imports=imports)], check=True, timeout=60)


def test_threads_of_torch_count():
    torch = pytest.importorskip("torch")
    import octavo.torch  # noqa: F401

    if "OpenMP" not in octavo.machine.threads_reason():
        pytest.skip("this torch brings no OpenMP runtime")
    most = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert octavo.machine.get_num_threads() == 1
    finally:
        torch.set_num_threads(most)
    assert octavo.machine.get_num_threads() == most


@pytest.mark.parametrize("order", [("torch", "octavo", "torch"), ("octavo", "octavo", "torch", "torch", "octavo")])
def test_threads_are_chosen(order, rng):
    """Each choice holds until the next, and changes no bit."""
    torch = pytest.importorskip("torch")
    import octavo.torch

    if "OpenMP" not in octavo.machine.threads_reason():
        pytest.skip("this torch brings no OpenMP runtime")
    a, b = torch.from_numpy(rng.integers(-128, 127, (70, 300), np.int8)), torch.ones(300, 200, dtype=torch.int8)
    expected = octavo.scaled_mm(a, b)
    most = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for whose in order:
            octavo.torch.use_threads(whose)
            assert ("OpenMP" in octavo.machine.threads_reason()) == (whose == "torch")
            assert whose == "octavo" or octavo.machine.get_num_threads() == 1
            assert torch.equal(octavo.scaled_mm(a, b), expected)
    finally:
        torch.set_num_threads(most)
        octavo.torch.use_threads("torch")
    for word in ("tbb", None, 3):
        with pytest.raises(ValueError, match='use_threads: whose must be "octavo" or "torch"; got'):
            octavo.torch.use_threads(word)


@pytest.mark.parametrize("setting, openmp", [({}, True), ({"OCTAVO_EXECUTOR": "tbb"}, False)])
def test_the_import_chooses(setting, openmp):
    pytest.importorskip("torch")
    program = "import octavo.torch; before = octavo.machine.threads_reason(); octavo.torch.use_threads('torch'); print('OpenMP' in before)"
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "OCTAVO_EXECUTOR": "", **setting}, capture_output=True,
                          text=True)
    if "must be \"octavo\" where PyTorch has loaded no OpenMP" in done.stderr:
        pytest.skip("this torch brings no OpenMP runtime")
    assert done.stdout == f"{openmp}\n", done.stderr


def test_an_executor_of_another_name_is_refused():
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-c", "import octavo.torch"], env={**os.environ, "OCTAVO_EXECUTOR": "zz"}, capture_output=True,
                          text=True)
    assert "octavo.torch: OCTAVO_EXECUTOR must be tbb, or not be set; got 'zz'" in done.stderr


POOLS = """
import glob
import torch
import octavo, octavo.torch

a, b = torch.ones(512, 512, dtype=torch.int8), torch.ones(512, 512, dtype=torch.int8)
wide = torch.ones(2048, 2048)
wide.add_(1)
threads = len(glob.glob("/proc/self/task/*"))
octavo.scaled_mm(a, b)
print(len(glob.glob("/proc/self/task/*")) - threads, octavo.machine.threads_reason())
"""


def preloaded():
    """Other OpenMP runtimes than PyTorch's that this machine has, none first."""
    found = [None]
    for pattern in ("/usr/lib/llvm-*/lib/libomp.so*", f"{sys.prefix}/lib/libiomp5.so"):
        found += sorted(glob.glob(pattern))[:1]
    return found


@pytest.mark.parametrize("library", preloaded())
def test_there_is_one_pool(library):
    """Whatever OpenMP runtime the process has, Octavo runs on the threads that PyTorch has made."""
    torch = pytest.importorskip("torch")
    if torch.get_num_threads() < 2 or not torch.backends.openmp.is_available():
        pytest.skip("PyTorch has no second thread")
    environment = {**os.environ, "LD_PRELOAD": library or "", "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", POOLS], env=environment, capture_output=True, text=True, check=True)
    more, _, reason = done.stdout.strip().partition(" ")
    name = os.path.basename(os.path.realpath(library)).partition(".")[0] if library else "libgomp"
    assert more == "0" and f"OpenMP runtime, {name}" in reason, done.stdout
