// SPDX-License-Identifier: Apache-2.0
// Activation rules as pack's arguments, and back.
#pragma once

#include <limits>
#include <optional>
#include <string>

#include "arguments.hpp"

namespace octavo::python {

/// How activations meet a weight, as Python says it. A dtype of None: as they are.
struct ActivationArguments {
  nb::handle dtype;
  std::string granularity = "token";
  bool azp = false;
  double scale_ub = std::numeric_limits<double>::infinity();
  double min_scale = 0.0;
  double qmax = 0.0;
  std::string rounding = "none";
  double static_scale = 0.0;
  std::int32_t static_azp = 0;
  bool llm_int8 = false;
  double outlier_threshold = 0.0;
};
std::optional<ActivationQuant> parse_activation(const Call& call, const ActivationArguments& a);

/// The same as keyword arguments of octavo.pack, or None.
nb::object activation_of(const std::optional<ActivationQuant>& activation);

}  // namespace octavo::python
