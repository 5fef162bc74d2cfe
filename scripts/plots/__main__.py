# SPDX-License-Identifier: Apache-2.0
"""PYTHONPATH=scripts python -m plots [--check]

Draws docs/plots/*.svg of committed figures, with bench/requirements.txt's matplotlib. --check: says which picture is
another than its figures give, larger than 60 kB, of no function, or shown by no page. Exit status 1 if there is one."""

import sys

from . import losses, serve, speed
from .figures import ROOT

FOLDER = ROOT / "docs" / "plots"
LARGEST = 60_000  # bytes


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        sys.exit(__doc__)
    drawn = {f"{name}.svg": plot() for name, plot in (speed.PLOTS | losses.PLOTS | serve.PLOTS).items()}
    if not arguments:
        FOLDER.mkdir(exist_ok=True)
        for name, svg in drawn.items():
            (FOLDER / name).write_text(svg, encoding="utf-8")
        return 0
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*")}
    pages = "".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    wrong = [f"docs/plots/{name} must be drawn of its figures; run: PYTHONPATH=scripts build/venv/bin/python -m plots"
             for name, svg in drawn.items() if there.get(name) != svg]
    wrong += [f"docs/plots/{name} must be drawn by scripts/plots; nothing draws it" for name in sorted(there.keys() - drawn.keys())]
    wrong += [f"docs/plots/{name} must have {LARGEST} bytes at most; got {len(svg.encode())}"
              for name, svg in drawn.items() if len(svg.encode()) > LARGEST]
    wrong += [f"docs/plots/{name} must be shown by a page; got none" for name in drawn if f"plots/{name})" not in pages]
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
