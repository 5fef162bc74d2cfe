# SPDX-License-Identifier: Apache-2.0
"""Scripts that load a folder into vLLM, each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path


def engine(folder, *options, script="engine.py", **environment):
    """The object that a script of this folder prints last, and all that it says."""
    done = subprocess.run([sys.executable, Path(__file__).with_name(script), folder, *options], capture_output=True, text=True,
                          env=os.environ | environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1]), done.stdout + done.stderr
