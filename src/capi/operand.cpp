// SPDX-License-Identifier: Apache-2.0
// What an operand consists of.
#include "capi/operand.hpp"

#include <algorithm>
#include <cmath>

namespace octavo::capi {
namespace {

Tensor columns_from(const Place& place, const octavo_activation& a) {
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

ActivationQuant activation_from(const Place& place, const octavo_activation* given) {
  require(place, given);
  const octavo_activation a = read_struct(place, given);
  check_flags(place, a.flags, kQuantizeFlags | OCTAVO_VECTORWISE | OCTAVO_WHOLE_COLUMNS);
  ActivationQuant rule;
  QuantizeSpec& s = rule.spec;
  s.dtype = dtype_or(place.of("dtype"), a.dtype, s.dtype);
  s.scale_dtype = dtype_or(place.of("scale_dtype"), a.scale_dtype, s.scale_dtype);
  if (a.granularity != OCTAVO_AUTOMATIC) {
    s.granularity = granularity_from(place.of("granularity"), a.granularity, a.rows, a.cols);
  }
  s.rounding = enum_from(place.of("rounding"), a.rounding, ScaleRounding::mx_floor);
  s.azp = (a.flags & OCTAVO_AZP) != 0;
  s.widen = (a.flags & OCTAVO_WIDEN) != 0;
  if (a.scale_ub != 0.0F) s.scale_ub = a.scale_ub;
  s.min_scale = a.min_scale;
  s.qmax = static_cast<float>(a.qmax);
  s.non_finite = non_finite_from(place, a.flags);
  s.overflow = overflow_from(a.flags);
  rule.vectorwise = (a.flags & OCTAVO_VECTORWISE) != 0;
  rule.outlier_threshold = a.outlier_threshold;
  rule.whole_columns = (a.flags & OCTAVO_WHOLE_COLUMNS) != 0;
  rule.outlier_columns = columns_from(place.of("outlier_columns"), a);
  rule.static_scale = a.static_scale;
  rule.static_azp = a.static_azp;
  rule.codes = optional_view(place.of("codes"), a.codes);
  rule.scales = optional_view(place.of("scales"), a.scales);
  return rule;
}

octavo_activation activation_to(const ActivationQuant& rule) noexcept {
  const QuantizeSpec& s = rule.spec;
  octavo_activation a = octavo_activation_init();
  a.dtype = dtype_to(s.dtype);
  a.scale_dtype = dtype_to(s.scale_dtype);
  a.granularity = static_cast<std::int32_t>(s.granularity.kind);
  a.rounding = static_cast<std::int32_t>(s.rounding);
  a.rows = s.granularity.rows;
  a.cols = s.granularity.cols;
  if (s.azp) a.flags |= OCTAVO_AZP;
  if (s.widen) a.flags |= OCTAVO_WIDEN;
  a.flags |= static_cast<std::uint32_t>(non_finite_to(s.non_finite));
  if (s.overflow == Overflow::ieee) a.flags |= OCTAVO_OVERFLOW_IEEE;
  if (rule.vectorwise) a.flags |= OCTAVO_VECTORWISE;
  if (rule.whole_columns) a.flags |= OCTAVO_WHOLE_COLUMNS;
  a.outlier_columns = rule.outlier_columns.data_as<const std::int64_t>();
  a.outlier_count = rule.outlier_columns.view().shape[0];
  a.scale_ub = std::isinf(s.scale_ub) ? 0.0F : s.scale_ub;
  a.min_scale = s.min_scale;
  a.qmax = static_cast<double>(s.qmax);
  a.outlier_threshold = rule.outlier_threshold;
  a.static_scale = rule.static_scale;
  a.static_azp = rule.static_azp;
  return a;
}

void give_activation(const Place& place, const std::optional<ActivationQuant>& rule,
                     octavo_activation* result) {
  if (!rule) {
    refuse(Code::invalid_argument, "{} must have an activation rule; got none", place.text());
  }
  write_struct({place.operation, "result"}, activation_to(*rule), result);
}

OperandArgument::OperandArgument(const Place& place, const octavo_operand* given) {
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
    operand_.quantise = &rule_;
  }
}

}  // namespace octavo::capi
