# SPDX-License-Identifier: Apache-2.0
"""The built module: what it exports, and that it is hardened."""

import subprocess
import sys
from pathlib import Path

from octavo import _octavo

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


def test_exports_its_entry_alone() -> None:
    listing = subprocess.run(["nm", "-D", "--defined-only", _octavo.__file__],
                             capture_output=True, text=True, check=True).stdout
    exported = {line.split()[-1].partition("@")[0] for line in listing.splitlines()}
    assert exported == {"PyInit__octavo"}


def test_is_hardened() -> None:
    check = subprocess.run([sys.executable, str(SCRIPTS / "check_hardening.py"), _octavo.__file__],
                           capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr
