# SPDX-License-Identifier: Apache-2.0
"""The table of the operations' options, and how each kind of option is spelt."""

import textwrap
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = "api/operations.toml"
NOTE = f"Written by api/ from {TABLE}; `python3 api` writes it again."


@dataclass(frozen=True)
class Kind:
    """How an option of a kind is spelt. {n}: its name, {d}: its default, {o}: where it lies in C++.

    cpp: its field. c, c_size: its fields in C and their alignment in bytes (None: a bit of flags).
    read: from C's struct `c` to C++'s `o`. argument, bind, default: in the extension module.
    python, schema, convert: the type in Python, in a schema of PyTorch's, and how a public argument
    becomes an operator's.
    """

    cpp: str | None = None
    c: str | None = None
    c_size: int = 8
    read: str | None = None
    argument: str = "nb::handle"
    bind: str | None = None
    default: str = "None"
    python: str | None = None
    schema: str | None = None
    convert: str = "{n}"


KINDS = {
    "scale": Kind(
        cpp="Scale {n}{{}};", c="octavo_scale {n};", read='{o} = scale_from(place.of("{n}"), c.{n});',
        bind='{o} = call.scale(a.{n}, {granularity}, "{n}");', default="UNDEFINED", python="ScaleArgument",
        schema="Tensor?", convert="None if {n} is UNDEFINED else as_tensor({n})"),
    "granularity": Kind(python="str | None", schema="str?"),
    "tensor": Kind(
        cpp="TensorView {n}{{}};", c="const octavo_view* {n};",
        read='{o} = optional_view(place.of("{n}"), c.{n});', bind='{o} = call.tensor(a.{n}, "{n}");',
        python="Tensor | None", schema="Tensor?"),
    "out": Kind(
        cpp="TensorView {n}{{}};", c="const octavo_view* {n};",
        read='{o} = optional_view(place.of("{n}"), c.{n});', bind="{o} = call.out(a.{n});",
        python="Tensor | None"),
    "tensors": Kind(
        cpp="std::span<const TensorView> {n}{{}};", c="const octavo_view* const* {n};",
        python="TensorList | None"),
    "scales": Kind(cpp="std::span<const Scale> {n}{{}};", c="const octavo_scale* {n};",
                   python="Sequence[ScaleArgument] | None"),
    "dtype": Kind(
        cpp="DType {n} = DType::{d};", c="octavo_dtype {n};", c_size=4,
        read='{o} = dtype_or(place.of("{n}"), c.{n}, {o});', bind='{o} = call.dtype(a.{n}, "{n}");',
        default="undefined", python="DTypeLike | None", schema="ScalarType?",
        convert='None if {n} is None else as_dtype({n}, "{operation}")'),
    "grid": Kind(
        cpp="Granularity {n} = per_{d}();", c="int32_t {n};", c_size=4,
        read='if (c.{n} != OCTAVO_AUTOMATIC) {{ {o} = granularity_from(place.of("{n}"), c.{n}, c.rows, c.cols); }}',
        argument="const std::string&", bind='{o} = parse_granularity(a.{n}, call.operation(), "{n}");',
        python="str"),
    "side": Kind(
        cpp="Side {n} = Side::{d};", c="int32_t {n};", c_size=4,
        read='{o} = enum_from(place.of("{n}"), c.{n}, Side::b);', argument="const std::string&",
        bind="{o} = parse_side(call, a.{n});", default="a", python="Side"),
    "rounding": Kind(
        cpp="ScaleRounding {n} = ScaleRounding::{d};", c="int32_t {n};", c_size=4,
        read='{o} = enum_from(place.of("{n}"), c.{n}, ScaleRounding::mx_floor);',
        argument="const std::string&", bind="{o} = parse_rounding(a.{n}, call.operation());",
        default="none", python="Rounding"),
    "non_finite": Kind(
        cpp="NonFinite {n} = NonFinite::{d};", read="{o} = non_finite_from(place, c.flags);",
        argument="const std::string&", bind="{o} = parse_non_finite(a.{n}, call.operation());",
        default="propagate", python="NonFinite"),
    "overflow": Kind(
        cpp="Overflow {n} = Overflow::saturate;", read="{o} = overflow_from(c.flags);", argument="bool",
        bind="{o} = a.{p} ? Overflow::saturate : Overflow::ieee;", default="True", python="bool",
        schema="bool"),
    "flag": Kind(
        cpp="bool {n} = false;", read="{o} = (c.flags & OCTAVO_{flag}) != 0;", argument="bool",
        bind="{o} = a.{p};", default="False", python="bool", schema="bool"),
    "subnormals": Kind(
        cpp="bool {n} = false;", read="{o} = (c.flags & OCTAVO_{flag}) != 0;",
        bind="{o} = parse_subnormals(a.{p}, call.operation());", python="Subnormals", schema="str?"),
    "float": Kind(
        cpp="float {n} = {d};", c="float {n};", c_size=4, read="{o} = static_cast<float>(c.{n});",
        argument="double", bind="{o} = static_cast<float>(a.{n});", default="0.0", python="float"),
    "columns": Kind(
        cpp="TensorView {n}{{}};", c="const octavo_view* {n};",
        read='{o} = optional_view(place.of("{n}"), c.{n});', bind="{o} = call.columns(a.{n});", python="Any"),
    "found": Kind(cpp="std::vector<std::int64_t>* {n} = nullptr;", c="int64_t* {n};\nint64_t* found_count;"),
    "matmul": Kind(cpp="MatmulOptions {n}{{}};", read="{o} = matmul_from(c.flags);"),
    "backend": Kind(
        cpp="const char* {n} = nullptr;", c="const char* {n};", read="{o} = c.{n};",
        argument="const Name&", bind="{o} = text_of(a.{n});", python="str | None", schema="str?"),
}
# Kinds whose defaults are names.
QUOTED = {"dtype", "grid", "side", "rounding", "non_finite"}


@dataclass(frozen=True)
class Option:
    name: str
    kind: str
    doc: str
    row: dict = field(repr=False)
    inside: str = ""  # where in an operation's options it lies: "matmul."

    @property
    def spelling(self):
        return KINDS[self.kind]

    @property
    def default(self):
        return str(self.row.get("default", self.spelling.default))

    @property
    def python_name(self):
        """None: not in Python."""
        shown = self.row.get("python", True)
        return shown if isinstance(shown, str) else self.name if shown else None

    @property
    def python_default(self):
        value = {"infinity": 'float("inf")', "undefined": "None"}.get(self.default, self.default)
        return f'"{value}"' if self.kind in QUOTED and value != "None" else value

    def text(self, template, **more):
        value = {"infinity": "std::numeric_limits<float>::infinity()", "0.0": "0.0F"}.get(self.default, self.default)
        return template.format(n=self.name, p=self.python_name, d=value, o=f"o.{self.inside}{self.name}",
                               flag=self.row.get("flag_name", self.name.upper()), **more)


@dataclass(frozen=True)
class Operation:
    name: str
    row: dict
    options: list[Option]
    arguments: list[Option]  # in Python's order: `out` last

    @property
    def c(self):
        return self.row.get("c", f"octavo_{self.name}_options")

    @property
    def inputs(self):
        return self.row.get("inputs", {})

    @property
    def extra(self):
        return self.row.get("extra", {})

    @property
    def type(self):
        """Of its arguments in the extension module."""
        return "".join(word.capitalize() for word in self.name.split("_")) + "Arguments"

    def granularity_of(self, option):
        return next((g for g in self.arguments if g.row.get("of") == option.name), None)


def read_option(name, row, inside=""):
    kind = next(key for key in row if key in KINDS)
    return Option(name, kind, row[kind], row, inside)


def read_operation(name, row, matmul):
    options = [read_option(*item) for item in row["options"].items()]
    arguments = []
    for o in options:
        if o.kind == "matmul":
            arguments += [m for m in matmul if m.python_name in o.row["python"]]
        elif o.kind != "out" and o.spelling.python and o.python_name:
            arguments.append(o)
    arguments += [o for o in options if o.kind == "out"]
    return Operation(name, row, options, arguments)


def read_table():
    """(flags, what every product takes, the operations)."""
    table = tomllib.loads((ROOT / TABLE).read_text())
    flags = table.pop("flags")
    row = table.pop("matmul")
    matmul = [read_option(*item, "matmul.") for item in row["options"].items()]
    operations = [read_operation(name, row, matmul) for name, row in table.items()]
    return flags, Operation("matmul", row, matmul, []), operations


def wrapped(text, first, width, rest=None):
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=first if rest is None else rest,
                         break_long_words=False, break_on_hyphens=False)


def included(operations):
    """#include lines of the headers that declare their options."""
    headers = sorted({operation.row["header"] for operation in operations})
    return "\n".join(f'#include "{header.removeprefix("include/")}"' for header in headers)
