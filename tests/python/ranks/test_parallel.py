# SPDX-License-Identifier: Apache-2.0
"""Layers on ranks of torch.distributed; what the ranks check is gloo_checks.py, and behind a slow network relay_checks.py."""

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("this torch has no gloo", allow_module_level=True)


def run(script, argument):
    path = Path(__file__).with_name(script)
    done = subprocess.run([sys.executable, path, argument], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_ranks(size):
    run("gloo_checks.py", str(size))


@pytest.mark.parametrize("check", ["results", "broken", "silent"])
def test_ranks_behind_a_relay(check):
    run("relay_checks.py", check)
