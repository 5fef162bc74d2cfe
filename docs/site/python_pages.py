# SPDX-License-Identifier: Apache-2.0
"""A page of the reference for each public module of the Python package: the names of its __all__."""

import inspect
from pathlib import Path
from types import ModuleType

from docstrings import sentence
from public_names import public_modules

DATA = ".. autodata:: {name}\n   :no-value:\n"
FUNCTION = ".. autofunction:: {name}\n"
CLASS = ".. autoclass:: {name}\n   :members:\n   :undoc-members:\n"


def directive(value: object, name: str) -> str:
    if inspect.isclass(value):
        return CLASS.format(name=name)
    return (FUNCTION if callable(value) else DATA).format(name=name)


def page(module: ModuleType, seen: dict[int, str]) -> str:
    """A module's docstring, a table of its names and each of them; a name that another page has is a link to it."""
    title = module.__name__
    names = [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
    own = [name for name in names if not documented_elsewhere(getattr(module, name), seen, f"{title}.{name}")]
    lines = [title, "=" * len(title), "", f".. automodule:: {title}", ""]
    if own:
        lines += [f".. currentmodule:: {title}", "", ".. autosummary::", "   :nosignatures:", "", *[f"   {name}" for name in own], ""]
    lines += [f"``{title}.{name}`` is :py:obj:`{seen[id(getattr(module, name))]}`.\n" for name in names if name not in own]
    lines += [directive(getattr(module, name), f"{title}.{name}") for name in own]
    return "\n".join(lines)


def documented_elsewhere(value: object, seen: dict[int, str], name: str) -> bool:
    if not (inspect.isclass(value) or callable(value)):
        return False
    return seen.setdefault(id(value), name) != name


def write(folder: Path) -> None:
    modules = public_modules()
    pages = folder / "reference/python"
    pages.mkdir(parents=True, exist_ok=True)
    rows, seen = [], {}
    for module in modules:
        (pages / f"{module.__name__}.rst").write_text(page(module, seen), encoding="utf-8")
        first = (module.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        rows += [f"   * - :doc:`{module.__name__}`", f"     - {sentence(first)}"]
    title = "Python reference"
    index = [title, "=" * len(title), "", "Modules by what they are for. Start with :doc:`Python </docs/python>`.", "",
             ".. list-table::", "   :widths: 30 70", "", *rows, "", ".. toctree::", "   :hidden:", "",
             *[f"   {module.__name__}" for module in modules], ""]
    (pages / "index.rst").write_text("\n".join(index), encoding="utf-8")
