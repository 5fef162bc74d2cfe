// SPDX-License-Identifier: Apache-2.0
// Sums that lie in memory, finished apart from their product: what the product itself gives, and
// the same of every backend.
#include <gtest/gtest.h>

#include "backends/backend.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::finish_pass_test {
namespace {

struct Case {
  std::int64_t m, n;
  DType out;
  bool everything, transposed;
};

class FinishPass : public testing::TestWithParam<Case> {
 protected:
  const Case& c = GetParam();
  static constexpr std::int64_t kK = 40;
  Tensor a = integers(int8, {c.m, kK}, 1);
  Tensor b = integers(int8, {kK, c.n}, 2);
  Tensor sa = uniforms(float32, {c.m, 1}, 3);
  Tensor sb = uniforms(float32, {1, c.n}, 4);
  Tensor bias = gaussians(bfloat16, {c.n}, 5);
  Tensor addend = gaussians(float32, {c.m, c.n}, 6);
  Tensor result = uniforms(float32, {c.n}, 7, 0.5, 2.0);

  ScaledMmOptions options() const {
    ScaledMmOptions o;
    o.out_dtype = c.out;
    if (!c.everything) return o;
    o.scale_a = {sa, per_token()};
    o.scale_b = {sb, per_channel()};
    o.bias = bias;
    o.alpha = 1.25F;
    o.beta = 0.5F;
    o.c = addend;
    o.scale_result = Scale(result);
    return o;
  }
  // [M, N], row by row or column by column.
  Tensor empty(DType dtype) const {
    return c.transposed ? Tensor::empty(dtype, {c.n, c.m}).transposed()
                        : Tensor::empty(dtype, {c.m, c.n});
  }
};

TEST_P(FinishPass, IsTheRestOfAProduct) {
  const Tensor sums = empty(int32);
  ScaledMmOptions sums_alone;
  sums_alone.out_dtype = int32;
  sums_alone.out = sums;
  (void)scaled_mm(a, b, sums_alone);
  const Tensor want = scaled_mm(a, b, options());
  for (const Backend* backend : registry()) {
    if (backend->unavailable() != nullptr || backend->device != DeviceType::cpu) continue;
    for (const DType dtype : {int32, float32}) {
      if (c.out == int32 && dtype == float32) continue;
      SCOPED_TRACE(std::string(backend->name) + " " + std::string(name(dtype)));
      FinishProblem p;
      p.product = scaled_mm_problem(a, b, options()).single;
      const Tensor given = dtype == int32 ? sums : sums.to(float32);
      p.sums = given;
      const Tensor out = empty(c.out);
      p.product.out = out;
      ASSERT_TRUE(backend->passes.finish(p, {}).ok());
      expect_same_bits(out, want);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, FinishPass,
                         testing::Values(Case{1, 1, DType::float32, true, false},
                                         Case{3, 64, DType::bfloat16, true, false},
                                         Case{16, 65, DType::float16, true, true},
                                         Case{70, 130, DType::bfloat16, true, false},
                                         Case{200, 300, DType::float8_e4m3fn, true, true},
                                         Case{65, 33, DType::int32, false, true},
                                         Case{5, 128, DType::int8, true, false},
                                         Case{0, 8, DType::float32, true, false}),
                         [](const testing::TestParamInfo<Case>& test) {
                           return std::to_string(test.param.m) + "x" + std::to_string(test.param.n);
                         });

}  // namespace
}  // namespace octavo::test::finish_pass_test
