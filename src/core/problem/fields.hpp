// SPDX-License-Identifier: Apache-2.0
// Every field of the structs that a problem is made of, for code that must not forget one: the plan
// cache's key, and the tests that change a problem field by field. The structured bindings name all
// of them, so a field that is added to a struct does not compile until it is added here.
#pragma once

#include <concepts>
#include <type_traits>

#include "octavo/problem.hpp"

namespace octavo {

template <class T, class Struct>
concept FieldsOf = std::same_as<std::remove_const_t<T>, Struct>;

/// Calls visit(name, field) for each field, in their order.
template <FieldsOf<Device> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [type, index] = v;
  visit("type", type);
  visit("index", index);
}

template <FieldsOf<TensorView> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [data, dtype, device, rank, shape, strides] = v;
  visit("data", data);
  visit("dtype", dtype);
  visit("device", device);
  visit("rank", rank);
  visit("shape", shape);
  visit("strides", strides);
}

template <FieldsOf<Elements> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [data, strides, dtype, device] = v;
  visit("data", data);
  visit("strides", strides);
  visit("dtype", dtype);
  visit("device", device);
}

// Two classes have no common bindings; the header holds its size.
template <FieldsOf<MatrixView> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  using Base = std::conditional_t<std::is_const_v<T>, const Elements, Elements>;
  for_each_field(static_cast<Base&>(v), visit);
  visit("shape", v.shape);
}

template <class T, class Visit>
requires(FieldsOf<T, ScaleView> ||
         FieldsOf<T, CarriedScale>) void for_each_field(T& v, const Visit& visit) {
  auto& [kind, number, data, rows, cols, row0, col0] = v;
  visit("kind", kind);
  visit("number", number);
  visit("data", data);
  visit("rows", rows);
  visit("cols", cols);
  visit("row0", row0);
  visit("col0", col0);
}

template <FieldsOf<Granularity> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [kind, rows, cols] = v;
  visit("kind", kind);
  visit("rows", rows);
  visit("cols", cols);
}

template <FieldsOf<QuantizeSpec> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [dtype, granularity, azp, scale_ub, min_scale, qmax, rounding, scale_dtype, non_finite,
         overflow, widen] = v;
  visit("dtype", dtype);
  visit("granularity", granularity);
  visit("azp", azp);
  visit("scale_ub", scale_ub);
  visit("min_scale", min_scale);
  visit("qmax", qmax);
  visit("rounding", rounding);
  visit("scale_dtype", scale_dtype);
  visit("non_finite", non_finite);
  visit("overflow", overflow);
  visit("widen", widen);
}

template <FieldsOf<ActivationQuant> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [spec, vectorwise, outlier_threshold, whole_columns, outlier_columns, static_scale,
         static_azp, rotation, codes, scales, found_columns, found_count] = v;
  visit("spec", spec);
  visit("vectorwise", vectorwise);
  visit("outlier_threshold", outlier_threshold);
  visit("whole_columns", whole_columns);
  visit("outlier_columns", outlier_columns);
  visit("static_scale", static_scale);
  visit("static_azp", static_azp);
  visit("rotation", rotation);
  visit("codes", codes);
  visit("scales", scales);
  visit("found_columns", found_columns);
  visit("found_count", found_count);
}

template <FieldsOf<OperandView> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [data, scale, azp, packed, quantize] = v;
  visit("data", data);
  visit("scale", scale);
  visit("azp", azp);
  visit("packed", packed);
  visit("quantize", quantize);
}

template <FieldsOf<Factor> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [kind, number, data] = v;
  visit("kind", kind);
  visit("number", number);
  visit("data", data);
}

template <FieldsOf<ColumnList> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [data, count, stride] = v;
  visit("data", data);
  visit("count", count);
  visit("stride", stride);
}

template <FieldsOf<Outliers> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [a, columns, weight, threshold, whole] = v;
  visit("a", a);
  visit("columns", columns);
  visit("weight", weight);
  visit("threshold", threshold);
  visit("whole", whole);
}

template <FieldsOf<Epilogue> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [alpha, beta, scale_result, c, bias, outliers] = v;
  visit("alpha", alpha);
  visit("beta", beta);
  visit("scale_result", scale_result);
  visit("c", c);
  visit("bias", bias);
  visit("outliers", outliers);
}

template <FieldsOf<Member> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [a, b, epilogue, out] = v;
  visit("a", a);
  visit("b", b);
  visit("epilogue", epilogue);
  visit("out", out);
}

template <FieldsOf<GroupSteps> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [a, b, scale_a, scale_b, c, bias, out] = v;
  visit("a", a);
  visit("b", b);
  visit("scale_a", scale_a);
  visit("scale_b", scale_b);
  visit("c", c);
  visit("bias", bias);
  visit("out", out);
}

template <FieldsOf<Groups> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [split, list, count, steps, offs, prefix, start_alignment] = v;
  visit("split", split);
  visit("list", list);
  visit("count", count);
  visit("steps", steps);
  visit("offs", offs);
  visit("prefix", prefix);
  visit("start_alignment", start_alignment);
}

template <FieldsOf<MatmulOptions> T, class Visit>
void for_each_field(T& v, const Visit& visit) {
  auto& [overflow, fast_accumulation, batch_invariant, torch_compat, k_chunks, exact_subnormals] =
      v;
  visit("overflow", overflow);
  visit("fast_accumulation", fast_accumulation);
  visit("batch_invariant", batch_invariant);
  visit("torch_compat", torch_compat);
  visit("k_chunks", k_chunks);
  visit("exact_subnormals", exact_subnormals);
}

template <class T>
concept HasFields = requires(T& v) {
  for_each_field(v, [](const char*, auto&) {});
};

}  // namespace octavo
