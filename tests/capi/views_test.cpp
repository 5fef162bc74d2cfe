// SPDX-License-Identifier: Apache-2.0
// Bad descriptors, each in every place that takes one.
#include <gtest/gtest.h>

#include <functional>

#include "capi/faults.hpp"

namespace octavo::test::views_test {
namespace {

TEST(CApiViews, OfTensorsAndQuantizers) {
  Sample s;
  octavo_quantized* out = nullptr;
  ASSERT_EQ(octavo_quantize(s.x, nullptr, nullptr, &out), OCTAVO_OK);
  const auto create = [&](const octavo_view* d, const octavo_view* sc, const octavo_view* z) {
    return octavo_quantized_create(d, sc, z, 1, OCTAVO_WHOLE_EXTENT, &s.q);
  };
  const auto slice = [&](const octavo_view* d, const octavo_view* sc, const octavo_view* z) {
    return octavo_quantized_create_slice(d, sc, z, 1, OCTAVO_WHOLE_EXTENT, 0, 0, &s.q);
  };
  using Q = octavo_quantize_options;
  const std::function<octavo_code(const Q*)> quantize = [&](const Q* o) {
    return octavo_quantize(s.x, o, nullptr, &s.q);
  };
  const octavo_dtype none{};
  expect_faults_found({
      {"tensor_copy: source", s.x, [&](auto* v) { return octavo_tensor_copy(v, none, s.t); }},
      {"quantized_create: data", s.codes, [&](auto* v) { return create(v, s.rows, nullptr); }},
      {"quantized_create: scale", s.rows, [&](auto* v) { return create(s.codes, v, nullptr); }},
      {"quantized_create: azp", s.azp, [&](auto* v) { return create(s.codes, s.rows, v); }},
      {"quantized_create_slice: data", s.codes, [&](auto* v) { return slice(v, s.rows, nullptr); }},
      {"quantized_create_slice: scale", s.rows,
       [&](auto* v) { return slice(s.codes, v, nullptr); }},
      {"quantized_create_slice: azp", s.azp, [&](auto* v) { return slice(s.codes, s.rows, v); }},
      {"quantize: x", s.x, [&](auto* v) { return octavo_quantize(v, nullptr, nullptr, &s.q); }},
      {"quantize: x", s.x,
       [&](auto* v) { return octavo_quantize_into(v, nullptr, out, nullptr, nullptr); }},
      {"quantize_mxfp8: x", s.x,
       [&](auto* v) { return octavo_quantize_mxfp8(v, none, 0, nullptr, &s.q); }},
      {"compute_scale: x", s.x,
       [&](auto* v) { return octavo_compute_scale(v, nullptr, nullptr, &s.q); }},
  });
  expect_faults_found(options_of("quantize", s, quantize));
  octavo_quantized_release(out);
}

TEST(CApiViews, OfSingleProducts) {
  Sample s;
  octavo_operand weight = operand_of(s.w);
  ASSERT_EQ(octavo_pack(&weight, nullptr, nullptr, &s.packed), OCTAVO_OK) << octavo_last_error();
  using M = octavo_scaled_mm_options;
  using L = octavo_linear_options;
  const std::function<octavo_code(const M*)> product = [&](const M* o) {
    return octavo_scaled_mm(&s.a, &s.b, o, nullptr, s.t);
  };
  const std::function<octavo_code(const L*)> linear = [&](const L* o) {
    return octavo_linear(s.x, s.packed, o, nullptr, s.t);
  };
  const auto activation = [&](auto field) {
    return [&s, field](const octavo_view* v) {
      octavo_activation rule = octavo_activation_init();
      rule.*field = v;
      octavo_operand x = operand_of(s.x);
      x.activation = &rule;
      return octavo_scaled_mm(&x, &s.b, nullptr, nullptr, s.t);
    };
  };
  expect_faults_found({
      {"scaled_mm: a.data", s.codes,
       [&](auto* v) {
         const octavo_operand a = operand_of(v);
         return octavo_scaled_mm(&a, &s.b, nullptr, nullptr, s.t);
       }},
      {"scaled_mm: b.data", s.weight,
       [&](auto* v) {
         const octavo_operand b = operand_of(v);
         return octavo_scaled_mm_explain(&s.a, &b, nullptr, nullptr, &s.explanation);
       }},
      {"scaled_mm: a.activation.codes", s.codes, activation(&octavo_activation::codes)},
      {"scaled_mm: a.activation.scales", s.rows, activation(&octavo_activation::scales)},
      {"linear: x", s.x,
       [&](auto* v) { return octavo_linear(v, s.packed, nullptr, nullptr, s.t); }},
      {"pack: weight.data", s.w,
       [&](auto* v) {
         const octavo_operand w = operand_of(v);
         octavo_packed* packed = nullptr;
         return octavo_pack(&w, nullptr, nullptr, &packed);
       }},
  });
  expect_faults_found(options_of("scaled_mm", s, product));
  expect_faults_found(options_of("linear", s, linear));
}

TEST(CApiViews, OfGroupedProducts) {
  Sample s;
  const octavo_operand* as[] = {&s.a};
  const octavo_operand* bs[] = {&s.b};
  using G = octavo_grouped_mm_options;
  using S = octavo_scaled_grouped_mm_options;
  using F = octavo_functional_options;
  const std::function<octavo_code(const G*)> grouped = [&](const G* o) {
    return octavo_grouped_mm(&s.batch_a, &s.batch_b, o, nullptr, s.t);
  };
  const std::function<octavo_code(const S*)> batch = [&](const S* o) {
    return octavo_scaled_grouped_mm(&s.batch_a, &s.batch_b, o, nullptr, s.t);
  };
  const std::function<octavo_code(const F*)> recipes = [&](const F* o) {
    return octavo_functional_scaled_grouped_mm(s.fp8, s.fp8_weight, &s.recipe, 1, &s.recipe, 1, o,
                                               nullptr, s.t);
  };
  const auto list = [&](auto field) {
    return [&, field](const octavo_view* v) {
      octavo_grouped_list_options o = octavo_grouped_list_options_init();
      o.*field = &v;
      return octavo_grouped_mm_list(as, bs, 1, &o, nullptr, s.t);
    };
  };
  expect_faults_found({
      {"grouped_mm: inputs[0].data", s.codes,
       [&](auto* v) {
         const octavo_operand a = operand_of(v);
         const octavo_operand* one[] = {&a};
         return octavo_grouped_mm_list(one, bs, 1, nullptr, nullptr, s.t);
       }},
      {"grouped_mm: biases[0]", s.two, list(&octavo_grouped_list_options::biases)},
      {"grouped_mm: outs[0]", s.square, list(&octavo_grouped_list_options::outs)},
      {"grouped_mm: scales_b[0]", s.two,
       [&](auto* v) {
         const octavo_scale scale = octavo_scale_tensor(v, OCTAVO_AUTOMATIC);
         octavo_grouped_list_options o = octavo_grouped_list_options_init();
         o.scales_b = &scale;
         return octavo_grouped_mm_list(as, bs, 1, &o, nullptr, s.t);
       }},
      {"grouped_mm: a.data", s.batch,
       [&](auto* v) {
         const octavo_operand a = operand_of(v);
         return octavo_grouped_mm_explain(&a, &s.batch_b, nullptr, nullptr, &s.explanation);
       }},
      {"grouped_mm: b.data", s.stack,
       [&](auto* v) {
         const octavo_operand other = operand_of(v);
         return octavo_grouped_mm_workspace_bytes(&s.batch_a, &other, nullptr, nullptr, &s.bytes);
       }},
      {"scaled_grouped_mm: input.data", s.batch,
       [&](auto* v) {
         const octavo_operand a = operand_of(v);
         return octavo_scaled_grouped_mm(&a, &s.batch_b, nullptr, nullptr, s.t);
       }},
      {"scaled_mm: mat_a", s.fp8,
       [&](auto* v) {
         return octavo_functional_scaled_mm(v, s.fp8_weight, &s.recipe, 1, &s.recipe, 1, nullptr,
                                            nullptr, s.t);
       }},
      {"scaled_mm: scale_a[0]", s.one,
       [&](auto* v) {
         const octavo_recipe_scale scale{v, OCTAVO_TENSOR_WISE, OCTAVO_NO_SWIZZLE};
         return octavo_functional_scaled_mm(s.fp8, s.fp8_weight, &scale, 1, &s.recipe, 1, nullptr,
                                            nullptr, s.t);
       }},
  });
  expect_faults_found(options_of("grouped_mm", s, grouped));
  expect_faults_found(options_of("scaled_grouped_mm", s, batch));
  expect_faults_found(options_of("scaled_grouped_mm", s, recipes));
}

TEST(CApiViews, OfLlmInt8AndFiles) {
  Sample s;
  octavo_tensor* r[5] = {};
  octavo_weight* weight = nullptr;
  octavo_weight* good = nullptr;
  ASSERT_EQ(octavo_quantize_weight(s.x, OCTAVO_INT8_DYNAMIC, &good), OCTAVO_OK);
  const octavo_dtype none{};
  using M = octavo_mixed_scaled_mm_options;
  const std::function<octavo_code(const M*)> mixed = [&](const M* o) {
    return octavo_int8_mixed_scaled_mm(s.x, s.codes, s.stored, s.two, s.two, o, nullptr, s.t);
  };
  const auto dequant = [&](const octavo_view* acc, const octavo_view* rows, const octavo_view* cols,
                           const octavo_view* bias) {
    return octavo_int8_mm_dequant(acc, rows, cols, bias, none, nullptr, s.t);
  };
  const auto product = [&](const octavo_view* a, const octavo_view* w, const octavo_view* rows,
                           const octavo_view* cols) {
    return octavo_int8_scaled_mm(a, w, rows, cols, nullptr, none, nullptr, s.t);
  };
  expect_faults_found({
      {"int8_vectorwise_quant: a", s.x,
       [&](auto* v) {
         return octavo_int8_vectorwise_quant(v, nullptr, nullptr, &r[0], &r[1], &r[2]);
       }},
      {"int8_double_quant: a", s.x,
       [&](auto* v) {
         return octavo_int8_double_quant(v, nullptr, nullptr, &r[0], &r[1], &r[2], &r[3], &r[4]);
       }},
      {"int8_linear_matmul: a", s.codes,
       [&](auto* v) { return octavo_int8_linear_matmul(v, s.stored, nullptr, nullptr, s.t); }},
      {"int8_linear_matmul: w", s.stored,
       [&](auto* v) { return octavo_int8_linear_matmul(s.codes, v, nullptr, nullptr, s.t); }},
      {"int8_linear_matmul: out", s.acc,
       [&](auto* v) { return octavo_int8_linear_matmul(s.codes, s.stored, v, nullptr, nullptr); }},
      {"int8_mm_dequant: acc", s.acc, [&](auto* v) { return dequant(v, s.two, s.two, nullptr); }},
      {"int8_mm_dequant: row_absmax", s.two,
       [&](auto* v) { return dequant(s.acc, v, s.two, nullptr); }},
      {"int8_mm_dequant: col_absmax", s.two,
       [&](auto* v) { return dequant(s.acc, s.two, v, nullptr); }},
      {"int8_mm_dequant: bias", s.two, [&](auto* v) { return dequant(s.acc, s.two, s.two, v); }},
      {"int8_scaled_mm: a", s.codes, [&](auto* v) { return product(v, s.stored, s.two, s.two); }},
      {"int8_scaled_mm: w", s.stored, [&](auto* v) { return product(s.codes, v, s.two, s.two); }},
      {"int8_mixed_scaled_mm: a", s.x,
       [&](auto* v) {
         return octavo_int8_mixed_scaled_mm(v, s.codes, s.stored, s.two, s.two, nullptr, nullptr,
                                            s.t);
       }},
      {"int8_vectorwise_dequant: codes", s.codes,
       [&](auto* v) { return octavo_int8_vectorwise_dequant(v, s.two, nullptr, s.t); }},
      {"int8_vectorwise_dequant: row_absmax", s.two,
       [&](auto* v) { return octavo_int8_vectorwise_dequant(s.codes, v, nullptr, s.t); }},
      {"quantize_weight: weight", s.x,
       [&](auto* v) { return octavo_quantize_weight(v, OCTAVO_INT8_DYNAMIC, &weight); }},
      {"weight_compare: weight", s.x,
       [&](auto* v) {
         octavo_layer_info layer = octavo_layer_info_init();
         return octavo_weight_compare("w", v, good, &layer);
       }},
      {"write_safetensors: tensors[0].data", s.x,
       [&](auto* v) {
         octavo_tensor_to_write tensor = octavo_tensor_to_write_init();
         tensor.name = "t";
         tensor.data = v;
         const octavo_tensor_to_write* list[] = {&tensor};
         return octavo_write_safetensors("never", list, 1, nullptr, nullptr, 0);
       }},
  });
  expect_faults_found(options_of("int8_mixed_scaled_mm", s, mixed));
  octavo_weight_release(good);
}

}  // namespace
}  // namespace octavo::test::views_test
