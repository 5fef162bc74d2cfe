// SPDX-License-Identifier: Apache-2.0
#include "activation.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <vector>

namespace octavo::python {
namespace {

nb::object columns_of(const Tensor& columns) {
  if (!columns.defined()) return nb::none();
  nb::list list;
  for (std::int64_t i = 0; i < columns.numel(); ++i) {
    list.append(columns.data_as<std::int64_t>()[i]);
  }
  return list;
}

}  // namespace

Tensor parse_columns(nb::handle columns, const char* operation) {
  if (columns.is_none()) return {};
  const nb::object list =
      nb::hasattr(columns, "tolist") ? columns.attr("tolist")() : nb::borrow(columns);
  std::vector<std::int64_t> values;
  if (!nb::try_cast(list, values)) {
    throw nb::type_error((std::string(operation) + ": outlier_columns must be integers; got " +
                          nb::cast<std::string>(nb::repr(columns)))
                             .c_str());
  }
  const Tensor tensor = Tensor::empty(DType::int64, {static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.data_as<std::int64_t>());
  return tensor;
}

std::optional<ActivationQuant> parse_activation(const Call& call, const ActivationArguments& a) {
  if (a.dtype.is_none()) return std::nullopt;
  ActivationQuant rule;
  rule.spec.dtype = call.dtype(a.dtype, "activation");
  rule.spec.granularity =
      parse_granularity(a.granularity, call.operation(), "activation_granularity");
  rule.spec.azp = a.azp;
  rule.spec.scale_ub = static_cast<float>(a.scale_ub);
  rule.spec.min_scale = static_cast<float>(a.min_scale);
  rule.spec.qmax = static_cast<float>(a.qmax);
  rule.spec.rounding = parse_rounding(a.rounding, call.operation());
  rule.spec.non_finite = parse_non_finite(a.non_finite, call.operation());
  rule.spec.widen = a.widen;
  rule.static_scale = static_cast<float>(a.static_scale);
  rule.static_azp = a.static_azp;
  rule.vectorwise = a.llm_int8;
  rule.outlier_threshold = static_cast<float>(a.outlier_threshold);
  rule.whole_columns = a.whole_columns;
  rule.outlier_columns = parse_columns(a.outlier_columns, call.operation());
  return rule;
}

void give_columns(const std::vector<std::int64_t>& found, nb::handle list) {
  list.attr("clear")();
  for (const std::int64_t column : found) list.attr("append")(column);
}

ActivationQuant llm_int8_rule(const Call& call, double threshold, bool whole_columns,
                              nb::handle outlier_columns) {
  ActivationQuant rule;
  rule.vectorwise = true;
  rule.outlier_threshold = static_cast<float>(threshold);
  rule.whole_columns = whole_columns;
  rule.outlier_columns = parse_columns(outlier_columns, call.operation());
  return rule;
}

nb::object activation_of(const std::optional<ActivationQuant>& activation) {
  if (!activation) return nb::none();
  const ActivationQuant& rule = *activation;
  nb::dict d;
  d["activation"] = std::string(name(rule.spec.dtype));
  d["activation_granularity"] = to_string(rule.spec.granularity);
  d["azp"] = rule.spec.azp;
  d["scale_ub"] = rule.spec.scale_ub;
  d["min_scale"] = rule.spec.min_scale;
  d["qmax"] = rule.spec.qmax;
  d["rounding"] = rounding_name(rule.spec.rounding);
  d["non_finite"] = non_finite_name(rule.spec.non_finite);
  d["widen"] = rule.spec.widen;
  d["static_scale"] = rule.static_scale;
  d["static_azp"] = rule.static_azp;
  d["llm_int8"] = rule.vectorwise;
  d["outlier_threshold"] = rule.outlier_threshold;
  d["whole_columns"] = rule.whole_columns;
  d["outlier_columns"] = columns_of(rule.outlier_columns);
  return d;
}

}  // namespace octavo::python
