# SPDX-License-Identifier: Apache-2.0
"""python/src/options.hpp: the arguments of the extension module's functions."""

from table import NOTE, QUOTED, included

INPUTS = {"PackedWeight": "const PackedWeight&", "ExpertWeights": "const ExpertWeights&"}
DEFAULTS = {"UNDEFINED": "undefined", "undefined": "nb::none()", "None": "nb::none()", "True": "true",
            "False": "false", "infinity": "std::numeric_limits<double>::infinity()"}


def declared(operation):
    """(type, name) of every argument."""
    inputs = [(INPUTS.get(row[0], "nb::handle"), name) for name, row in operation.inputs.items()]
    return inputs + [(o.spelling.argument, o.python_name) for o in operation.arguments]


def argument(o):
    value = DEFAULTS.get(o.default, f'"{o.default}"' if o.kind in QUOTED else o.default)
    nullable = ".none()" if o.spelling.argument == "nb::handle" and o.kind not in QUOTED or "none" in value else ""
    return f'nb::arg("{o.python_name}"){nullable} = {value}'


def bound(operation):
    options = [row for o in operation.options
               for row in ([a for a in operation.arguments if a.inside == f"{o.kind}."] if o.kind in ("matmul", "quantize") else [o])]
    for o in options:
        if o.spelling.bind and o.python_name:
            named = operation.granularity_of(o)
            yield o.text(o.spelling.bind, granularity=f"a.{named.name}" if named else "nb::none()")


def part(operation):
    fields = "".join(f"  {type} {name};\n" for type, name in declared(operation))
    binds = "".join(f"  {line}\n" for line in bound(operation))
    typed = ", ".join(f"{type} {name}" for type, name in declared(operation))
    names = ", ".join(name for _, name in declared(operation))
    arguments = [f'nb::arg("{name}")' for name in operation.inputs] + [argument(o) for o in operation.arguments]
    arguments = ",\n        ".join(arguments)
    undefined = "  const nb::object undefined = nb::borrow(undefined_object);\n" if "= undefined" in arguments else ""
    return f"""
struct {operation.type} {{
{fields}}};

inline {operation.row["cpp"]} options_of(Call& call, const {operation.type}& a) {{
  {operation.row["cpp"]} o;
{binds}  return o;
}}

template <auto Body, class... Head, class... Names>
void define_{operation.name}(nb::module_& m, const char* name, const char* doc, const Names&... names) {{
  const auto call = [](Head... head, {typed}) {{
    return apply<Body>({operation.type}{{{names}}}, head...);
  }};
{undefined}  m.def(name, call, names..., {arguments}, doc);
}}
"""


def given(activation):
    """An activation rule as pack's arguments."""
    for o in activation.options:
        if o.python_name and o.spelling.give:
            yield f'  d["{o.python_name}"] = {o.text(o.spelling.give)};\n'


def header(operations, activation):
    rule = "".join(f"  {o.text(o.spelling.bind)}\n" for o in activation.options if o.python_name and o.spelling.bind)
    return f"""\
// SPDX-License-Identifier: Apache-2.0
// {NOTE}
// clang-format off
// The arguments of the operations' functions, and what C++'s options they are.
//
// define_<operation><Body, Head...>(m, name, doc, names...) defines a function with these arguments,
// after those of `Head`, called `names`: it calls Body(arguments), or Body({{head...}}, arguments).
#pragma once

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <limits>
#include <optional>
#include <string>

#include "tensors/arguments.hpp"
{included(operations)}

namespace octavo::python {{

using Name = std::optional<std::string>;
inline const char* text_of(const Name& name) noexcept {{ return name ? name->c_str() : nullptr; }}

/// The rule among the arguments of a function that packs.
template <class Arguments>
std::optional<ActivationQuant> parse_activation(Call& call, const Arguments& a) {{
  if (a.activation.is_none()) return std::nullopt;
  ActivationQuant o;
{rule}  return o;
}}

/// The same as those arguments.
inline nb::dict arguments_of(const ActivationQuant& o) {{
  nb::dict d;
{"".join(given(activation))}  return d;
}}
{"".join(part(operation) for operation in operations)}
}}  // namespace octavo::python
"""
