// SPDX-License-Identifier: Apache-2.0
// LLM.int8's rule, and activation rules as pack's arguments.
#pragma once

#include <optional>
#include <vector>

#include "arguments.hpp"

namespace octavo::python {

/// The contents of a caller's list become these columns.
void give_columns(const std::vector<std::int64_t>& found, nb::handle list);

/// LLM.int8's rule; outlier_columns as in parse_columns.
ActivationQuant llm_int8_rule(const Call& call, double threshold, bool whole_columns,
                              nb::handle outlier_columns);

/// A rule as keyword arguments of octavo.pack, or None.
nb::object activation_of(const std::optional<ActivationQuant>& activation);

}  // namespace octavo::python
