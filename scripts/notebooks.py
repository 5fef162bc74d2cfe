#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: notebooks.py [--check] [NOTEBOOK...]

Runs notebooks of examples/notebooks, each in an empty folder, and writes what they print and draw into them; needs nbclient and
ipykernel (tests/python/notebooks.txt). --check: fails where a notebook shows something else than what running it gives, is larger
than it may be, or holds what a run leaves behind. A cell with the tag `varies` prints figures of the machine: its words are compared,
and not its digits. A picture has to be one.
"""

import asyncio
import base64
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterable, Iterator

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "notebooks"
LARGEST = 40_000  # bytes of a picture
SECONDS = 120  # of a cell
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")

Notebook = Any  # nbformat's


async def ran(notebook: Notebook) -> Notebook:
    """A copy with what its cells give here."""
    copy = nbformat.from_dict(notebook)
    with tempfile.TemporaryDirectory() as folder:
        await NotebookClient(copy, timeout=SECONDS, kernel_name="python3", shutdown_kernel="immediate",
                             resources={"metadata": {"path": folder}}).async_execute()
    return cleaned(copy)


async def all_ran(notebooks: list[Notebook]) -> list[Notebook]:
    """Each in a process of its own, at once: most of the time is Python's imports."""
    return await asyncio.gather(*map(ran, notebooks))


def cleaned(notebook: Notebook) -> Notebook:
    """Without what differs from run to run and means nothing: times, standard error, pictures' addresses."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        cell.outputs = joined(output for output in cell.outputs if output.get("name") != "stderr")
        for output in cell.outputs:
            if "data" in output and "image/png" in output.data:
                output.data = {"image/png": output.data["image/png"].strip() + "\n"}
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    return notebook


def joined(outputs: Iterable[Notebook]) -> list[Notebook]:
    """What was printed in several messages, in one."""
    found: list[Notebook] = []
    for output in outputs:
        if found and output.output_type == found[-1].output_type == "stream":
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def shown(cell: Notebook) -> list[str]:
    """What a cell prints, as it is compared."""
    found = []
    for output in cell.outputs:
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        if "data" in output and "image/png" in output.data:
            text = "picture"
        if "varies" in cell.metadata.get("tags", []):
            text = "\n".join(sorted(NUMBER.sub("#", " ".join(line.split())) for line in text.splitlines()))
        found.append(f"{output.output_type}: {text}")
    return found


def pictures(notebook: Notebook) -> Iterator[bytes]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield base64.b64decode(output.data["image/png"])


def differences(name: str, here: Notebook, now: Notebook) -> list[str]:
    wrong = []
    for number, (left, right) in enumerate(zip(here.cells, now.cells), 1):
        if left.cell_type == "code" and shown(left) != shown(right):
            wrong.append(f"{name}: cell {number} must show what it gives, {shown(right)}; got {shown(left)}")
    wrong += [f"{name}: a picture must have {LARGEST} bytes at most; got {len(png)}" for png in pictures(here) if len(png) > LARGEST]
    if nbformat.writes(cleaned(nbformat.from_dict(here))) != nbformat.writes(here):
        wrong.append(f"{name}: must be written by scripts/notebooks.py, without what a run leaves behind")
    return wrong


def main(arguments: list[str]) -> int:
    check = "--check" in arguments
    names = [word for word in arguments if word != "--check"] or sorted(path.name for path in FOLDER.glob("*.ipynb"))
    os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", HF_HUB_OFFLINE="1",
                      OMP_WAIT_POLICY="passive",  # they share the cores
                      MPLBACKEND="module://matplotlib_inline.backend_inline")
    wrong = []
    read = [nbformat.read(FOLDER / name, as_version=4) for name in names]
    for name, here, now in zip(names, read, asyncio.run(all_ran(read))):
        if check:
            wrong += differences(name, here, now)
        else:
            (FOLDER / name).write_text(nbformat.writes(now) + "\n", encoding="utf-8")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
