// SPDX-License-Identifier: Apache-2.0
// struct_size of every struct; flags, enumerators, counts and indices.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <vector>

#include "capi/sizes.hpp"

namespace octavo::test::structs_test {
namespace {

TEST(CApiStructs, InputsOfOneSize) {
  Sample s;
  const octavo_operand* as[] = {&s.a};
  const octavo_operand* bs[] = {&s.b};
  octavo_operand weight = operand_of(s.w);
  ASSERT_EQ(octavo_pack(&weight, nullptr, nullptr, &s.packed), OCTAVO_OK);
  octavo_tensor* r[3] = {};
  const auto clean = [&](octavo_code code) {
    for (octavo_tensor*& t : r) octavo_tensor_release(std::exchange(t, nullptr));
    octavo_tensor_release(std::exchange(s.t[0], nullptr));
    octavo_quantized_release(std::exchange(s.q, nullptr));
    return code;
  };
  expect_one_size<octavo_scaled_mm_options>(
      "scaled_mm", [&](auto* o) { return clean(octavo_scaled_mm(&s.a, &s.b, o, nullptr, s.t)); },
      octavo_scaled_mm_options_init());
  expect_one_size<octavo_linear_options>(
      "linear", [&](auto* o) { return clean(octavo_linear(s.x, s.packed, o, nullptr, s.t)); },
      octavo_linear_options_init());
  expect_one_size<octavo_grouped_list_options>(
      "grouped_mm list",
      [&](auto* o) { return clean(octavo_grouped_mm_list(as, bs, 1, o, nullptr, s.t)); },
      octavo_grouped_list_options_init());
  expect_one_size<octavo_grouped_mm_options>(
      "grouped_mm",
      [&](auto* o) { return clean(octavo_grouped_mm(&s.batch_a, &s.batch_b, o, nullptr, s.t)); },
      octavo_grouped_mm_options_init());
  expect_one_size<octavo_scaled_grouped_mm_options>(
      "scaled_grouped_mm",
      [&](auto* o) {
        return clean(octavo_scaled_grouped_mm(&s.batch_a, &s.batch_b, o, nullptr, s.t));
      },
      octavo_scaled_grouped_mm_options_init());
  expect_one_size<octavo_functional_options>(
      "functional",
      [&](auto* o) {
        return clean(octavo_functional_scaled_mm(s.fp8, s.fp8_weight, &s.recipe, 1, &s.recipe, 1, o,
                                                 nullptr, s.t));
      },
      octavo_functional_options_init());
  expect_one_size<octavo_quantize_options>(
      "quantize", [&](auto* o) { return clean(octavo_quantize(s.x, o, nullptr, &s.q)); },
      octavo_quantize_options_init());
  expect_one_size<octavo_attention_options>(
      "attention",
      [&](auto* o) {
        return clean(octavo_attention(s.queries, s.tokens, s.token_scales, s.tokens, s.token_scales,
                                      o, nullptr, s.t));
      },
      octavo_attention_options_init());
  expect_one_size<octavo_rms_norm_options>(
      "rms_norm", [&](auto* o) { return clean(octavo_rms_norm(s.x, o, nullptr, s.t)); },
      octavo_rms_norm_options_init());
  expect_one_size<octavo_rms_norm_quantize_options>(
      "rms_norm_quantize",
      [&](auto* o) { return clean(octavo_rms_norm_quantize(s.x, o, nullptr, &s.q)); },
      octavo_rms_norm_quantize_options_init());
  expect_one_size<octavo_silu_and_mul_quantize_options>(
      "silu_and_mul_quantize",
      [&](auto* o) { return clean(octavo_silu_and_mul_quantize(s.x, o, nullptr, &s.q)); },
      octavo_silu_and_mul_quantize_options_init());
  expect_one_size<octavo_rotate_options>(
      "rotate", [&](auto* o) { return clean(octavo_rotate(s.blocks, o, nullptr, s.t)); },
      octavo_rotate_options_init());
  expect_one_size<octavo_vectorwise_options>(
      "vectorwise",
      [&](auto* o) {
        return clean(octavo_int8_vectorwise_quant(s.x, o, nullptr, &r[0], &r[1], &r[2]));
      },
      octavo_vectorwise_options_init());
  expect_one_size<octavo_mixed_scaled_mm_options>(
      "mixed",
      [&](auto* o) {
        return clean(
            octavo_int8_mixed_scaled_mm(s.x, s.codes, s.stored, s.two, s.two, o, nullptr, s.t));
      },
      octavo_mixed_scaled_mm_options_init());
  expect_one_size<octavo_pack_options>(
      "pack",
      [&](auto* o) {
        octavo_packed* packed = nullptr;
        const octavo_code code = octavo_pack(&weight, o, nullptr, &packed);
        octavo_packed_release(packed);
        return code;
      },
      octavo_pack_options_init());
  expect_one_size<octavo_operand>(
      "operand", [&](auto* o) { return clean(octavo_scaled_mm(o, &s.b, nullptr, nullptr, s.t)); },
      s.a);
  expect_one_size<octavo_activation>(
      "activation",
      [&](auto* rule) {
        octavo_operand x = operand_of(s.x);
        x.activation = rule;
        return clean(octavo_scaled_mm(&x, &s.b, nullptr, nullptr, s.t));
      },
      octavo_activation_init());
  expect_one_size<octavo_context>(
      "context", [&](auto* c) { return clean(octavo_scaled_mm(&s.a, &s.b, nullptr, c, s.t)); },
      octavo_context_init());
  octavo_executor serial = octavo_executor_init();
  serial.concurrency = 1;
  expect_one_size<octavo_executor>(
      "executor",
      [&](auto* e) {
        octavo_context context = octavo_context_init();
        context.executor = e;
        return clean(octavo_scaled_mm(&s.a, &s.b, nullptr, &context, s.t));
      },
      serial);
}

template <class Struct>
void expect_output_sizes(const char* what, const std::function<octavo_code(Struct*)>& call) {
  Struct result{};
  result.struct_size = sizeof result;
  expect_one_size<Struct>(what, call, result);
}

TEST(CApiStructs, OutputsOfOneSize) {
  Sample s;
  octavo_operand weight = operand_of(s.w);
  octavo_activation rule = octavo_activation_init();
  octavo_pack_options pack = octavo_pack_options_init();
  pack.activation = &rule;
  ASSERT_EQ(octavo_pack(&weight, &pack, nullptr, &s.packed), OCTAVO_OK);
  ASSERT_EQ(octavo_quantize(s.x, nullptr, nullptr, &s.q), OCTAVO_OK);
  ASSERT_EQ(octavo_scaled_mm_explain(&s.a, &s.b, nullptr, nullptr, &s.explanation), OCTAVO_OK);
  expect_output_sizes<octavo_quantized_info>(
      "quantized", [&](auto* i) { return octavo_quantized_describe(s.q, i); });
  expect_output_sizes<octavo_packed_info>(
      "packed", [&](auto* i) { return octavo_packed_describe(s.packed, i); });
  expect_output_sizes<octavo_activation>(
      "activation", [&](auto* i) { return octavo_packed_activation(s.packed, i); });
  expect_output_sizes<octavo_explanation_info>(
      "explanation", [&](auto* i) { return octavo_explanation_describe(s.explanation, i); });
  expect_output_sizes<octavo_candidate_info>(
      "candidate", [&](auto* i) { return octavo_explanation_candidate(s.explanation, 0, i); });
  expect_output_sizes<octavo_backend_info>("backend",
                                           [](auto* i) { return octavo_backend_describe(0, i); });
  expect_output_sizes<octavo_cpu_feature_info>(
      "feature", [](auto* i) { return octavo_cpu_feature_describe(0, i); });
}

// One wrong value among good ones.
struct Wrong {
  const char* sentence;
  std::function<octavo_code()> call;
};

void expect_invalid(const std::vector<Wrong>& rows) {
  for (const Wrong& row : rows) {
    expect_refused(row.call(), OCTAVO_INVALID_ARGUMENT, row.sentence, row.sentence);
  }
}

TEST(CApiStructs, EnumeratorsAndFlagsOutOfRange) {
  Sample s;
  const auto scaled = [&](auto change) {
    return [&s, change] {
      octavo_scaled_mm_options o = octavo_scaled_mm_options_init();
      change(o);
      return octavo_scaled_mm(&s.a, &s.b, &o, nullptr, s.t);
    };
  };
  const auto quantized = [&](auto change) {
    return [&s, change] {
      octavo_quantize_options o = octavo_quantize_options_init();
      change(o);
      return octavo_quantize(s.x, &o, nullptr, &s.q);
    };
  };
  const auto recipe = [&](std::int32_t scaling, std::int32_t swizzle) {
    return [&s, scaling, swizzle] {
      const octavo_recipe_scale scale{s.one, scaling, swizzle};
      return octavo_functional_scaled_mm(s.fp8, s.fp8_weight, &scale, 1, &s.recipe, 1, nullptr,
                                         nullptr, s.t);
    };
  };
  expect_invalid({
      {"scaled_mm: options.scale_a.kind must be in [0, 3]; got 4",
       scaled([](auto& o) { o.scale_a.kind = 4; })},
      {"scaled_mm: options.beta.kind must be in [0, 3]; got -1",
       scaled([](auto& o) { o.beta.kind = -1; })},
      {"scaled_mm: options.scale_b.granularity must be in [0, ",
       scaled([&](auto& o) { o.scale_b = octavo_scale_tensor(s.two, OCTAVO_GRANULARITIES); })},
      {"scaled_mm: options.scale_b.values must not be null",
       scaled([](auto& o) { o.scale_b = octavo_scale_tensor(nullptr, 0); })},
      {"scaled_mm: options.flags must be among TRANS_A | TRANS_B | ",
       scaled([](auto& o) { o.flags = OCTAVO_AZP; })},
      {"scaled_mm: options.flags must be among", scaled([](auto& o) { o.flags = 1U << 31; })},
      {"scaled_mm: options.out_dtype.lanes must be 1; got 4", scaled([](auto& o) {
         o.out_dtype = {2, 32, 4};
       })},
      {"quantize: options.granularity must be in [0, ",
       quantized([](auto& o) { o.granularity = OCTAVO_GRANULARITIES; })},
      {"quantize: options.side must be in [0, 1]; got 2", quantized([](auto& o) { o.side = 2; })},
      {"quantize: options.rounding must be in [0, 2]; got -3",
       quantized([](auto& o) { o.rounding = -3; })},
      {"quantize: options.flags must be among", quantized([](auto& o) { o.flags = 1; })},
      {"quantize: options.flags must have one of NON_FINITE_ERROR and NON_FINITE_IGNORE; got both",
       quantized([](auto& o) { o.flags = OCTAVO_NON_FINITE_ERROR | OCTAVO_NON_FINITE_IGNORE; })},
      {"quantize_mxfp8: side must be in [0, 1]; got 7",
       [&] {
         return octavo_quantize_mxfp8(s.x, {0, 0, 0}, 7, nullptr, &s.q);
       }},
      {"scaled_mm: scale_a[0].recipe must be in [0, 5]; got 6", recipe(6, 0)},
      {"scaled_mm: scale_a[0].swizzle must be in [0, 1]; got 2", recipe(0, 2)},
      {"int8_mixed_scaled_mm: options.flags must be among none; got 0x1",
       [&] {
         octavo_mixed_scaled_mm_options o = octavo_mixed_scaled_mm_options_init();
         o.flags = 1;
         return octavo_int8_mixed_scaled_mm(s.x, s.codes, s.stored, s.two, s.two, &o, nullptr, s.t);
       }},
      {"quantize_file: options.scheme must be in [0, 6]; got 7",
       [] {
         octavo_quantize_file_options o = octavo_quantize_file_options_init();
         o.scheme = 7;
         return octavo_quantize_file("in", "out", &o, nullptr);
       }},
      {"quantize_file: outlier_columns must have a count of at least 0; got -1",
       [] {
         octavo_quantize_file_options o = octavo_quantize_file_options_init();
         o.outlier_columns_count = -1;
         return octavo_quantize_file("in", "out", &o, nullptr);
       }},
      {"quantize_file: outlier_columns[0].columns must not be null",
       [] {
         const octavo_outlier_columns list{"layer", nullptr, 1};
         octavo_quantize_file_options o = octavo_quantize_file_options_init();
         o.outlier_columns = &list;
         o.outlier_columns_count = 1;
         return octavo_quantize_file("in", "out", &o, nullptr);
       }},
      {"quantize_file: outlier_columns[0].layer must not be null",
       [] {
         const octavo_outlier_columns list{nullptr, nullptr, 0};
         octavo_quantize_file_options o = octavo_quantize_file_options_init();
         o.outlier_columns = &list;
         o.outlier_columns_count = 1;
         return octavo_quantize_file("in", "out", &o, nullptr);
       }},
      {"quantize_weight: scheme must be in [0, 6]; got 7",
       [&] {
         octavo_weight* weight = nullptr;
         return octavo_quantize_weight(s.w, 7, &weight);
       }},
      {"scheme_activation: scheme must be in [0, 6]; got -1",
       [] {
         octavo_activation rule = octavo_activation_init();
         return octavo_scheme_activation(-1, &rule);
       }},
      {"scheme_activation: scheme must have an activation rule; got none",
       [] {
         octavo_activation rule = octavo_activation_init();
         return octavo_scheme_activation(OCTAVO_INT8_WEIGHT_ONLY, &rule);
       }},
      {"pack: options.scale.kind must be in [0, 3]; got 9",
       [&] {
         octavo_pack_options o = octavo_pack_options_init();
         o.scale.kind = 9;
         return octavo_pack(&s.b, &o, nullptr, &s.packed);
       }},
      {"scheme_from_name: name must be that of a scheme; got 'int7'",
       [] {
         std::int32_t scheme = 0;
         return octavo_scheme_from_name("int7", &scheme);
       }},
      {"dtype_from_name: name must be that of a data type; got 'float7'",
       [] {
         octavo_dtype dtype{};
         return octavo_dtype_from_name("float7", &dtype);
       }},
  });
}

TEST(CApiStructs, OperandsCountsAndIndices) {
  Sample s;
  octavo_tensor* results[1] = {};
  const octavo_operand* as[] = {&s.a};
  ASSERT_EQ(octavo_quantize(s.x, nullptr, nullptr, &s.q), OCTAVO_OK);
  octavo_operand weight = operand_of(s.w);
  ASSERT_EQ(octavo_pack(&weight, nullptr, nullptr, &s.packed), OCTAVO_OK);
  octavo_backend_info backend = octavo_backend_info_init();
  octavo_activation rule = octavo_activation_init();
  expect_invalid({
      {"scaled_mm: a must have exactly one of data, quantized and packed; got 0",
       [&] {
         const octavo_operand nothing = octavo_operand_init();
         return octavo_scaled_mm(&nothing, &s.b, nullptr, nullptr, s.t);
       }},
      {"scaled_mm: a must have exactly one of data, quantized and packed; got 2",
       [&] {
         octavo_operand both = s.a;
         both.quantized = s.q;
         return octavo_scaled_mm(&both, &s.b, nullptr, nullptr, s.t);
       }},
      {"scaled_mm: b.flags must be without TRANSPOSED for a packed weight; got it",
       [&] {
         octavo_operand b = octavo_operand_init();
         b.packed = s.packed;
         b.flags = OCTAVO_TRANSPOSED;
         return octavo_scaled_mm(&s.a, &b, nullptr, nullptr, s.t);
       }},
      {"grouped_mm: results must have a count of at least 0; got -1",
       [&] { return octavo_grouped_mm_list(as, as, -1, nullptr, nullptr, results); }},
      {"scaled_mm: scale_a must have a count of at least 0; got -2",
       [&] {
         return octavo_functional_scaled_mm(s.fp8, s.fp8_weight, &s.recipe, -2, &s.recipe, 1,
                                            nullptr, nullptr, s.t);
       }},
      {"write_safetensors: tensors must have a count of at least 0; got -1",
       [] { return octavo_write_safetensors("x", nullptr, -1, nullptr, nullptr, 0); }},
      {"write_safetensors: tensors[0] must have either data or fill; got neither",
       [] {
         octavo_tensor_to_write tensor = octavo_tensor_to_write_init();
         tensor.name = "t";
         const octavo_tensor_to_write* list[] = {&tensor};
         return octavo_write_safetensors("x", list, 1, nullptr, nullptr, 0);
       }},
      {"tensor_create: shape must have a count of at least 0; got -1",
       [&] { return octavo_tensor_create(OCTAVO_INT8, -1, nullptr, s.t); }},
      {"tensor_create: dtype must be defined; got an undefined one",
       [&] {
         return octavo_tensor_create({0, 0, 0}, 0, nullptr, s.t);
       }},
      {"Tensor::empty: shape.size must be at most 8; got 9",
       [&] {
         const std::int64_t shape[9] = {};
         return octavo_tensor_create(OCTAVO_INT8, 9, shape, s.t);
       }},
      {"backend_describe: index must be in [0, ",
       [&] { return octavo_backend_describe(-1, &backend); }},
      {"backend_describe: index must be in [0, ",
       [&] { return octavo_backend_describe(1000, &backend); }},
      {"packed_activation: weight must have an activation rule; got none",
       [&] { return octavo_packed_activation(s.packed, &rule); }},
  });
}

}  // namespace
}  // namespace octavo::test::structs_test
