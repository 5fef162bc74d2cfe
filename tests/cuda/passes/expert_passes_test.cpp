// SPDX-License-Identifier: Apache-2.0
// silu_and_mul, combine and activate, against the reference's.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cuda/passes/two_places.hpp"

namespace octavo::test::expert_passes_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Every magnitude that silu tells apart, and some that it does not.
Tensor gates(DType dtype, std::int64_t rows, std::int64_t columns) {
  constexpr float kOdd[] = {kNan,      -kNan,      kInf,     -kInf,   0.0F,           -0.0F,
                            0x1p-140F, -0x1p-149F, -104.0F,  -103.3F, -88.7F,         -87.0F,
                            -128.0F,   -127.9F,    -1000.0F, 300.0F,  0x1.fffffep127F};
  const Tensor x = gaussians(float32, {rows, columns}, 1, 8.0);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    if (i % 5 == 0) x.data_as<float>()[i] = kOdd[static_cast<std::size_t>(i) / 5 % std::size(kOdd)];
    if (i % 7 == 3) x.data_as<float>()[i] = static_cast<float>(-(i % 1300)) * 0.1F;
    if (i % 7 == 4) x.data_as<float>()[i] *= std::ldexp(1.0F, -static_cast<int>(i % 140));
  }
  return copy(x, dtype);
}

TEST(ExpertPasses, SiluOfEveryTypeAndLayout) {
  for (const DType from : {bfloat16, float16, float32}) {
    for (const DType to : {bfloat16, float16, float32, float8_e4m3fn, float8_e5m2}) {
      for (const bool transposed : {false, true}) {
        for (const std::int64_t rows : {0, 1, 6}) {
          expect_same_pass(&Passes::silu_and_mul, [&](TensorsOf& tensors) {
            const Tensor x = gates(from, rows, 514);
            SiluProblem p;
            p.x = transposed ? TensorView(tensors(copy(x.transposed(), from))).transposed()
                             : tensors(x);
            p.out = transposed ? tensors.out(Tensor::empty(to, {257, rows})).transposed()
                               : tensors.out(Tensor::empty(to, {rows, 257}));
            p.overflow = transposed ? Overflow::ieee : Overflow::saturate;
            return p;
          });
        }
      }
    }
  }
}

TEST(ExpertPasses, SiluGradientOfEveryTypeAndLayout) {
  for (const DType from : {bfloat16, float16, float32}) {
    for (const DType to : {bfloat16, float16, float32}) {
      for (const bool transposed : {false, true}) {
        for (const std::int64_t rows : {0, 1, 6}) {
          expect_same_pass(&Passes::silu_and_mul_vjp, [&](TensorsOf& tensors) {
            const Tensor x = gates(from, rows, 514);
            SiluVjpProblem p;
            p.grad = tensors(gaussians(to, {rows, 257}, 3));
            p.x = transposed ? TensorView(tensors(copy(x.transposed(), from))).transposed()
                             : tensors(x);
            p.grad_x = transposed ? tensors.out(Tensor::empty(to, {514, rows})).transposed()
                                  : tensors.out(Tensor::empty(to, {rows, 514}));
            return p;
          });
        }
      }
    }
  }
}

TEST(ExpertPasses, CombineSlots) {
  const Tensor rows = gaussians(float32, {20, 70}, 2);
  for (std::int64_t i = 0; i < rows.numel(); ++i) {  // no sum of which the NaN's sign is anyone's
    if (i % 97 == 0) rows.data_as<float>()[i] = kNan;
    if (i % 89 == 0) rows.data_as<float>()[i] = kInf;
  }
  for (const DType to : {bfloat16, float16, float32}) {
    for (const std::int64_t slots : {0, 1, 4}) {
      for (const bool weighted : {false, true}) {
        expect_same_pass(&Passes::combine, [&](TensorsOf& tensors) {
          CombineProblem p;
          p.rows = tensors(rows);
          p.slots = slots;
          const Shape routes{9, slots};
          p.places =
              static_cast<const std::int64_t*>(tensors(integers(int64, routes, 3, -1, 19)).data);
          if (weighted) {
            p.factors =
                static_cast<const float*>(tensors(uniforms(float32, routes, 4, 0.1, 2.0)).data);
          }
          p.out = weighted ? tensors.out(Tensor::empty(to, {70, 9})).transposed()
                           : tensors.out(Tensor::empty(to, {9, 70}));
          return p;
        });
      }
    }
  }
}

// What a rule makes of the activation, as a product reads it.
struct Made {
  Tensor data, scale, azp;
};
Made activated(const Passes& passes, const ActivationQuant* rule, const TensorView& h) {
  const ActivateProblem p{h, rule, bfloat16};
  Rows rows;
  Arena counting(nullptr);
  EXPECT_TRUE(passes.activate(p, rows, counting, {}).ok());
  const Tensor memory =
      Tensor::empty(uint8, {static_cast<std::int64_t>(counting.used()) + 1}, {h.device, nullptr});
  Arena arena(memory.data());
  const Status status = passes.activate(p, rows, arena, {});
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(arena.used(), counting.used());
  Made made;
  made.data = to_host(static_cast<TensorView>(rows.data));
  const MatrixView scales = [&] {
    MatrixView view(rows.scale.data, h.shape[0], 1);
    if (rows.scale.rows != 1) view.strides[0] = 0;  // one for all
    if (rows.scale.cols < h.shape[1] / 2)
      view.shape[1] = (h.shape[1] / 2 + rows.scale.cols - 1) / rows.scale.cols;
    return view;
  }();
  if (rows.scale.present()) made.scale = to_host(static_cast<TensorView>(scales));
  if (rows.azp.defined()) {
    MatrixView azp = rows.azp;
    azp.shape = {h.shape[0], 1};
    made.azp = to_host(static_cast<TensorView>(azp));
  }
  return made;
}

TEST(ExpertPasses, ActivateByEveryKindOfRule) {
  std::vector<ActivationQuant> rules(6);
  rules[1].spec.dtype = float8_e4m3fn;
  rules[1].spec.granularity = group(32);
  rules[2].spec.granularity = per_tensor();
  rules[3].spec.azp = true;
  rules[4].spec.granularity = per_tensor();
  rules[4].static_scale = 0.03F;
  rules[4].spec.azp = true;
  rules[4].static_azp = 12;
  rules[5].vectorwise = true;
  const Tensor h = gaussians(float32, {37, 200}, 5, 2.0);
  h.data_as<float>()[777] = kNan;
  const Tensor there = to_device(h);
  for (std::size_t i = 0; i <= rules.size(); ++i) {
    SCOPED_TRACE(i);
    const ActivationQuant* rule = i < rules.size() ? &rules[i] : nullptr;
    const Made want = activated(reference_passes(), rule, h);
    const Made got = activated(*tested().passes, rule, there);
    expect_same_numbers(got.data, want.data);
    ASSERT_EQ(got.scale.defined(), want.scale.defined());
    if (want.scale.defined()) expect_same_numbers(got.scale, want.scale);
    ASSERT_EQ(got.azp.defined(), want.azp.defined());
    if (want.azp.defined()) expect_same_bits(got.azp, want.azp);
  }
}

}  // namespace
}  // namespace octavo::test::expert_passes_test
