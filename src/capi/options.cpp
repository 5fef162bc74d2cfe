// SPDX-License-Identifier: Apache-2.0
// Written by api/ from api/operations.toml; `python3 api` writes it again.
// clang-format off
#include "capi/options.hpp"

namespace octavo::capi {

std::span<const FlagName> flag_names() noexcept {
  static constexpr FlagName kNames[] = {
      {OCTAVO_TRANS_A, "TRANS_A"},
      {OCTAVO_TRANS_B, "TRANS_B"},
      {OCTAVO_OFFS_PREFIX, "OFFS_PREFIX"},
      {OCTAVO_FAST_ACCUMULATION, "FAST_ACCUMULATION"},
      {OCTAVO_BATCH_INVARIANT, "BATCH_INVARIANT"},
      {OCTAVO_TORCH_COMPAT, "TORCH_COMPAT"},
      {OCTAVO_OVERFLOW_IEEE, "OVERFLOW_IEEE"},
      {OCTAVO_AZP, "AZP"},
      {OCTAVO_NON_FINITE_ERROR, "NON_FINITE_ERROR"},
      {OCTAVO_VECTORWISE, "VECTORWISE"},
      {OCTAVO_WHOLE_COLUMNS, "WHOLE_COLUMNS"},
      {OCTAVO_TRANSPOSED, "TRANSPOSED"},
      {OCTAVO_FLOAT32_GRADIENTS, "FLOAT32_GRADIENTS"},
      {OCTAVO_DEQUANTIZED_GRADIENTS, "DEQUANTIZED_GRADIENTS"},
      {OCTAVO_BY_ELEMENT, "BY_ELEMENT"},
      {OCTAVO_NON_FINITE_IGNORE, "NON_FINITE_IGNORE"},
      {OCTAVO_WIDEN, "WIDEN"},
      {OCTAVO_EXACT_SUBNORMALS, "EXACT_SUBNORMALS"},
  };
  return kNames;
}

MatmulOptions matmul_from(std::uint64_t flags) noexcept {
  MatmulOptions o;
  o.overflow = overflow_from(flags);
  o.fast_accumulation = (flags & OCTAVO_FAST_ACCUMULATION) != 0;
  o.batch_invariant = (flags & OCTAVO_BATCH_INVARIANT) != 0;
  o.torch_compat = (flags & OCTAVO_TORCH_COMPAT) != 0;
  o.exact_subnormals = (flags & OCTAVO_EXACT_SUBNORMALS) != 0;
  return o;
}

ScaledMmOptions options_from(const Place& place, const octavo_scaled_mm_options* given) {
  const octavo_scaled_mm_options c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_TRANS_A | OCTAVO_TRANS_B | OCTAVO_MATMUL_FLAGS);
  ScaledMmOptions o;
  o.scale_a = scale_from(place.of("scale_a"), c.scale_a);
  o.scale_b = scale_from(place.of("scale_b"), c.scale_b);
  o.bias = optional_view(place.of("bias"), c.bias);
  o.scale_result = scale_from(place.of("scale_result"), c.scale_result);
  o.out_dtype = dtype_or(place.of("out_dtype"), c.out_dtype, o.out_dtype);
  o.alpha = scale_from(place.of("alpha"), c.alpha);
  o.beta = scale_from(place.of("beta"), c.beta);
  o.c = optional_view(place.of("c"), c.c);
  o.azp = optional_view(place.of("azp"), c.azp);
  o.trans_a = (c.flags & OCTAVO_TRANS_A) != 0;
  o.trans_b = (c.flags & OCTAVO_TRANS_B) != 0;
  o.out = optional_view(place.of("out"), c.out);
  o.matmul = matmul_from(c.flags);
  o.backend = c.backend;
  return o;
}

LinearOptions options_from(const Place& place, const octavo_linear_options* given) {
  const octavo_linear_options c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_MATMUL_FLAGS);
  LinearOptions o;
  o.bias = optional_view(place.of("bias"), c.bias);
  o.out_dtype = dtype_or(place.of("out_dtype"), c.out_dtype, o.out_dtype);
  o.out = optional_view(place.of("out"), c.out);
  o.matmul = matmul_from(c.flags);
  o.backend = c.backend;
  o.outlier_columns = optional_view(place.of("outlier_columns"), c.outlier_columns);
  o.outlier_weight = optional_view(place.of("outlier_weight"), c.outlier_weight);
  return o;
}

GroupedListOptions options_from(const Place& place, const octavo_grouped_list_options* given) {
  const octavo_grouped_list_options c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_MATMUL_FLAGS);
  GroupedListOptions o;
  o.out_dtype = dtype_or(place.of("out_dtype"), c.out_dtype, o.out_dtype);
  o.matmul = matmul_from(c.flags);
  o.backend = c.backend;
  return o;
}

GroupedOptions options_from(const Place& place, const octavo_grouped_mm_options* given) {
  const octavo_grouped_mm_options c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_OFFS_PREFIX | OCTAVO_MATMUL_FLAGS);
  GroupedOptions o;
  o.offs = optional_view(place.of("offs"), c.offs);
  o.offs_prefix = (c.flags & OCTAVO_OFFS_PREFIX) != 0;
  o.bias = optional_view(place.of("bias"), c.bias);
  o.out_dtype = dtype_or(place.of("out_dtype"), c.out_dtype, o.out_dtype);
  o.scale_a = scale_from(place.of("scale_a"), c.scale_a);
  o.scale_b = scale_from(place.of("scale_b"), c.scale_b);
  o.alpha = scale_from(place.of("alpha"), c.alpha);
  o.beta = scale_from(place.of("beta"), c.beta);
  o.c = optional_view(place.of("c"), c.c);
  o.scale_result = scale_from(place.of("scale_result"), c.scale_result);
  o.out = optional_view(place.of("out"), c.out);
  o.matmul = matmul_from(c.flags);
  o.backend = c.backend;
  return o;
}

ScaledGroupedMmOptions options_from(const Place& place, const octavo_scaled_grouped_mm_options* given) {
  const octavo_scaled_grouped_mm_options c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_TRANS_B | OCTAVO_MATMUL_FLAGS);
  ScaledGroupedMmOptions o;
  o.scale = scale_from(place.of("scale"), c.scale);
  o.out_dtype = dtype_or(place.of("out_dtype"), c.out_dtype, o.out_dtype);
  o.trans_b = (c.flags & OCTAVO_TRANS_B) != 0;
  o.out = optional_view(place.of("out"), c.out);
  o.matmul = matmul_from(c.flags);
  o.backend = c.backend;
  return o;
}

functional::Options options_from(const Place& place, const octavo_functional_options* given) {
  const octavo_functional_options c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_FAST_ACCUMULATION | OCTAVO_TORCH_COMPAT);
  functional::Options o;
  o.bias = optional_view(place.of("bias"), c.bias);
  o.output_dtype = dtype_or(place.of("output_dtype"), c.output_dtype, o.output_dtype);
  o.offs = optional_view(place.of("offs"), c.offs);
  o.use_fast_accum = (c.flags & OCTAVO_FAST_ACCUMULATION) != 0;
  o.out = optional_view(place.of("out"), c.out);
  o.torch_compat = (c.flags & OCTAVO_TORCH_COMPAT) != 0;
  o.backend = c.backend;
  return o;
}

QuantizeOptions options_from(const Place& place, const octavo_quantize_options* given) {
  const octavo_quantize_options c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_AZP | OCTAVO_NON_FINITE_ERROR | OCTAVO_NON_FINITE_IGNORE | OCTAVO_OVERFLOW_IEEE | OCTAVO_WIDEN);
  QuantizeOptions o;
  o.dtype = dtype_or(place.of("dtype"), c.dtype, o.dtype);
  if (c.granularity != OCTAVO_AUTOMATIC) { o.granularity = granularity_from(place.of("granularity"), c.granularity, c.rows, c.cols); }
  o.side = enum_from(place.of("side"), c.side, Side::b);
  o.azp = (c.flags & OCTAVO_AZP) != 0;
  if (c.scale_ub != 0) o.scale_ub = static_cast<float>(c.scale_ub);
  o.min_scale = static_cast<float>(c.min_scale);
  o.qmax = static_cast<float>(c.qmax);
  o.rounding = enum_from(place.of("rounding"), c.rounding, ScaleRounding::mx_floor);
  o.scale_dtype = dtype_or(place.of("scale_dtype"), c.scale_dtype, o.scale_dtype);
  o.non_finite = non_finite_from(place, c.flags);
  o.overflow = overflow_from(c.flags);
  o.widen = (c.flags & OCTAVO_WIDEN) != 0;
  o.scale = scale_from(place.of("scale"), c.scale);
  o.azp_in = optional_view(place.of("azp_in"), c.azp_in);
  return o;
}

}  // namespace octavo::capi
