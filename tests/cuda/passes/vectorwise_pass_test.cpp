// SPDX-License-Identifier: Apache-2.0
// `vectorwise` against the reference's: the same bits.
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cuda/passes/two_places.hpp"

namespace octavo::test::vectorwise_pass_test {
namespace {

struct Case {
  std::int64_t rows = 5, columns = 300;
  DType from = float16;
  float threshold = 6.0F;
  bool whole = false, by_element = false, wants_columns = true, zero_rows = false, codes = true;
  std::vector<double> fixed;
  bool transposed = false, codes_transposed = false, odd_elements = true;
  unsigned seed = 1;
};

Tensor elements(const Case& c) {
  const Shape shape = c.transposed ? Shape{c.columns, c.rows} : Shape{c.rows, c.columns};
  const Tensor x = gaussians(float32, shape, c.seed, 1.2);
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kOdd[] = {kNan, kInf, -kInf, -kNan, 0x1p-130F, -0.0F, 6.0F, -5.996F};
  std::mt19937 bits(c.seed);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    float& value = x.data_as<float>()[i];
    if (bits() % 400 == 0) value *= 20.0F;
    if (c.odd_elements && bits() % 500 == 0) value = kOdd[bits() % 8];
    if (i / shape[1] % 7 == 4) value *= 0x1p-124F;
  }
  const Tensor typed = copy(x, c.from);
  return c.transposed ? typed.transposed() : typed;
}

Tensor poisoned(const Tensor& t) {
  fill_with_poison(t);
  return t;
}

VectorwiseProblem problem(const Case& c, TensorsOf& tensors) {
  VectorwiseProblem q;
  q.x = tensors(elements(c));
  q.threshold = c.threshold;
  q.whole_columns = c.whole;
  q.by_element = c.by_element;
  const auto out = [&]<class T>(T*& place, const Tensor& t) {
    place = static_cast<T*>(tensors.out(t).data);
  };
  if (c.codes) {
    q.codes = tensors.out(c.codes_transposed
                              ? poisoned(Tensor::empty(int8, {c.columns, c.rows})).transposed()
                              : poisoned(Tensor::empty(int8, {c.rows, c.columns})));
  }
  q.absmax = tensors.out(poisoned(Tensor::empty(float32, {c.rows, 1})));
  if (c.wants_columns) {
    out(q.column_flags, poisoned(Tensor::empty(uint8, {c.columns})));
    // What follows the last one is -1 on a device, and not written elsewhere.
    out(q.columns, integers(int64, {c.columns}, 1, -1, -1));
    out(q.column_count, poisoned(Tensor::empty(int64, {1})));
    const auto fixed = static_cast<std::int64_t>(c.fixed.size());
    if (fixed > 0) q.fixed_columns = tensors(values(int64, {fixed}, c.fixed));
  }
  if (c.zero_rows) {
    q.zero_rows =
        static_cast<const std::uint8_t*>(tensors(integers(uint8, {c.rows}, c.seed, 0, 1)).data);
  }
  return q;
}

void expect_reference(const Case& c) {
  SCOPED_TRACE(std::to_string(c.rows) + " x " + std::to_string(c.columns) + " seed " +
               std::to_string(c.seed));
  expect_same_pass(
      &Passes::vectorwise, [&](TensorsOf& tensors) { return problem(c, tensors); },
      &expect_same_bits);
}

TEST(VectorwisePass, DrawnCases) {
  for (unsigned seed = 1; seed <= 120; ++seed) {
    std::mt19937 bits(seed);
    const auto draw = [&](unsigned count) { return static_cast<int>(bits() % count); };
    constexpr DType kFrom[] = {float16, bfloat16, float32};
    Case c;
    c.seed = seed;
    c.rows = draw(6) == 0 ? draw(2) : draw(40);
    c.columns = draw(3) == 0 ? 8 * draw(60) : draw(300);
    c.from = kFrom[draw(3)];
    c.threshold = draw(4) == 0 ? 0.0F : 3.0F + static_cast<float>(draw(4));
    c.whole = draw(2) == 0;
    c.by_element = draw(3) == 0;
    c.wants_columns = draw(4) != 0;
    c.zero_rows = draw(3) == 0;
    c.codes = draw(8) != 0;
    c.transposed = draw(3) == 0;
    c.codes_transposed = draw(3) == 0;
    c.odd_elements = draw(2) == 0;
    for (int at = draw(20); at < c.columns && draw(3) != 0; at += 1 + draw(70))
      c.fixed.push_back(at);
    expect_reference(c);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(VectorwisePass, LongRowsAndLongLists) {
  for (const auto& shape : {Shape{3, 5000}, {2, 17000}, {700, 9}}) {
    for (const bool transposed : {false, true}) {
      Case c;
      c.rows = shape[0];
      c.columns = shape[1];
      c.transposed = transposed;
      c.threshold = 2.5F;
      c.fixed = {2, 7};
      c.whole = transposed;
      expect_reference(c);
    }
  }
}

}  // namespace
}  // namespace octavo::test::vectorwise_pass_test
