// SPDX-License-Identifier: Apache-2.0
#include "activation.hpp"

#include <nanobind/stl/vector.h>

#include <algorithm>

#include "options.hpp"

namespace octavo::python {

Tensor parse_columns(nb::handle columns, const char* operation) {
  if (columns.is_none()) return {};
  std::vector<std::int64_t> values;
  bool integers = false;
  try {
    const nb::object list =
        nb::hasattr(columns, "tolist") ? columns.attr("tolist")() : nb::borrow(columns);
    integers = nb::try_cast(list, values);
  } catch (const nb::python_error&) {  // a tensor without elements to read: sparse, meta
  }
  if (!integers) {
    raise(Code::invalid_argument,
          std::string(operation) + ": outlier_columns must be integers; got " + shown(columns));
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
