#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A release: release.py [--check].

--check: every place that names the version has that of CMakeLists.txt. Without it: walks through the list of a
release, runs what a machine can run, and asks about the rest. Nothing is uploaded, no tag is made.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ("CMakeLists.txt", r"project\(octavo VERSION ([0-9.]+)")
PLACES = (
    ("packaging/vcpkg/octavo/vcpkg.json", r'"version-semver": "([0-9.]+)"'),
    ("packaging/conda-forge/recipe.yaml", r"^  version: ([0-9.]+)$"),
    ("CHANGELOG.md", r"^## ([0-9.]+)"),
)
# What to do, and the command that does it; without one a person answers.
STEPS = (
    ("every place names the version", ("python3", "scripts/release.py", "--check")),
    ("the tree has no change that is not committed", ("git", "diff", "--quiet", "HEAD")),
    ("CHANGELOG.md names the day of the release instead of `unreleased`",
     ("grep", "-qE", r"^## [0-9.]+ - [0-9]{4}-[0-9]{2}-[0-9]{2}$", "CHANGELOG.md")),
    ("tests pass", ("./dev", "test")),
    ("checks pass", ("./dev", "check")),
    ("slow tests pass: both compilers, sanitizers, mutations", ("./dev", "test", "--all")),
    ("the wheel installs and runs in a bare system", ("./dev", "wheel", "--test")),
    ("the Debian package installs, runs and goes", ("./dev", "package", "--test")),
    ("figures in docs/performance.md are of this tree, or say of which", ()),
    ("what was removed had been deprecated for one minor version (docs/versioning.md)", ()),
)


def version() -> str:
    found = re.search(SOURCE[1], (ROOT / SOURCE[0]).read_text(encoding="utf-8"))
    assert found, SOURCE
    return found[1]


def findings() -> Iterator[str]:
    for file, pattern in PLACES:
        found = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
        if not found or found[1] != version():
            yield f"{file} must name version {version()} of {SOURCE[0]}; got {found[1] if found else 'none'}"


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        found = list(findings())
        print("\n".join(found), end="\n" if found else "")
        return 1 if found else 0
    if sys.argv[1:]:
        sys.exit(__doc__)
    for number, (what, command) in enumerate(STEPS, 1):
        print(f"{number:2} of {len(STEPS)}: {what}" + (f": {' '.join(command)}" if command else ""), flush=True)
        if command:
            good = subprocess.run(command, cwd=ROOT, check=False).returncode == 0
        else:
            good = input("     Is it so? [y/N] ").strip().lower() == "y"
        if not good:
            print(f"release: not yet: {what}", file=sys.stderr)
            return 1
    print(f"Ready. Then, by hand:\n  git tag -s v{version()} -m 'Octavo {version()}'\n  git push origin v{version()}\n"
          "  upload build/wheel/*.whl and build/package/*.deb beside the tag")
    return 0


if __name__ == "__main__":
    sys.exit(main())
