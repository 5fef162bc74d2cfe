# SPDX-License-Identifier: Apache-2.0
"""tests/gpu/torch_test.py, which a machine with a device runs, on the CPU."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent.parent / "gpu" / "torch_test.py"


def test_the_script_passes_on_the_cpu():
    run = subprocess.run([sys.executable, str(SCRIPT), "cpu"], capture_output=True, text=True)
    assert run.returncode == 0 and "all right" in run.stdout, run.stdout
