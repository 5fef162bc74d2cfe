# SPDX-License-Identifier: Apache-2.0
"""python/octavo/_operations.py: the public functions."""

import textwrap

from table import NOTE, wrapped

WIDTH = 116


def renamed(operation, name, type):
    """(name, type) in the public function."""
    return tuple(operation.row.get("names", {}).get(name, (name, type)))


def default_of(o):
    return "None" if o.row.get("none") else o.python_default


# Words of C++ and C in the documentation of options, and Python's.
WORDS = {"undefined (the scale that": "UNDEFINED (the default: the scale that", "null (explicitly none)": "None (explicitly none)",
         "null: not wanted": "None: not wanted"}


def in_python(o):
    """The documentation of an option."""
    doc = o.row.get("python_doc", o.doc)
    for word, own in WORDS.items():
        doc = doc.replace(word, own)
    return doc.replace("; 0:", "; None:") if o.row.get("none") else doc


def given(operation, o):
    """An option as the extension module takes it."""
    name = of_option(operation, o)[0]
    return f"{o.python_default} if {name} is None else {name}" if o.row.get("none") else name


def of_option(operation, o):
    type = o.row.get("type", o.spelling.python)
    if default_of(o) != "None":
        type = type.removesuffix(" | None")
    elif o.row.get("none"):
        type += " | None"
    return renamed(operation, o.python_name, type)


def of_inputs(operation):
    return [renamed(operation, name, row[0]) for name, row in operation.inputs.items()]


def call(head, arguments, end=")"):
    """`head` with its arguments, as many a line as fit."""
    lines = [head]
    for i, argument in enumerate(arguments):
        text = argument + ("," if i + 1 < len(arguments) else end)
        gap = "" if lines[-1].endswith("(") else " "
        if len(lines[-1]) + len(gap + text) > WIDTH:
            lines.append(" " * (head.index("(") + 1) + text)
        else:
            lines[-1] += gap + text
    return "\n".join(lines) + "\n"


RAISES = {"ValueError": "an argument breaks a rule; the sentence names both.",
          "NotImplementedError": "the contract has it, this build does not.",
          "MemoryError": "no memory for the result or the workspace.",
          "RuntimeError": "a device that is not there."}


def documentation(operation):
    rows = [(name, row[1]) for (name, _), row in zip(of_inputs(operation), operation.inputs.values())]
    rows += [(of_option(operation, o)[0], o.doc and in_python(o) + ".") for o in operation.arguments]
    rows += [(name, row[1]) for name, row in operation.extra.items()]
    lines = operation.row["doc"].splitlines() + ["", "Args:"]
    while rows:
        names, doc = [rows[0][0]], rows.pop(0)[1]
        while rows and not rows[0][1]:  # shares the documentation
            names.append(rows.pop(0)[0])
        lines += wrapped(f"{', '.join(names)}: {doc}", "    ", WIDTH - 4, "        ")
    lines += ["", "Returns:"] + wrapped(operation.row["returns"], "    ", WIDTH - 4)
    lines += ["", "Raises:", *(f"    {kind}: {when}" for kind, when in RAISES.items())]
    if "example" in operation.row:
        lines += ["", "Example:", *(f"    {line}" for line in operation.row["example"].splitlines())]
    text = "\n".join(("    " + line).rstrip() for line in lines)
    return f'    """{text.strip()}\n    """\n'


def function(operation):
    name = operation.name
    typed = {o.python_name: "{}: {} = {}".format(*of_option(operation, o), default_of(o))
             for o in operation.arguments}
    inputs = [input for input, _ in of_inputs(operation)]
    positional = [f"{input}: {type}" for input, type in of_inputs(operation)]
    positional += [typed.pop(option) for option in operation.row["positional"]]
    keywords = ["*", *typed.values(), *(f"{extra}: {row[0]}" for extra, row in operation.extra.items())]
    text = call(f"def {name}(", positional + keywords, f") -> {operation.row.get('result', 'Result')}:")
    text += documentation(operation)
    if "lists" in operation.row:
        text += of_lists(operation, inputs[0])
    body = "".join(textwrap.indent(row[2], "    ") + "\n" for row in operation.extra.values())
    body += f"    {operation.row['prepare']}\n" if "prepare" in operation.row else ""
    run = f"_octavo.{name}"
    if "gradients" in operation.row:
        narrowed = ", ".join(f'narrow("{name}", "{input}", {input})' for input in inputs)
        body += f"    {', '.join(inputs)} = {narrowed}\n"
    if "gradients" in operation.row or "routed" in operation.row:
        torch = " or ".join(f"is_torch({input})" for input in inputs[:2 if "gradients" in operation.row else 1])
        body += f"    function = torch_operations().{name} if {torch} else _octavo.{name}\n"
        run = "function"
    body += call(f"    return {run}(", inputs + [given(operation, o) for o in operation.arguments])
    return text + guarded(operation, body)


# What an input is to _again.py, by its type.
INPUTS = {"Operand": "codes", "Weight": "weight", "Tensor": "floats", "PackedWeight": "packed", "ExpertWeights": "experts"}
LITERALS = {"codes": "plain", "indices": "indices"}


def guarded(operation, run):
    """The call, and what becomes of arguments that it does not take: nothing slows down a call that is right."""
    return f"""\
    try:
{textwrap.indent(run, "    ")}    except REFUSED as error:
        return again(error, {operation.name}, KINDS["{operation.name}"], locals())
"""


def kinds(operation):
    """{argument of the public function: what it is to _again.py}."""
    lists = operation.row.get("names", {}) if "lists" in operation.row else {}
    rows = [(name, LITERALS[row[2]] if len(row) > 2 else INPUTS[row[0]]) for name, row in operation.inputs.items()]
    rows += [(o.python_name, taken(o)) for o in operation.arguments]
    rows += [(name, "flag") for name in operation.extra]
    return {renamed(operation, name, "")[0]: "*" + kind if name in lists else kind for name, kind in rows}


def taken(o):
    if "literals" in o.row:
        return "?" + o.row["literals"]
    if o.row.get("none"):
        return "?" + o.spelling.taken
    return "?dtype" if o.kind == "dtype" and o.python_default == "None" else o.spelling.taken


def kinds_module(operations):
    text = ""
    for operation in operations:
        text += f'    "{operation.name}": {{\n'
        text += "".join(f'        "{name}": "{kind}",\n' for name, kind in kinds(operation).items()) + "    },\n"
    return f"""\
# SPDX-License-Identifier: Apache-2.0
# {NOTE}
\"\"\"What each argument of a public function is to _again.py: "?": it may be None; "*": in lists, too, one for each entry.\"\"\"

KINDS: dict[str, dict[str, str]] = {{
{text}}}
"""


def of_lists(operation, first):
    """Lists are an operation of their own; what that does not take must not be given."""
    taken = operation.row["lists"]
    others = [(of_option(operation, o)[0], o.python_default) for o in operation.arguments]
    others = [f'\n            ("{name}", {name} is not {default}),' for name, default in others if name not in taken]
    return (f"    if isinstance({first}, (list, tuple)):\n"
            f'        refuse_given("{operation.name}", ({"".join(others)}\n        ))\n'
            + textwrap.indent(guarded(operation, call(f"    return {operation.name}_list(", taken)), "    "))


def module(operations):
    functions = "\n\n".join(function(operation) for operation in operations)
    return f'''\
# SPDX-License-Identifier: Apache-2.0
# {NOTE}
"""The operations: arguments and defaults here, the work in the extension module."""

from typing import Any, Sequence

from . import _octavo
from ._again import REFUSED, again
from ._deprecated import deprecated
from ._integers import narrow
from ._kinds import KINDS
from ._lines import by_lines
from ._lists import grouped_mm_list, refuse_given
from ._octavo import UNDEFINED, ExpertWeights, PackedWeight, Quantized
from ._routing import is_torch, torch_operations
from ._typing import (
    DTypeLike, NonFinite, Operand, Result, Rounding, ScaleArgument, Side, Subnormals, Tensor, TensorList, Weight,
)


{functions}'''
