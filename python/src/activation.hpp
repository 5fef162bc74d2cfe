// SPDX-License-Identifier: Apache-2.0
// Activation rules as pack's arguments, and back.
#pragma once

#include <nanobind/stl/optional.h>

#include <limits>
#include <optional>
#include <string>
#include <vector>

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
  std::string non_finite = "propagate";
  bool widen = false;
  double static_scale = 0.0;
  std::int32_t static_azp = 0;
  bool llm_int8 = false;
  double outlier_threshold = 0.0;
  bool whole_columns = false;
  nb::handle outlier_columns;
};

std::optional<ActivationQuant> parse_activation(const Call& call, const ActivationArguments& a);

/// The contents of a caller's list become these columns.
void give_columns(const std::vector<std::int64_t>& found, nb::handle list);

/// LLM.int8's rule; outlier_columns as in parse_columns.
ActivationQuant llm_int8_rule(const Call& call, double threshold, bool whole_columns,
                              nb::handle outlier_columns);

/// The same as keyword arguments of octavo.pack, or None.
nb::object activation_of(const std::optional<ActivationQuant>& activation);

/// Defines a function that packs a weight with a scale and an activation rule: `Body(weight, scale,
/// granularity, rule, backend)`.
template <auto Body>
void define_pack(nb::module_& m, const char* name, const char* doc) {
  using H = nb::handle;
  const auto call =
      [](H weight, H scale, H granularity, H activation, const std::string& activation_granularity,
         bool azp, double scale_ub, double min_scale, double qmax, const std::string& rounding,
         const std::string& non_finite, bool widen, double static_scale, std::int32_t static_azp,
         bool llm_int8, double outlier_threshold, bool whole_columns, H outlier_columns,
         const std::optional<std::string>& backend) {
        return Body(weight, scale, granularity,
                    {activation, activation_granularity, azp, scale_ub, min_scale, qmax, rounding,
                     non_finite, widen, static_scale, static_azp, llm_int8, outlier_threshold,
                     whole_columns, outlier_columns},
                    backend);
      };
  m.def(name, call, nb::arg("weight"), nb::arg("scale") = nb::borrow(undefined_object),
        nb::kw_only(), nb::arg("granularity").none() = nb::none(),
        nb::arg("activation").none() = nb::none(), nb::arg("activation_granularity") = "token",
        nb::arg("azp") = false, nb::arg("scale_ub") = std::numeric_limits<double>::infinity(),
        nb::arg("min_scale") = 0.0, nb::arg("qmax") = 0.0, nb::arg("rounding") = "none",
        nb::arg("non_finite") = "propagate", nb::arg("widen") = false,
        nb::arg("static_scale") = 0.0, nb::arg("static_azp") = 0, nb::arg("llm_int8") = false,
        nb::arg("outlier_threshold") = 0.0, nb::arg("whole_columns") = false,
        nb::arg("outlier_columns").none() = nb::none(), nb::arg("backend").none() = nb::none(),
        doc);
}

}  // namespace octavo::python
