// SPDX-License-Identifier: Apache-2.0
// `finish` against the reference's: the same numbers.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cuda/passes/two_places.hpp"

namespace octavo::test::finish_pass_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Case {
  const char* name;
  std::int64_t m, n;
  DType sums = DType::float32, out = DType::float32;
  bool out_down = false, sums_down = false;  // columns lie together
  bool scale_a = true, scale_b = true, second = false;
  enum class Bias { none, columns, one, rows, both } bias = Bias::columns;
  bool c = false, alpha = false, result = false, numbers = false;
  DType other = DType::float32;  // of scales, bias, C and factors
  Overflow overflow = Overflow::saturate;
  std::int64_t k = 40;
  bool torch_compat = false;
};

class FinishNumbers : public testing::TestWithParam<Case> {
 protected:
  const Case& c = GetParam();

  static Tensor empty(DType dtype, std::int64_t m, std::int64_t n, bool down) {
    return down ? Tensor::empty(dtype, {n, m}).transposed() : Tensor::empty(dtype, {m, n});
  }
  Tensor sums() const {
    const Shape shape = c.sums_down ? Shape{c.n, c.m} : Shape{c.m, c.n};
    Tensor t = c.sums == DType::int32 ? integers(int32, shape, 1, -9000000, 9000000)
                                      : gaussians(float32, shape, 1, 40.0);
    if (c.sums == DType::float32) plant_odd_numbers(t);
    return c.sums_down ? t.transposed() : t;
  }
  FinishProblem problem(TensorsOf& put) const {
    FinishProblem p;
    p.options.overflow = c.overflow;
    p.options.torch_compat = c.torch_compat;
    Member& member = p.product;
    p.sums = put(sums());
    member.out = put.out(empty(c.out, c.m, c.n, c.out_down));
    member.a.data = MatrixView(Elements(), c.m, c.k);
    member.b.data = MatrixView(Elements(), c.k, c.n);
    const auto scale = [&](std::int64_t rows, std::int64_t columns, std::int64_t down,
                           std::int64_t across, unsigned seed) {
      ScaleView view;
      view.kind = ScaleKind::tensor;
      view.rows = down;
      view.cols = across;
      view.data = put(uniforms(c.other, {rows, columns}, seed, 0.5, 1.5));
      return view;
    };
    if (c.scale_a) {
      member.a.scale[0] = c.second ? scale((c.m + 5) / 3, 1, 3, kWholeExtent, 2)
                                   : scale(c.m, 1, 1, kWholeExtent, 2);
      if (c.second) member.a.scale[0].row0 = 2;
    }
    if (c.scale_b) member.b.scale[0] = scale(1, c.n, kWholeExtent, 1, 3);
    if (c.second) {
      member.a.scale[1] = scale(1, 1, kWholeExtent, kWholeExtent, 4);
      member.b.scale[1].kind = ScaleKind::number;
      member.b.scale[1].number = 0.3F;
    }
    Epilogue& e = member.epilogue;
    const auto factor = [&](bool wanted, std::int64_t count, unsigned seed) {
      Factor f;
      if (!wanted) return f;
      f.kind = c.numbers ? Factor::Kind::number : Factor::Kind::tensor;
      f.number = 0.7F;
      if (c.numbers) return f;
      f.data = put(uniforms(c.other, {count}, seed, 0.5, 2.0));
      if (count == 1) f.data.strides = {};
      return f;
    };
    e.alpha = factor(c.alpha, 1, 5);
    e.scale_result = factor(c.result, c.n, 6);
    if (c.c) {
      e.beta = factor(c.alpha, 1, 7);
      e.c = put(gaussians(c.other, {c.n, c.m}, 8).transposed());
    }
    const auto bias = [&](std::int64_t rows, std::int64_t columns) {
      e.bias = put(gaussians(c.other, {rows, columns}, 9));
      if (rows == 1) e.bias.strides[0] = 0;
      if (columns == 1) e.bias.strides[1] = 0;
    };
    if (c.bias == Case::Bias::columns) bias(1, c.n);
    if (c.bias == Case::Bias::one) bias(1, 1);
    if (c.bias == Case::Bias::rows) bias(c.m, 1);
    if (c.bias == Case::Bias::both) bias(c.m, c.n);
    return p;
  }
};

TEST_P(FinishNumbers, HasTheReferencesNumbers) {
  expect_same_pass(&Passes::finish, [&](TensorsOf& tensors) { return problem(tensors); });
}

std::vector<Case> cases() {
  using Bias = Case::Bias;
  std::vector<Case> all;
  for (const DTypeInfo& row : kDTypes) {
    if (!is_floating(row.dtype) && !is_integer8(row.dtype)) continue;
    for (const DType sums : {DType::int32, DType::float32}) {
      Case c{"types", 5, 300};
      c.sums = sums;
      c.out = row.dtype;
      all.push_back(c);
      c.out_down = true;
      c.overflow = Overflow::ieee;
      c.c = c.alpha = c.result = c.second = true;
      all.push_back(c);
    }
  }
  for (const DType other : {DType::bfloat16, DType::float16, DType::float32}) {
    for (const Bias bias : {Bias::none, Bias::columns, Bias::one, Bias::rows, Bias::both}) {
      for (const bool numbers : {false, true}) {
        Case c{"steps", 37, 20};
        c.bias = bias;
        c.numbers = numbers;
        c.other = other;
        c.c = c.alpha = c.result = c.second = true;
        c.sums_down = numbers;
        all.push_back(c);
      }
    }
  }
  Case exact{"exact", 19, 70, DType::int32, DType::int32};
  exact.scale_a = exact.scale_b = false;
  exact.bias = Bias::none;
  all.push_back(exact);
  exact.out_down = true;
  all.push_back(exact);
  for (const auto& [m, n] : {std::pair<std::int64_t, std::int64_t>{0, 8},
                             {8, 0},
                             {1, 1},
                             {1, 1000},
                             {1000, 1},
                             {70, 130}}) {  // more than one block of rows and of columns
    Case c{"shapes", m, n, DType::float32, DType::bfloat16};
    all.push_back(c);
  }
  Case deep{"deep", 5000, 3, DType::int32, DType::float16};  // pieces of several lines
  all.push_back(deep);
  std::swap(deep.m, deep.n);
  deep.out_down = true;
  all.push_back(deep);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Cases, FinishNumbers, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& test) {
                           return std::string(test.param.name) + std::to_string(test.index);
                         });

// Neither a scale of an operand nor alpha enters an empty sum, so that no NaN of theirs shows.
TEST(FinishAlone, AnEmptySumMeetsNoScale) {
  for (const bool torch_compat : {false, true}) {
    const Tensor zeros = values(float32, {1, 2}, {0, 0});
    const Tensor addends = values(float32, {2}, {3, -4});
    const Tensor wrong = values(float32, {1, 1}, {kNan});
    const Tensor empty = Tensor::empty(float32, {1, 2});
    const Tensor sums = to_device(zeros), scale = to_device(wrong), bias = to_device(addends),
                 out = to_device(empty);
    FinishProblem p;
    p.sums = sums;
    p.product.a.data = MatrixView(Elements(), 1, 0);
    p.product.a.scale[0] = {ScaleKind::tensor, 1.0F, scale, kWholeExtent, kWholeExtent, 0, 0};
    p.product.epilogue.alpha.kind = Factor::Kind::number;
    p.product.epilogue.alpha.number = kInf;
    p.product.epilogue.bias = bias;
    p.product.out = out;
    p.options.torch_compat = torch_compat;
    ASSERT_TRUE(tested().passes->finish(p, {}).ok());
    expect_same_bits(to_host(out), torch_compat ? zeros : values(float32, {1, 2}, {3, -4}));
  }
}

}  // namespace
}  // namespace octavo::test::finish_pass_test
