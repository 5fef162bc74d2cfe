// SPDX-License-Identifier: Apache-2.0
// `vectorwise` against the reference's: the same bits.
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "backends/backend.hpp"
#include "octavo/octavo.hpp"
#include "ops/helpers.hpp"
#include "support/tested_passes.hpp"

namespace octavo::test::vectorwise_pass_test {
namespace {

struct Case {
  std::int64_t rows = 5, columns = 300;
  DType from = float16;
  float threshold = 6.0F;
  bool whole = false, by_element = false, wants_columns = true, zero_rows = false, codes = true;
  std::vector<double> fixed;
  bool turned = false, codes_turned = false, odd_elements = true;
  unsigned seed = 1;
};

Tensor elements(const Case& c) {
  const Shape shape = c.turned ? Shape{c.columns, c.rows} : Shape{c.rows, c.columns};
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
  return c.turned ? typed.transposed() : typed;
}

struct Outputs {
  Tensor codes, absmax, flags, columns, count, fixed, zero_rows;

  template <class Put>
  Outputs put(const Put& there) const {
    Outputs o;
    for (Tensor Outputs::*t :
         {&Outputs::codes, &Outputs::absmax, &Outputs::flags, &Outputs::columns, &Outputs::count,
          &Outputs::fixed, &Outputs::zero_rows}) {
      if ((this->*t).defined()) o.*t = there(this->*t);
    }
    return o;
  }
};

Tensor poisoned(const Tensor& t) {
  fill_with_poison(t);
  return t;
}

Outputs outputs(const Case& c) {
  Outputs o;
  if (c.codes) {
    o.codes = c.codes_turned ? Tensor::empty(int8, {c.columns, c.rows}).transposed()
                             : Tensor::empty(int8, {c.rows, c.columns});
    fill_with_poison(o.codes);
  }
  o.absmax = poisoned(Tensor::empty(float32, {c.rows, 1}));
  if (c.wants_columns) {
    o.flags = poisoned(Tensor::empty(uint8, {c.columns}));
    o.columns = poisoned(Tensor::empty(int64, {c.columns}));
    o.count = poisoned(Tensor::empty(int64, {1}));
    const auto fixed = static_cast<std::int64_t>(c.fixed.size());
    if (fixed > 0) o.fixed = values(int64, {fixed}, c.fixed);
  }
  if (c.zero_rows) o.zero_rows = integers(uint8, {c.rows}, c.seed, 0, 1);
  return o;
}

VectorwiseProblem problem(const Case& c, const TensorView& x, const Outputs& o) {
  VectorwiseProblem q;
  q.x = x;
  q.threshold = c.threshold;
  q.whole_columns = c.whole;
  q.by_element = c.by_element;
  if (o.fixed.defined()) q.fixed_columns = o.fixed;
  q.zero_rows = o.zero_rows.data_as<std::uint8_t>();
  if (o.codes.defined()) q.codes = o.codes;
  q.absmax = o.absmax;
  q.column_flags = o.flags.data_as<std::uint8_t>();
  q.columns = o.columns.data_as<std::int64_t>();
  q.column_count = o.count.data_as<std::int64_t>();
  return q;
}

void expect_reference(const Case& c) {
  SCOPED_TRACE(std::to_string(c.rows) + " x " + std::to_string(c.columns) + " seed " +
               std::to_string(c.seed));
  const Tensor x = elements(c);
  const Outputs want = outputs(c);
  const Outputs got = want.put([](const Tensor& t) { return to_device(t); });
  const Tensor there = to_device(x);
  ASSERT_TRUE(find_backend("reference")->passes.vectorwise(problem(c, x, want), {}).ok());
  const Status status = tested().passes->vectorwise(problem(c, there, got), {});
  ASSERT_TRUE(status.ok()) << status.message();
  if (c.codes) expect_same_bits(to_host(got.codes), want.codes);
  expect_same_bits(to_host(got.absmax), want.absmax);
  if (!c.wants_columns) return;
  expect_same_bits(to_host(got.flags), want.flags);
  expect_same_bits(to_host(got.count), want.count);
  const std::int64_t count = want.count.data_as<std::int64_t>()[0];
  const Tensor columns = to_host(got.columns);
  expect_same_bits(columns.view().slice(0, 0, count), want.columns.view().slice(0, 0, count));
  if (tested().device.type == DeviceType::cpu) return;
  for (std::int64_t i = count; i < c.columns; ++i)
    EXPECT_EQ(columns.data_as<std::int64_t>()[i], -1);
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
    c.turned = draw(3) == 0;
    c.codes_turned = draw(3) == 0;
    c.odd_elements = draw(2) == 0;
    for (int at = draw(20); at < c.columns && draw(3) != 0; at += 1 + draw(70))
      c.fixed.push_back(at);
    expect_reference(c);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(VectorwisePass, LongRowsAndLongLists) {
  for (const auto& shape : {Shape{3, 5000}, {2, 17000}, {700, 9}}) {
    for (const bool turned : {false, true}) {
      Case c;
      c.rows = shape[0];
      c.columns = shape[1];
      c.turned = turned;
      c.threshold = 2.5F;
      c.fixed = {2, 7};
      c.whole = turned;
      expect_reference(c);
    }
  }
}

}  // namespace
}  // namespace octavo::test::vectorwise_pass_test
