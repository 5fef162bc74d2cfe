// SPDX-License-Identifier: Apache-2.0
// What an operand consists of.
#include "capi/operand.hpp"

#include <algorithm>

#include "capi/options.hpp"

namespace octavo::capi {
namespace {

Tensor columns_from(const ArgumentPath& place, const octavo_activation& a) {
  if (a.outlier_count == 0) return {};
  if (a.outlier_count < 0 || a.outlier_columns == nullptr) {
    refuse(Code::invalid_argument, "{} must have outlier_count elements, at least 0; got {}{}",
           place.text(), a.outlier_columns == nullptr ? "NULL and " : "", a.outlier_count);
  }
  const Tensor columns = Tensor::empty(DType::int64, {a.outlier_count});
  std::copy_n(a.outlier_columns, a.outlier_count, columns.data_as<std::int64_t>());
  return columns;
}

}  // namespace

ActivationQuant activation_from(const ArgumentPath& place, const octavo_activation* given) {
  require(place, given);
  ActivationQuant rule = options_from(place, given);
  rule.outlier_columns = columns_from(place.of("outlier_columns"), read_struct(place, given));
  return rule;
}

void give_activation(const ArgumentPath& place, const std::optional<ActivationQuant>& rule,
                     octavo_activation* result) {
  if (!rule) {
    refuse(Code::invalid_argument, "{} must have an activation rule; got none", place.text());
  }
  write_struct({place.operation, "result"}, activation_to(*rule), result);
}

OperandArgument::OperandArgument(const ArgumentPath& place, const octavo_operand* given) {
  require(place, given);
  const octavo_operand o = read_struct(place, given);
  check_flags(place, o.flags, OCTAVO_TRANSPOSED);
  const int kinds = (o.data != nullptr) + (o.quantized != nullptr) + (o.packed != nullptr);
  if (kinds != 1) {
    refuse(Code::invalid_argument, "{} must have exactly one of data, quantized and packed; got {}",
           place.text(), kinds);
  }
  if (o.data != nullptr) operand_ = Operand(view_from(place.of("data"), o.data));
  if (o.quantized != nullptr) operand_ = Operand(o.quantized->value);
  if (o.packed != nullptr) operand_ = Operand(o.packed->value);
  if ((o.flags & OCTAVO_TRANSPOSED) != 0) {
    if (o.packed != nullptr) {
      refuse(Code::invalid_argument, "{} must be without TRANSPOSED for a packed weight; got it",
             place.of("flags").text());
    }
    operand_ = operand_.transposed();
  }
  if (o.activation != nullptr) {
    rule_ = activation_from(place.of("activation"), o.activation);
    operand_.quantize = &rule_;
  }
}

}  // namespace octavo::capi
