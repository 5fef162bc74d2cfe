# SPDX-License-Identifier: Apache-2.0
"""A page of the reference for each public module of the Python package: the names of its __all__."""

import inspect
from pathlib import Path
from types import ModuleType

from docstrings import sentence, summary
from public_names import CONSTANTS, NO_EXAMPLE, SHARED, is_documented, public_modules, public_names


def directive(value: object, name: str) -> str:
    if not is_documented(value):
        return f".. py:data:: {name.rpartition('.')[2]}\n\n   {sentence(CONSTANTS.get(name, ''))}\n"
    text = f".. autoclass:: {name}\n   :members:\n   :undoc-members:\n" if inspect.isclass(value) else f".. autofunction:: {name}\n"
    if name in SHARED:
        text += f"\n   Example: that of :py:obj:`{SHARED[name]}`.\n"
    if name in NO_EXAMPLE:
        text += f"\n   No example: {sentence(NO_EXAMPLE[name])}.\n"
    return text


def page(module: ModuleType, home: dict[int, str]) -> str:
    """A module's docstring, a table of its names and each of them; a name that another page has is a link to it."""
    title = module.__name__
    lines = [title, "=" * len(title), "", f".. automodule:: {title}", "", f".. currentmodule:: {title}", ""]
    values = {name: getattr(module, name) for name in module.__all__ if not inspect.ismodule(getattr(module, name))}
    own = [name for name, value in values.items() if not is_documented(value) or home[id(value)] == f"{title}.{name}"]
    rows = [name for name in own if is_documented(values[name])]
    if rows:
        lines += [".. list-table::", "   :widths: 30 70", ""]
        lines += [line for name in rows for line in (f"   * - :py:obj:`{name}`", f"     - {summary(values[name])}")] + [""]
    lines += [f"``{title}.{name}`` is :py:obj:`{home[id(values[name])]}`.\n" for name in values if name not in own]
    lines += [directive(values[name], f"{title}.{name}") for name in own]
    return "\n".join(lines)


def write(folder: Path) -> None:
    modules = public_modules()
    home = {id(value): name for name, value in public_names().items() if is_documented(value)}
    pages = folder / "reference/python"
    pages.mkdir(parents=True, exist_ok=True)
    rows = []
    for module in modules:
        (pages / f"{module.__name__}.rst").write_text(page(module, home), encoding="utf-8")
        first = (module.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        rows += [f"   * - :doc:`{module.__name__}`", f"     - {sentence(first)}"]
    title = "Python reference"
    index = [title, "=" * len(title), "", "Modules by what they are for. Start with :doc:`Python </docs/python>`.", "",
             ".. list-table::", "   :widths: 30 70", "", *rows, "", ".. toctree::", "   :hidden:", "",
             *[f"   {module.__name__}" for module in modules], ""]
    (pages / "index.rst").write_text("\n".join(index), encoding="utf-8")
