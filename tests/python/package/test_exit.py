# SPDX-License-Identifier: Apache-2.0
"""A process that exits while its threads multiply: no abort, no hang, its own exit status."""

import os
import subprocess
import sys

import pytest

RUNS = int(os.environ.get("EXITS", "2"))  # of each way; more by hand

# How threads are busy: in products, in a file that calls back. PyTorch's own functions abort there, whatever calls them.
WORK = {
    "product": """
a = octavo.quantize(numpy.ones((64, 512), numpy.float32))
b = octavo.quantize(numpy.ones((512, 512), numpy.float32)).T
packed = octavo.pack(b, activation="int8")
def work():
    octavo.scaled_mm(a, b)
    octavo.linear(numpy.ones((64, 512), numpy.float32), packed)
""",
    "file": """
import tempfile
from safetensors.numpy import save_file
folder = tempfile.mkdtemp()
save_file({"up.weight": numpy.ones((64, 64), numpy.float32)}, folder + "/in.safetensors")
def work():
    octavo.quantize_file(folder + "/in.safetensors", f"{folder}/{threading.get_ident()}.safetensors", scheme="int8-dynamic",
                         progress=lambda done, total: None)
""",
}
EXITS = {
    "return": ("", 0),
    "sys.exit": ("sys.exit(7)", 7),
    "os._exit": ("os._exit(5)", 5),
    "exception": ("raise ValueError", 1),
    "fork": ("""
child = os.fork()
if child == 0:
    work()
    sys.exit(3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""", 3),
}


@pytest.mark.parametrize("work, way", [*((work, "return") for work in WORK), *(("product", way) for way in EXITS if way != "return")])
def test_threads_multiply_while_the_process_exits(work, way):
    end, status = EXITS[way]
    program = f"""
import os, sys, threading, time
import numpy, octavo
{WORK[work]}
started = threading.Semaphore(0)
def loop():
    work()
    started.release()
    while True:
        work()
for _ in range(3):
    threading.Thread(target=loop, daemon=True).start()
for _ in range(3):
    started.acquire()
time.sleep(0.05)
{end}
"""
    runs = [subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], stderr=subprocess.PIPE, text=True) for _ in range(RUNS)]
    for run in runs:
        said = run.communicate(timeout=120)[1]
        assert run.returncode == status, said
