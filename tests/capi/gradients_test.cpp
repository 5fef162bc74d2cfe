// SPDX-License-Identifier: Apache-2.0
// Gradients in C: bad input, and structs of other sizes, those of results among them.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <vector>

#include "capi/faults.hpp"
#include "capi/sizes.hpp"

namespace octavo::test::gradients_test {
namespace {

// Good arguments of every gradient, and the structs that they fill.
struct Gradients : Sample {
  Described batch_grad{float32, {2, 2, 2}};
  octavo_operand layer = operand_of(w);
  octavo_matmul_gradients d = octavo_matmul_gradients_init();
  octavo_quantize_gradients of_quantize = octavo_quantize_gradients_init();
  octavo_dequantize_gradients of_dequantize = octavo_dequantize_gradients_init();

  Gradients() {
    EXPECT_EQ(octavo_pack(&layer, nullptr, nullptr, &packed), OCTAVO_OK);
    EXPECT_EQ(octavo_quantize(x, nullptr, nullptr, &q), OCTAVO_OK);
  }
};

using Wanted = octavo_matmul_vjp_options;

Wanted want(std::uint64_t bits) {
  Wanted options = octavo_matmul_vjp_options_init();
  options.wanted = bits;
  return options;
}

TEST(CApiGradients, DescriptorsOfSingleProductsAndQuantizers) {
  Gradients s;
  using M = octavo_scaled_mm_options;
  using L = octavo_linear_options;
  using Q = octavo_quantize_options;
  const std::function<octavo_code(const M*)> product = [&](const M* forward) {
    return octavo_scaled_mm_vjp(s.square, &s.a, &s.b, forward, nullptr, nullptr, &s.d);
  };
  const std::function<octavo_code(const L*)> linear = [&](const L* forward) {
    return octavo_linear_vjp(s.square, s.x, s.packed, forward, nullptr, nullptr, &s.d);
  };
  const std::function<octavo_code(const Q*)> quantize = [&](const Q* forward) {
    return octavo_quantize_vjp(s.x, s.x, forward, nullptr, nullptr, &s.of_quantize);
  };
  const M m = octavo_scaled_mm_options_init();
  const L l = octavo_linear_options_init();
  const Q q = octavo_quantize_options_init();
  expect_faults_found({
      {"scaled_mm_vjp: grad", s.square,
       [&](auto* v) {
         return octavo_scaled_mm_vjp(v, &s.a, &s.b, nullptr, nullptr, nullptr, &s.d);
       }},
      {"scaled_mm_vjp: a.data", s.codes,
       [&](auto* v) {
         const octavo_operand a = operand_of(v);
         return octavo_scaled_mm_vjp(s.square, &a, &s.b, nullptr, nullptr, nullptr, &s.d);
       }},
      {"scaled_mm_vjp: forward.scale_a", s.rows, with(&M::scale_a, m, product)},
      {"scaled_mm_vjp: forward.bias", s.two, with(&M::bias, m, product)},
      {"scaled_mm_vjp: forward.out", s.square, with(&M::out, m, product)},
      {"linear_vjp: grad", s.square,
       [&](auto* v) {
         return octavo_linear_vjp(v, s.x, s.packed, nullptr, nullptr, nullptr, &s.d);
       }},
      {"linear_vjp: x", s.x,
       [&](auto* v) {
         return octavo_linear_vjp(s.square, v, s.packed, nullptr, nullptr, nullptr, &s.d);
       }},
      {"linear_vjp: forward.bias", s.two, with(&L::bias, l, linear)},
      {"quantize_vjp: grad", s.x,
       [&](auto* v) {
         return octavo_quantize_vjp(v, s.x, nullptr, nullptr, nullptr, &s.of_quantize);
       }},
      {"quantize_vjp: x", s.x,
       [&](auto* v) {
         return octavo_quantize_vjp(s.x, v, nullptr, nullptr, nullptr, &s.of_quantize);
       }},
      {"quantize_vjp: forward.scale", s.rows, with(&Q::scale, q, quantize)},
      {"dequantize_vjp: grad", s.x,
       [&](auto* v) { return octavo_dequantize_vjp(v, s.q, nullptr, nullptr, &s.of_dequantize); }},
  });
}

TEST(CApiGradients, DescriptorsOfGroupedProducts) {
  Gradients s;
  const octavo_operand* as[] = {&s.a};
  const octavo_operand* bs[] = {&s.b};
  const octavo_view* grads[] = {s.square};
  octavo_matmul_gradients* results[] = {&s.d};
  using G = octavo_grouped_mm_options;
  using S = octavo_scaled_grouped_mm_options;
  using F = octavo_functional_options;
  const std::function<octavo_code(const G*)> grouped = [&](const G* forward) {
    return octavo_grouped_mm_vjp(s.batch_grad, &s.batch_a, &s.batch_b, forward, nullptr, nullptr,
                                 &s.d);
  };
  const std::function<octavo_code(const S*)> batch = [&](const S* forward) {
    return octavo_scaled_grouped_mm_vjp(s.batch_grad, &s.batch_a, &s.batch_b, forward, nullptr,
                                        nullptr, &s.d);
  };
  const std::function<octavo_code(const F*)> recipes = [&](const F* forward) {
    return octavo_functional_scaled_mm_vjp(s.square, s.fp8, s.fp8_weight, &s.recipe, 1, &s.recipe,
                                           1, forward, nullptr, nullptr, &s.d);
  };
  const G g = octavo_grouped_mm_options_init();
  const S b = octavo_scaled_grouped_mm_options_init();
  const F f = octavo_functional_options_init();
  expect_faults_found({
      {"grouped_mm_vjp: grads[0]", s.square,
       [&](auto* v) {
         return octavo_grouped_mm_list_vjp(&v, as, bs, 1, nullptr, nullptr, nullptr, results);
       }},
      {"grouped_mm_vjp: weights[0].data", s.weight,
       [&](auto* v) {
         const octavo_operand other = operand_of(v);
         const octavo_operand* one[] = {&other};
         return octavo_grouped_mm_list_vjp(grads, as, one, 1, nullptr, nullptr, nullptr, results);
       }},
      {"grouped_mm_vjp: biases[0]", s.two,
       [&](auto* v) {
         octavo_grouped_list_options forward = octavo_grouped_list_options_init();
         forward.biases = &v;
         return octavo_grouped_mm_list_vjp(grads, as, bs, 1, &forward, nullptr, nullptr, results);
       }},
      {"grouped_mm_vjp: grad", s.batch_grad,
       [&](auto* v) {
         return octavo_grouped_mm_vjp(v, &s.batch_a, &s.batch_b, nullptr, nullptr, nullptr, &s.d);
       }},
      {"grouped_mm_vjp: forward.offs", s.azp, with(&G::offs, g, grouped)},
      {"grouped_mm_vjp: forward.scale_b", s.one, with(&G::scale_b, g, grouped)},
      {"scaled_grouped_mm_vjp: input.data", s.batch,
       [&](auto* v) {
         const octavo_operand a = operand_of(v);
         return octavo_scaled_grouped_mm_vjp(s.batch_grad, &a, &s.batch_b, nullptr, nullptr,
                                             nullptr, &s.d);
       }},
      {"scaled_grouped_mm_vjp: forward.scale", s.one, with(&S::scale, b, batch)},
      {"scaled_mm_vjp: mat_b", s.fp8_weight,
       [&](auto* v) {
         return octavo_functional_scaled_mm_vjp(s.square, s.fp8, v, &s.recipe, 1, &s.recipe, 1,
                                                nullptr, nullptr, nullptr, &s.d);
       }},
      {"scaled_mm_vjp: scale_b[0]", s.one,
       [&](auto* v) {
         const octavo_recipe_scale scale{v, OCTAVO_TENSOR_WISE, OCTAVO_NO_SWIZZLE};
         return octavo_functional_scaled_mm_vjp(s.square, s.fp8, s.fp8_weight, &s.recipe, 1, &scale,
                                                1, nullptr, nullptr, nullptr, &s.d);
       }},
      {"scaled_mm_vjp: forward.bias", s.two, with(&F::bias, f, recipes)},
      {"scaled_grouped_mm_vjp: grad", s.batch_grad,
       [&](auto* v) {
         return octavo_functional_scaled_grouped_mm_vjp(
             v, s.batch, s.stack, &s.recipe, 1, &s.recipe, 1, nullptr, nullptr, nullptr, &s.d);
       }},
  });
}

TEST(CApiGradients, WhatCannotBeWanted) {
  Gradients s;
  const auto product = [&](const Wanted& options) {
    return octavo_scaled_mm_vjp(s.square, &s.a, &s.b, nullptr, &options, nullptr, &s.d);
  };
  const auto refused = [](octavo_code got, const char* sentence) {
    expect_refused(got, OCTAVO_INVALID_ARGUMENT, sentence, sentence);
  };
  refused(product(want(OCTAVO_WANT_X)),
          "scaled_mm_vjp: options.wanted must be among A | B | BIAS | SCALE_A | SCALE_B | ALPHA | "
          "BETA | C | SCALE_RESULT; got 0x200");
  refused(product(want(std::uint64_t{1} << 63)), "scaled_mm_vjp: options.wanted must be among A");
  refused(product(want(OCTAVO_WANT_A | OCTAVO_WANT_BIAS)),
          "scaled_mm_vjp: bias must be given where its gradient is wanted; got none");
  EXPECT_EQ(s.d.a, nullptr);
  Wanted options = want(OCTAVO_WANT_A);
  options.flags = OCTAVO_TRANS_A;
  refused(product(options),
          "scaled_mm_vjp: options.flags must be among FLOAT32_GRADIENTS | DEQUANTIZED_GRADIENTS; "
          "got 0x1");
  options.flags = 0;
  options.dtype = OCTAVO_INT8;
  refused(product(options), "scaled_mm_vjp: options.dtype must be float32, bfloat16 or float16");
  options.dtype.lanes = 2;
  refused(product(options), "scaled_mm_vjp: options.dtype.lanes must be 1; got 2");

  octavo_scaled_mm_options forward = octavo_scaled_mm_options_init();
  forward.flags = OCTAVO_AZP;
  refused(octavo_scaled_mm_vjp(s.square, &s.a, &s.b, &forward, nullptr, nullptr, &s.d),
          "scaled_mm_vjp: forward.flags must be among TRANS_A");
  options = want(OCTAVO_WANT_SCALE_A);
  refused(octavo_functional_scaled_mm_vjp(s.square, s.fp8, s.fp8_weight, nullptr, 0, &s.recipe, 1,
                                          nullptr, &options, nullptr, &s.d),
          "scaled_mm_vjp: scale_a");
  refused(
      octavo_grouped_mm_list_vjp(nullptr, nullptr, nullptr, -1, nullptr, nullptr, nullptr, nullptr),
      "grouped_mm_vjp: results must have a count of at least 0; got -1");

  octavo_quantize_vjp_options quantize = octavo_quantize_vjp_options_init();
  const auto quantizer = [&] {
    return octavo_quantize_vjp(s.x, s.x, nullptr, &quantize, nullptr, &s.of_quantize);
  };
  quantize.wanted = OCTAVO_WANT_DATA;
  refused(quantizer(), "quantize_vjp: options.wanted must be among X | SCALE; got 0x400");
  quantize.wanted = OCTAVO_WANT_SCALE;
  refused(quantizer(), "quantize_vjp: scale must be static where its gradient is wanted");
  octavo_dequantize_vjp_options dequantize = octavo_dequantize_vjp_options_init();
  dequantize.wanted = OCTAVO_WANT_X;
  refused(octavo_dequantize_vjp(s.x, s.q, &dequantize, nullptr, &s.of_dequantize),
          "dequantize_vjp: options.wanted must be among DATA | SCALE | AZP; got 0x200");
}

TEST(CApiGradients, OptionsOfOneSize) {
  Gradients s;
  expect_one_size<octavo_matmul_vjp_options>(
      "scaled_mm_vjp",
      [&](auto* o) {
        const octavo_code code =
            octavo_scaled_mm_vjp(s.square, &s.a, &s.b, nullptr, o, nullptr, &s.d);
        EXPECT_EQ(s.d.a != nullptr, code == OCTAVO_OK);
        octavo_tensor_release(s.d.a);
        return code;
      },
      want(OCTAVO_WANT_A));
  expect_one_size<octavo_scaled_mm_options>(
      "scaled_mm_vjp forward",
      [&](auto* o) {
        return octavo_scaled_mm_vjp(s.square, &s.a, &s.b, o, nullptr, nullptr, &s.d);
      },
      octavo_scaled_mm_options_init());
  expect_one_size<octavo_quantize_vjp_options>(
      "quantize_vjp",
      [&](auto* o) { return octavo_quantize_vjp(s.x, s.x, nullptr, o, nullptr, &s.of_quantize); },
      octavo_quantize_vjp_options_init());
  expect_one_size<octavo_dequantize_vjp_options>(
      "dequantize_vjp",
      [&](auto* o) { return octavo_dequantize_vjp(s.x, s.q, o, nullptr, &s.of_dequantize); },
      octavo_dequantize_vjp_options_init());
}

// Results whose fields are all wanted, and all NULL where a call fails.
template <class Struct>
void expect_results(const char* what, const std::vector<octavo_tensor * Struct::*>& fields,
                    const std::function<octavo_code(std::uint64_t, Struct*)>& call,
                    std::uint64_t wanted) {
  constexpr std::uint64_t kUnknown = 1U << 31U;
  Struct result{};
  result.struct_size = sizeof result;
  expect_one_size<Struct>(
      what, [&](Struct* given) { return call(0, given); }, result);
  ASSERT_EQ(call(wanted, &result), OCTAVO_OK) << what << ": " << octavo_last_error();
  for (const auto field : fields) {
    EXPECT_NE(result.*field, nullptr) << what;
    octavo_tensor_release(result.*field);
  }
  EXPECT_EQ(call(wanted | kUnknown, &result), OCTAVO_INVALID_ARGUMENT) << what;
  for (const auto field : fields) EXPECT_EQ(result.*field, nullptr) << what;
}

TEST(CApiGradients, ResultsOfOneSize) {
  Gradients s;
  octavo_scaled_mm_options forward = octavo_scaled_mm_options_init();
  forward.bias = s.two;
  forward.c = s.square;
  for (octavo_scale octavo_scaled_mm_options::*factor :
       {&octavo_scaled_mm_options::scale_a, &octavo_scaled_mm_options::scale_b,
        &octavo_scaled_mm_options::alpha, &octavo_scaled_mm_options::beta,
        &octavo_scaled_mm_options::scale_result}) {
    forward.*factor = octavo_scale_number(2);
  }
  using M = octavo_matmul_gradients;
  expect_results<M>(
      "scaled_mm_vjp",
      {&M::a, &M::b, &M::bias, &M::scale_a, &M::scale_b, &M::alpha, &M::beta, &M::c,
       &M::scale_result},
      [&](std::uint64_t bits, M* result) {
        const Wanted options = want(bits);
        return octavo_scaled_mm_vjp(s.square, &s.a, &s.b, &forward, &options, nullptr, result);
      },
      OCTAVO_WANT_A | OCTAVO_WANT_B | OCTAVO_WANT_BIAS | OCTAVO_WANT_SCALE_A | OCTAVO_WANT_SCALE_B |
          OCTAVO_WANT_ALPHA | OCTAVO_WANT_BETA | OCTAVO_WANT_C | OCTAVO_WANT_SCALE_RESULT);

  octavo_quantize_options fixed = octavo_quantize_options_init();
  fixed.granularity = OCTAVO_PER_TENSOR;
  fixed.scale = octavo_scale_number(0.5);
  using Q = octavo_quantize_gradients;
  expect_results<Q>(
      "quantize_vjp", {&Q::x, &Q::scale},
      [&](std::uint64_t bits, Q* result) {
        octavo_quantize_vjp_options options = octavo_quantize_vjp_options_init();
        options.wanted = static_cast<std::uint32_t>(bits);
        return octavo_quantize_vjp(s.x, s.x, &fixed, &options, nullptr, result);
      },
      OCTAVO_WANT_X | OCTAVO_WANT_SCALE);

  octavo_quantize_options shifted = octavo_quantize_options_init();
  shifted.flags = OCTAVO_AZP;
  octavo_quantized* with_azp = nullptr;
  ASSERT_EQ(octavo_quantize(s.x, &shifted, nullptr, &with_azp), OCTAVO_OK);
  using D = octavo_dequantize_gradients;
  expect_results<D>(
      "dequantize_vjp", {&D::data, &D::scale, &D::azp},
      [&](std::uint64_t bits, D* result) {
        octavo_dequantize_vjp_options options = octavo_dequantize_vjp_options_init();
        options.wanted = bits;
        return octavo_dequantize_vjp(s.x, with_azp, &options, nullptr, result);
      },
      OCTAVO_WANT_DATA | OCTAVO_WANT_SCALE | OCTAVO_WANT_AZP);
  octavo_quantized_release(with_azp);
}

}  // namespace
}  // namespace octavo::test::gradients_test
