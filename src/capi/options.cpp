// SPDX-License-Identifier: Apache-2.0
// Written by api/ from api/operations.toml; `python3 api` writes it again.
// clang-format off
#include "capi/options.hpp"

#include <cmath>

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
      {OCTAVO_BIDIRECTIONAL, "BIDIRECTIONAL"},
  };
  return kNames;
}

MatmulOptions matmul_from(std::uint64_t flags, std::int32_t k_chunks) noexcept {
  MatmulOptions o;
  o.overflow = overflow_from(flags);
  o.fast_accumulation = (flags & OCTAVO_FAST_ACCUMULATION) != 0;
  o.batch_invariant = (flags & OCTAVO_BATCH_INVARIANT) != 0;
  o.torch_compat = (flags & OCTAVO_TORCH_COMPAT) != 0;
  o.k_chunks = k_chunks;
  o.exact_subnormals = (flags & OCTAVO_EXACT_SUBNORMALS) != 0;
  return o;
}

octavo_activation activation_to(const ActivationQuant& o) noexcept {
  octavo_activation c = octavo_activation_init();
  c.dtype = dtype_to(o.spec.dtype);
  c.granularity = static_cast<std::int32_t>(o.spec.granularity.kind), c.rows = o.spec.granularity.rows, c.cols = o.spec.granularity.cols;
  if (o.spec.azp) c.flags |= OCTAVO_AZP;
  if (!std::isinf(o.spec.scale_ub)) c.scale_ub = o.spec.scale_ub;
  c.min_scale = o.spec.min_scale;
  c.qmax = o.spec.qmax;
  c.rounding = static_cast<std::int32_t>(o.spec.rounding);
  c.scale_dtype = dtype_to(o.spec.scale_dtype);
  c.flags |= static_cast<std::uint32_t>(non_finite_to(o.spec.non_finite));
  if (o.spec.overflow == Overflow::ieee) c.flags |= OCTAVO_OVERFLOW_IEEE;
  if (o.spec.widen) c.flags |= OCTAVO_WIDEN;
  c.static_scale = o.static_scale;
  c.static_azp = o.static_azp;
  c.rotation = o.rotation;
  if (o.vectorwise) c.flags |= OCTAVO_VECTORWISE;
  c.outlier_threshold = o.outlier_threshold;
  if (o.whole_columns) c.flags |= OCTAVO_WHOLE_COLUMNS;
  c.outlier_columns = o.outlier_columns.data_as<const std::int64_t>();
  c.outlier_count = o.outlier_columns.view().shape[0];
  return c;
}

ScaledMmOptions options_from(const ArgumentPath& place, const octavo_scaled_mm_options* given) {
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
  o.matmul = matmul_from(c.flags, c.k_chunks);
  o.backend = c.backend;
  return o;
}

LinearOptions options_from(const ArgumentPath& place, const octavo_linear_options* given) {
  const octavo_linear_options c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_MATMUL_FLAGS);
  LinearOptions o;
  o.bias = optional_view(place.of("bias"), c.bias);
  o.out_dtype = dtype_or(place.of("out_dtype"), c.out_dtype, o.out_dtype);
  o.out = optional_view(place.of("out"), c.out);
  o.matmul = matmul_from(c.flags, c.k_chunks);
  o.backend = c.backend;
  o.outlier_columns = optional_view(place.of("outlier_columns"), c.outlier_columns);
  o.outlier_weight = optional_view(place.of("outlier_weight"), c.outlier_weight);
  return o;
}

GroupedListOptions options_from(const ArgumentPath& place, const octavo_grouped_list_options* given) {
  const octavo_grouped_list_options c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_MATMUL_FLAGS);
  GroupedListOptions o;
  o.out_dtype = dtype_or(place.of("out_dtype"), c.out_dtype, o.out_dtype);
  o.matmul = matmul_from(c.flags, c.k_chunks);
  o.backend = c.backend;
  return o;
}

GroupedOptions options_from(const ArgumentPath& place, const octavo_grouped_mm_options* given) {
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
  o.matmul = matmul_from(c.flags, c.k_chunks);
  o.backend = c.backend;
  return o;
}

ScaledGroupedMmOptions options_from(const ArgumentPath& place, const octavo_scaled_grouped_mm_options* given) {
  const octavo_scaled_grouped_mm_options c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_TRANS_B | OCTAVO_MATMUL_FLAGS);
  ScaledGroupedMmOptions o;
  o.scale = scale_from(place.of("scale"), c.scale);
  o.out_dtype = dtype_or(place.of("out_dtype"), c.out_dtype, o.out_dtype);
  o.trans_b = (c.flags & OCTAVO_TRANS_B) != 0;
  o.out = optional_view(place.of("out"), c.out);
  o.matmul = matmul_from(c.flags, c.k_chunks);
  o.backend = c.backend;
  return o;
}

functional::Options options_from(const ArgumentPath& place, const octavo_functional_options* given) {
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

QuantizeOptions options_from(const ArgumentPath& place, const octavo_quantize_options* given) {
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

ActivationQuant options_from(const ArgumentPath& place, const octavo_activation* given) {
  const octavo_activation c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_AZP | OCTAVO_NON_FINITE_ERROR | OCTAVO_NON_FINITE_IGNORE | OCTAVO_OVERFLOW_IEEE | OCTAVO_WIDEN | OCTAVO_VECTORWISE | OCTAVO_WHOLE_COLUMNS);
  ActivationQuant o;
  o.spec.dtype = dtype_or(place.of("dtype"), c.dtype, o.spec.dtype);
  if (c.granularity != OCTAVO_AUTOMATIC) { o.spec.granularity = granularity_from(place.of("granularity"), c.granularity, c.rows, c.cols); }
  o.spec.azp = (c.flags & OCTAVO_AZP) != 0;
  if (c.scale_ub != 0) o.spec.scale_ub = static_cast<float>(c.scale_ub);
  o.spec.min_scale = static_cast<float>(c.min_scale);
  o.spec.qmax = static_cast<float>(c.qmax);
  o.spec.rounding = enum_from(place.of("rounding"), c.rounding, ScaleRounding::mx_floor);
  o.spec.scale_dtype = dtype_or(place.of("scale_dtype"), c.scale_dtype, o.spec.scale_dtype);
  o.spec.non_finite = non_finite_from(place, c.flags);
  o.spec.overflow = overflow_from(c.flags);
  o.spec.widen = (c.flags & OCTAVO_WIDEN) != 0;
  o.static_scale = static_cast<float>(c.static_scale);
  o.static_azp = c.static_azp;
  o.rotation = c.rotation;
  o.vectorwise = (c.flags & OCTAVO_VECTORWISE) != 0;
  o.outlier_threshold = static_cast<float>(c.outlier_threshold);
  o.whole_columns = (c.flags & OCTAVO_WHOLE_COLUMNS) != 0;
  o.codes = optional_view(place.of("codes"), c.codes);
  o.scales = optional_view(place.of("scales"), c.scales);
  return o;
}

RotateOptions options_from(const ArgumentPath& place, const octavo_rotate_options* given) {
  const octavo_rotate_options c = read_struct(place, given);
  RotateOptions o;
  if (c.block != 0) o.block = c.block;
  o.out_dtype = dtype_or(place.of("out_dtype"), c.out_dtype, o.out_dtype);
  o.out = optional_view(place.of("out"), c.out);
  o.backend = c.backend;
  return o;
}

PackOptions options_from(const ArgumentPath& place, const octavo_pack_options* given) {
  const octavo_pack_options c = read_struct(place, given);
  PackOptions o;
  o.scale = scale_from(place.of("scale"), c.scale);
  if (c.activation != nullptr) o.activation = activation_from(place.of("activation"), c.activation);
  o.backend = c.backend;
  return o;
}

SiluAndMulQuantizeOptions options_from(const ArgumentPath& place, const octavo_silu_and_mul_quantize_options* given) {
  const octavo_silu_and_mul_quantize_options c = read_struct(place, given);
  SiluAndMulQuantizeOptions o;
  if (c.quantize != nullptr) o.quantize = options_from(place.of("quantize"), c.quantize);
  o.backend = c.backend;
  return o;
}

RmsNormOptions options_from(const ArgumentPath& place, const octavo_rms_norm_options* given) {
  const octavo_rms_norm_options c = read_struct(place, given);
  check_flags(place, c.flags, 0);
  RmsNormOptions o;
  o.weight = optional_view(place.of("weight"), c.weight);
  if (c.epsilon != 0) o.epsilon = static_cast<float>(c.epsilon);
  o.residual = optional_view(place.of("residual"), c.residual);
  o.out = optional_view(place.of("out"), c.out);
  o.backend = c.backend;
  return o;
}

RmsNormQuantizeOptions options_from(const ArgumentPath& place, const octavo_rms_norm_quantize_options* given) {
  const octavo_rms_norm_quantize_options c = read_struct(place, given);
  check_flags(place, c.flags, 0);
  RmsNormQuantizeOptions o;
  o.weight = optional_view(place.of("weight"), c.weight);
  if (c.epsilon != 0) o.epsilon = static_cast<float>(c.epsilon);
  o.residual = optional_view(place.of("residual"), c.residual);
  if (c.quantize != nullptr) o.quantize = options_from(place.of("quantize"), c.quantize);
  o.backend = c.backend;
  return o;
}

AttentionOptions options_from(const ArgumentPath& place, const octavo_attention_options* given) {
  const octavo_attention_options c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_BIDIRECTIONAL);
  AttentionOptions o;
  o.block_table = optional_view(place.of("block_table"), c.block_table);
  o.lengths = optional_view(place.of("lengths"), c.lengths);
  o.starts = optional_view(place.of("starts"), c.starts);
  o.scale = static_cast<float>(c.scale);
  o.window = c.window;
  o.bidirectional = (c.flags & OCTAVO_BIDIRECTIONAL) != 0;
  o.out = optional_view(place.of("out"), c.out);
  o.backend = c.backend;
  return o;
}

VectorwiseOptions options_from(const ArgumentPath& place, const octavo_vectorwise_options* given) {
  const octavo_vectorwise_options c = read_struct(place, given);
  check_flags(place, c.flags, OCTAVO_WHOLE_COLUMNS | OCTAVO_BY_ELEMENT);
  VectorwiseOptions o;
  o.threshold = static_cast<float>(c.threshold);
  o.whole_columns = (c.flags & OCTAVO_WHOLE_COLUMNS) != 0;
  o.by_element = (c.flags & OCTAVO_BY_ELEMENT) != 0;
  o.outlier_columns = optional_view(place.of("outlier_columns"), c.outlier_columns);
  return o;
}

MixedScaledMmOptions options_from(const ArgumentPath& place, const octavo_mixed_scaled_mm_options* given) {
  const octavo_mixed_scaled_mm_options c = read_struct(place, given);
  check_flags(place, c.flags, 0);
  MixedScaledMmOptions o;
  o.outlier_cols = optional_view(place.of("outlier_cols"), c.outlier_cols);
  o.bias = optional_view(place.of("bias"), c.bias);
  o.original_weight = optional_view(place.of("original_weight"), c.original_weight);
  o.out_dtype = dtype_or(place.of("out_dtype"), c.out_dtype, o.out_dtype);
  o.out = optional_view(place.of("out"), c.out);
  return o;
}

}  // namespace octavo::capi
