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
    read, write: from C's struct `c` to C++'s `o`, and back. argument, bind, default: in the extension
    module; give: back to Python.
    python, schema, convert: the type in Python, in a schema of PyTorch's, and how a public argument
    becomes an operator's. taken: its kind in python/octavo/_again.py; "?": it may be None.
    """

    cpp: str | None = None
    c: str | None = None
    c_size: int = 8
    read: str | None = None
    write: str | None = None
    argument: str = "nb::handle"
    bind: str | None = None
    give: str | None = None
    default: str = "None"
    python: str | None = None
    schema: str | None = None
    convert: str = "{n}"
    taken: str = "?floats"


KINDS = {
    "scale": Kind(
        cpp="Scale {n}{{}};", c="octavo_scale {n};", read='{o} = scale_from(place.of("{n}"), c.{n});',
        bind='{o} = call.scale(a.{p}, {granularity}, "{n}");', default="UNDEFINED", python="ScaleArgument",
        schema="Tensor?", convert="None if {n} is UNDEFINED else as_tensor({n})", taken="scale"),
    "granularity": Kind(python="str | None", schema="str?", taken="?text"),
    "tensor": Kind(
        cpp="TensorView {n}{{}};", c="const octavo_view* {n};",
        read='{o} = optional_view(place.of("{n}"), c.{n});', bind='{o} = call.tensor(a.{p}, "{n}");',
        python="Tensor | None", schema="Tensor?"),
    "out": Kind(
        cpp="TensorView {n}{{}};", c="const octavo_view* {n};",
        read='{o} = optional_view(place.of("{n}"), c.{n});', bind="{o} = call.out(a.{p});",
        python="Tensor | None", taken="?out"),
    "tensors": Kind(
        cpp="std::span<const TensorView> {n}{{}};", c="const octavo_view* const* {n};",
        python="TensorList | None"),
    "scales": Kind(cpp="std::span<const Scale> {n}{{}};", c="const octavo_scale* {n};",
                   python="Sequence[ScaleArgument] | None"),
    "dtype": Kind(
        cpp="DType {n} = DType::{d};", c="octavo_dtype {n};", c_size=4,
        write="c.{n} = dtype_to({o});", give="std::string(name({o}))",
        read='{o} = dtype_or(place.of("{n}"), c.{n}, {o});', bind='{o} = call.dtype(a.{p}, "{p}");',
        default="undefined", python="DTypeLike | None", schema="ScalarType?",
        convert='None if {n} is None else as_dtype({n}, "{operation}")', taken="dtype"),
    "grid": Kind(
        cpp="Granularity {n} = per_{d}();", c="int32_t {n};", c_size=4,
        write="c.{n} = static_cast<std::int32_t>({o}.kind), c.rows = {o}.rows, c.cols = {o}.cols;", give="to_string({o})",
        read='if (c.{n} != OCTAVO_AUTOMATIC) {{ {o} = granularity_from(place.of("{n}"), c.{n}, c.rows, c.cols); }}',
        argument="const std::string&", bind='{o} = parse_granularity(a.{p}, call.operation(), "{p}");',
        python="str", taken="text"),
    "side": Kind(
        cpp="Side {n} = Side::{d};", c="int32_t {n};", c_size=4,
        read='{o} = enum_from(place.of("{n}"), c.{n}, Side::b);', argument="const std::string&",
        bind="{o} = parse_side(call, a.{n});", default="a", python="Side", taken="text"),
    "rounding": Kind(
        cpp="ScaleRounding {n} = ScaleRounding::{d};", c="int32_t {n};", c_size=4,
        write="c.{n} = static_cast<std::int32_t>({o});", give="rounding_name({o})",
        read='{o} = enum_from(place.of("{n}"), c.{n}, ScaleRounding::mx_floor);',
        argument="const std::string&", bind="{o} = parse_rounding(a.{p}, call.operation());",
        default="none", python="Rounding", taken="text"),
    "non_finite": Kind(
        cpp="NonFinite {n} = NonFinite::{d};", write="c.flags |= static_cast<std::uint32_t>(non_finite_to({o}));",
        give="non_finite_name({o})", read="{o} = non_finite_from(place, c.flags);",
        argument="const std::string&", bind="{o} = parse_non_finite(a.{p}, call.operation());",
        default="propagate", python="NonFinite", taken="text"),
    "overflow": Kind(
        cpp="Overflow {n} = Overflow::saturate;", write="if ({o} == Overflow::ieee) c.flags |= OCTAVO_OVERFLOW_IEEE;",
        read="{o} = overflow_from(c.flags);", argument="bool",
        bind="{o} = a.{p} ? Overflow::saturate : Overflow::ieee;", default="True", python="bool",
        schema="bool", taken="flag"),
    "flag": Kind(
        cpp="bool {n} = false;", write="if ({o}) c.flags |= OCTAVO_{flag};", give="{o}",
        read="{o} = (c.flags & OCTAVO_{flag}) != 0;", argument="bool",
        bind="{o} = a.{p};", default="False", python="bool", schema="bool", taken="flag"),
    "subnormals": Kind(
        cpp="bool {n} = false;", read="{o} = (c.flags & OCTAVO_{flag}) != 0;",
        bind="{o} = parse_subnormals(a.{p}, call.operation());", python="Subnormals", schema="str?", taken="?text"),
    "float": Kind(
        cpp="float {n} = {d};", c="float {n};", c_size=4, read="{o} = static_cast<float>(c.{n});",
        write="c.{n} = {o};", give="{o}",
        argument="double", bind="{o} = static_cast<float>(a.{p});", default="0.0", python="float",
        taken="number"),
    "int": Kind(
        cpp="std::int32_t {n} = {d};", c="int32_t {n};", c_size=4, read="{o} = c.{n};",
        write="c.{n} = {o};", argument="std::int32_t", bind="{o} = a.{p};", give="{o}", default="0",
        python="int", taken="integer"),
    "chunks": Kind(
        cpp="std::int32_t {n} = 0;", read="{o} = c.{n};", argument="std::int32_t", bind="{o} = a.{p};",
        default="0", python="int", schema="int", taken="integer"),
    "column_list": Kind(
        c="const int64_t* {n};\nint64_t outlier_count;", bind="{o} = parse_columns(a.{p}, call.operation());",
        give="columns_of({o})", python="Any", taken="?columns"),
    "columns": Kind(
        cpp="TensorView {n}{{}};", c="const octavo_view* {n};",
        read='{o} = optional_view(place.of("{n}"), c.{n});', bind="{o} = call.columns(a.{p});", python="Any", taken="?columns"),
    "found": Kind(cpp="std::vector<std::int64_t>* {n} = nullptr;", c="int64_t* {n};\nint64_t* found_count;"),
    "activation": Kind(
        cpp="std::optional<ActivationQuant> {n}{{}};", c="const octavo_activation* {n};",
        read='if (c.{n} != nullptr) {o} = activation_from(place.of("{n}"), c.{n});',
        bind="{o} = parse_activation(call, a);"),
    "matmul": Kind(
        cpp="MatmulOptions {n}{{}};", c="int32_t k_chunks; /* as MatmulOptions has it */", c_size=4,
        read="{o} = matmul_from(c.flags, c.k_chunks);"),
    "quantize": Kind(
        cpp="QuantizeOptions {n}{{}};", c="const octavo_quantize_options* {n};",
        read='if (c.{n} != nullptr) {o} = options_from(place.of("{n}"), c.{n});'),
    "backend": Kind(
        cpp="const char* {n} = nullptr;", c="const char* {n};", read="{o} = c.{n};",
        argument="const Name&", bind="{o} = text_of(a.{p});", python="str | None", schema="str?", taken="?text"),
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
        value = {"infinity": "std::numeric_limits<float>::infinity()", "0.0": "0.0F", "1e-6": "1e-6F"}.get(self.default, self.default)
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
        return next((g for g in self.arguments if g.row.get("for") == option.name), None)


def read_options(table, name, inside=""):
    """A row may be another operation's, in part."""
    options = []
    for option, row in table[name]["options"].items():
        inner = inside
        if "of" in row:
            row = table[row["of"]]["options"][option] | row
            inner += "spec." if name == "activation" else ""
        kind = next(key for key in row if key in KINDS)
        options.append(Option(option, kind, row[kind], row, inner))
    return options


def read_operation(table, name, shared):
    options = read_options(table, name)
    arguments = []
    for o in options:
        if o.kind in shared:
            taken = o.row.get("python")
            arguments += [m for m in shared[o.kind] if m.python_name and (taken is None or m.python_name in taken)]
        elif o.kind != "out" and o.spelling.python and o.python_name:
            arguments.append(o)
    arguments += [o for o in options if o.kind == "out"]
    return Operation(name, table[name], options, arguments)


def read_table():
    """(flags, the operations by name)."""
    table = tomllib.loads((ROOT / TABLE).read_text())
    flags = table.pop("flags")
    shared = {"matmul": read_options(table, "matmul", "matmul."), "activation": read_options(table, "activation"),
              "quantize": read_options(table, "quantize", "quantize.")}
    return flags, {name: read_operation(table, name, shared) for name in table}


def wrapped(text, first, width, rest=None):
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=first if rest is None else rest,
                         break_long_words=False, break_on_hyphens=False)


def included(operations):
    """#include lines of the headers that declare their options."""
    headers = sorted({operation.row["header"] for operation in operations if "header" in operation.row})
    return "\n".join(f'#include "{header.removeprefix("include/")}"' for header in headers)
