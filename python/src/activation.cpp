// SPDX-License-Identifier: Apache-2.0
#include "activation.hpp"

#include <nanobind/stl/vector.h>

#include <algorithm>

#include "options.hpp"

namespace octavo::python {

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

nb::object columns_of(const Tensor& columns) {
  if (!columns.defined()) return nb::none();
  const Place host{Device{}, stream_of_caller(columns.device())};
  const Tensor here = columns.device() == host.device ? columns : columns.to(host);
  nb::list list;
  for (std::int64_t i = 0; i < here.numel(); ++i) {
    list.append(here.data_as<std::int64_t>()[i]);
  }
  return list;
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
  return arguments_of(*activation);
}

}  // namespace octavo::python
