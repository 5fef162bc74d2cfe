# SPDX-License-Identifier: Apache-2.0
"""src/capi/options.*: C's options as C++'s."""

from headers import flags_of, has_flags
from table import NOTE, included


def options_type(operation):
    space = operation.row.get("space")
    return (space + "::" if space else "") + operation.row["cpp"]


def reader(operation):
    return f"{options_type(operation)} options_from(const ArgumentPath& place, const {operation.c}* given)"


def assignment(o):
    if o.kind in ("float", "int") and float(o.default) != 0:  # C's 0 is the default
        return f"if (c.{o.name} != 0) {o.text(o.spelling.read)}"
    return o.text(o.spelling.read)


def header(operations):
    readers = "".join(f"{reader(operation)};\n" for operation in operations)
    return f"""\
// SPDX-License-Identifier: Apache-2.0
// {NOTE}
// clang-format off
// C's options as C++'s. Lists and places of further results are read where they are used.
#pragma once

#include "capi/operand.hpp"
{included(operations)}

namespace octavo::capi {{

/// What every product takes.
MatmulOptions matmul_from(std::uint64_t flags, std::int32_t k_chunks) noexcept;

/// An activation rule in C. Its columns are the rule's.
octavo_activation activation_to(const ActivationQuant& o) noexcept;

/// `place` is that of the options.
{readers}
/// All flags and their names in sentences.
std::span<const FlagName> flag_names() noexcept;

}}  // namespace octavo::capi
"""


def written(o):
    """Back to C, where 0 is the default."""
    text = o.text(o.spelling.write)
    return f"if (!std::isinf({o.text('{o}')})) {text}" if o.default == "infinity" else text


def source(flags, by_name, operations):
    names = "".join(f'      {{OCTAVO_{name}, "{name}"}},\n' for name in flags)
    of_products = "".join(f"  {assignment(o)}\n" for o in by_name["matmul"].options)
    back = "".join(f"  {written(o)}\n" for o in by_name["activation"].options if o.spelling.write)
    of_products = of_products.replace("c.", "").replace("o.matmul.", "o.")
    return f"""\
// SPDX-License-Identifier: Apache-2.0
// {NOTE}
// clang-format off
#include "capi/options.hpp"

#include <cmath>

namespace octavo::capi {{

std::span<const FlagName> flag_names() noexcept {{
  static constexpr FlagName kNames[] = {{
{names}  }};
  return kNames;
}}

MatmulOptions matmul_from(std::uint64_t flags, std::int32_t k_chunks) noexcept {{
  MatmulOptions o;
{of_products}  return o;
}}

octavo_activation activation_to(const ActivationQuant& o) noexcept {{
  octavo_activation c = octavo_activation_init();
{back}  c.outlier_columns = o.outlier_columns.data_as<const std::int64_t>();
  c.outlier_count = o.outlier_columns.view().shape[0];
  return c;
}}
{"".join(definition(operation) for operation in operations)}
}}  // namespace octavo::capi
"""


def definition(operation):
    allowed = " | ".join(f"OCTAVO_{flag}" for flag in flags_of(operation)) or "0"
    check = f"  check_flags(place, c.flags, {allowed});\n" if has_flags(operation) else ""
    body = "".join(f"  {assignment(o)}\n" for o in operation.options if o.spelling.read)
    return f"""
{reader(operation)} {{
  const {operation.c} c = read_struct(place, given);
{check}  {options_type(operation)} o;
{body}  return o;
}}
"""


def fields(operation):
    """Of C's struct, what points to descriptors of tensors."""
    for o in operation.options:
        if o.spelling.c in ("octavo_scale {n};", "const octavo_view* {n};"):
            yield f'  visit("{o.name}", &{operation.c}::{o.name});\n'


def tests(operations):
    walks = "".join(f"""
template <class Visit>
void each_tensor(const {operation.c}&, const Visit& visit) {{
{"".join(fields(operation))}}}
""" for operation in operations if any(fields(operation)))
    return f"""\
// SPDX-License-Identifier: Apache-2.0
// {NOTE}
// clang-format off
// Every tensor among the options of C's operations: visit(name, field).
#pragma once

#include "octavo/octavo.h"

namespace octavo::test {{
{walks}
}}  // namespace octavo::test
"""
