// SPDX-License-Identifier: Apache-2.0
#include "activation.hpp"

namespace octavo::python {

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
  rule.static_scale = static_cast<float>(a.static_scale);
  rule.static_azp = a.static_azp;
  rule.vectorwise = a.llm_int8;
  rule.outlier_threshold = static_cast<float>(a.outlier_threshold);
  return rule;
}

ActivationQuant llm_int8_rule(Call& call, double threshold, bool whole_columns,
                              nb::handle outlier_columns) {
  ActivationQuant rule;
  rule.vectorwise = true;
  rule.outlier_threshold = static_cast<float>(threshold);
  rule.whole_columns = whole_columns;
  const TensorView columns = call.tensor(outlier_columns, "outlier_columns");
  if (columns.defined()) rule.outlier_columns = copy(columns, columns.dtype);
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
  d["static_scale"] = rule.static_scale;
  d["static_azp"] = rule.static_azp;
  d["llm_int8"] = rule.vectorwise;
  d["outlier_threshold"] = rule.outlier_threshold;
  return d;
}

}  // namespace octavo::python
