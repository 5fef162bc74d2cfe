# SPDX-License-Identifier: Apache-2.0
"""python/octavo/torch/operators/_schemas.py and _routes.py: the operators' schemas, and the way to them."""

import textwrap

from public import call
from table import NOTE

OPERANDS = ("input", "mat2", "weight", "c")


def of_schema(operation):
    return [o for o in operation.arguments if o.spelling.schema]


def schema(operation):
    arguments = [("Tensor", name) for name in operation.inputs]
    arguments += [(o.spelling.schema, o.python_name) for o in of_schema(operation)]
    names = [name for _, name in arguments]
    slots = tuple(names.index(name) for name in operation.row["gradients"])
    typed = tuple(slot for slot in slots if names[slot] in OPERANDS)
    lines = textwrap.wrap(", ".join(f"{type} {name}" for type, name in arguments), 100)
    text = ' "\n    "'.join(lines)
    return f'''

{operation.name.upper()} = Schema(
    "{operation.name}",
    "{text}",
    slots={slots}, typed={typed})'''


def schemas(operations):
    return f'''\
# SPDX-License-Identifier: Apache-2.0
# {NOTE}
"""The operators' arguments: those of the extension module's functions, in their order."""

from typing import NamedTuple


class Schema(NamedTuple):
    name: str
    arguments: str
    slots: tuple[int, ...]  # positions of what has a gradient, in the extension module's order
    typed: tuple[int, ...]  # those of operands, whose gradients keep their types; all others are float32
{"".join(schema(operation) for operation in operations)}
'''


def route(operation):
    """Quantised operands and numbers become tensors; what has no gradient goes to the extension module."""
    inputs = list(operation.inputs)
    options = [o.python_name for o in operation.arguments]
    scales = [o for o in operation.arguments if operation.granularity_of(o)]
    text = call(f"def {operation.name}(", inputs + [f"{o.python_name}={o.python_default}" for o in operation.arguments],
                "):")
    text += f'    """octavo.{operation.name}."""\n'
    tensors = inputs + [o.name for o in of_schema(operation) if o.spelling.schema == "Tensor?"]
    condition, what = "out is not None", '"out"'
    if scales:
        condition += f" or type({inputs[1]}) is PackedWeight"
        what += ' if out is not None else "a packed weight"'
    text += f"    if {condition}:\n" + call("        check_no_gradient(", [f'"{operation.name}"', what, *tensors])
    text += call(f"        return _octavo.{operation.name}(", inputs + options)
    for operand, o in zip(inputs, scales):
        side = o.name[-1]
        keeps_azp = side == "a" and "azp" in options
        text += (f"    if type({operand}) is Quantized:\n"
                 f"        {operand}, {o.name}, granularity_{side}, {'carried' if keeps_azp else '_'} = "
                 f'parts({operand}, {o.name}, granularity_{side}, "{side}")\n')
        if keeps_azp:
            text += "        azp = carried if azp is None else azp\n"
    converted = []
    for o in of_schema(operation):
        convert = o.spelling.convert
        if o in scales:  # tested in place where most calls answer it: this is the way of small calls
            convert = "{n} if type({n}) is Tensor else as_tensor({n})"
        elif o.kind == "scale" and o.default != "UNDEFINED":
            convert = "None if isinstance({n}, (int, float)) and {n} == 1 else as_tensor({n})"
        converted.append(convert.format(n=o.python_name, operation=operation.name))
    return text + call(f"    return _products.call_{operation.name}(", inputs + converted)


def routes(operations):
    functions = "\n\n".join(route(operation) for operation in operations)
    return f'''\
# SPDX-License-Identifier: Apache-2.0
# {NOTE}
"""The products over torch tensors: arguments as users write them to operators' arguments."""

from torch import Tensor

from ... import _octavo
from ..._octavo import UNDEFINED, PackedWeight, Quantized
from . import _products
from ._arguments import as_dtype, as_tensor, check_no_gradient, parts


{functions}'''
