// SPDX-License-Identifier: Apache-2.0
// Activation rules as pack's arguments, and back.
#pragma once

#include <optional>
#include <string>

#include "arguments.hpp"

namespace octavo::python {

/// How activations meet a weight: a data type and a granularity, or LLM.int8; None: as they are.
std::optional<ActivationQuant> parse_activation(const Call& call, nb::handle dtype,
                                                const std::string& granularity, bool azp,
                                                double outlier_threshold, bool llm_int8);

/// The same as keyword arguments, or None.
nb::object activation_of(const std::optional<ActivationQuant>& activation);

}  // namespace octavo::python
