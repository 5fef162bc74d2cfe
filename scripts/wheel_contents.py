#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts the licences of what a wheel contains beside its own: wheel_licences.py WHEEL OUT_DIR.

auditwheel put oneTBB and RE2 into the wheel; CLI11, fmt and nlohmann_json are headers that were compiled in. Their terms are
those of the Debian packages that they were built from.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = {"oneTBB": "libtbb12", "RE2": "libre2-9", "fmt": "libfmt-dev", "nlohmann_json": "nlohmann-json3-dev",
            "CLI11": "libcli11-dev"}
EXPRESSION = "Apache-2.0 AND BSD-3-Clause AND MIT"


def add(tree):
    """Writes the licences into an unpacked wheel's dist-info and names them in its METADATA."""
    (info,) = tree.glob("*.dist-info")
    folder = info / "licenses"
    folder.mkdir(exist_ok=True)
    lines = []
    for name, package in PACKAGES.items():
        (folder / f"{name}.txt").write_bytes(Path("/usr/share/doc", package, "copyright").read_bytes())
        lines.append(f"License-File: {name}.txt")
    metadata = (info / "METADATA").read_text(encoding="utf-8")
    own = "License-Expression: Apache-2.0\n"
    if own not in metadata:
        sys.exit(f"wheel_licences: METADATA must have '{own.strip()}'; got\n{metadata[:400]}")
    (info / "METADATA").write_text(
        metadata.replace(own, f"License-Expression: {EXPRESSION}\n" + "".join(line + "\n" for line in lines), 1),
        encoding="utf-8")


def main(wheel, out):
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, "-m", "wheel", "unpack", wheel, "-d", scratch], check=True)
        (tree,) = Path(scratch).iterdir()
        add(tree)
        subprocess.run([sys.executable, "-m", "wheel", "pack", tree, "-d", out], check=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
