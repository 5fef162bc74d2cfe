// SPDX-License-Identifier: Apache-2.0
// `quantize` against the reference's: the same bits.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "backends/cuda/kernels/passes/quantize_rules.hpp"
#include "core/data/cells.hpp"
#include "cuda/passes/two_places.hpp"

namespace octavo::test::quantize_passes_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Case {
  std::int64_t rows = 5, columns = 300;
  DType from = DType::float32;
  QuantizeSpec spec;
  ScaleGrid grid{1, kWholeExtent};
  enum class Layout { rows, columns, offset, backwards, repeated } layout = Layout::rows;
  bool codes_transposed = false;
  bool codes = true;
  bool static_scales = false, shown = false;
  DType static_dtype = DType::float32;
  bool odd_elements = true;  // NaN, infinities, subnormals, cells of zeros
  unsigned seed = 1;
};

Tensor elements(const Case& c) {
  Tensor x = gaussians(float32, {c.rows, c.columns}, c.seed, 3.0);
  constexpr float kOdd[] = {kNan,  kInf,     -kInf,   -kNan,       0x1p-140F,
                            -0.0F, 0x1p127F, -500.0F, 0x1.8p-130F, -0x1p-126F};
  std::mt19937 bits(c.seed);
  for (std::int64_t i = 0; i < x.numel() && c.odd_elements; ++i) {
    if (bits() % 200 == 0) x.data_as<float>()[i] = kOdd[bits() % 10];
    if (i / c.columns % 4 == 3) x.data_as<float>()[i] *= 0x1p-110F;
    if (i / c.columns % 6 == 2 || i % c.columns / 40 % 5 == 1) x.data_as<float>()[i] = 0.0F;
  }
  return copy(x, c.from);
}

// The same values with other strides.
Tensor laid_out(const Case& c, const Tensor& x) {
  const std::int64_t rows = c.rows, columns = c.columns;
  const Shape strides[] = {
      {columns, 1}, {1, rows}, {columns + 3, 1}, {-columns, -1}, {2 * columns, 2}};
  const Strided s = strided(x, strides[static_cast<int>(c.layout)]);
  return Tensor::adopt(s.memory, s.view);
}

// Poisoned, so that what is not written is seen.
Tensor empty(DType dtype, std::int64_t rows, std::int64_t columns, bool transposed = false) {
  const Tensor t = transposed ? Tensor::empty(dtype, {columns, rows}).transposed()
                              : Tensor::empty(dtype, {rows, columns});
  fill_with_poison(t);
  return t;
}

QuantizeProblem problem(const Case& c, TensorsOf& tensors) {
  const std::int64_t down = cells(c.rows, c.grid.rows), across = cells(c.columns, c.grid.cols);
  QuantizeProblem q;
  q.x = tensors(laid_out(c, elements(c)));
  q.spec = c.spec;
  q.grid = c.grid;
  q.static_scales = c.static_scales;
  if (c.codes) q.codes = tensors.out(empty(c.spec.dtype, c.rows, c.columns, c.codes_transposed));
  if (c.static_scales) {
    q.scales = tensors.out(uniforms(c.static_dtype, {down, across}, c.seed, 0.001, 4.0));
    if (c.spec.azp) q.azp = tensors.out(integers(int32, {down, across}, c.seed, -300, 300));
    if (c.shown) q.shown_scales = tensors.out(empty(float32, down, across));
  } else {
    q.scales = tensors.out(empty(c.spec.scale_dtype, down, across));
    if (c.spec.azp) q.azp = tensors.out(empty(int32, down, across));
  }
  return q;
}

std::string text(const Case& c) {
  const QuantizeSpec& s = c.spec;
  const auto number = [](auto value) {
    return std::to_string(static_cast<long long>(value)) + " ";
  };
  return std::string(name(c.from)) + " to " + std::string(name(s.dtype)) + " " + number(c.rows) +
         number(c.columns) + "grid " + number(c.grid.rows) + number(c.grid.cols) + "layout " +
         number(c.layout) + "transposed " + number(c.codes_transposed) + "codes " +
         number(c.codes) + "static " + number(c.static_scales) + "shown " + number(c.shown) +
         "azp " + number(s.azp) + "rounding " + number(s.rounding) + "non_finite " +
         number(s.non_finite) + "seed " + number(c.seed);
}

void expect_all(const Case& c) {
  SCOPED_TRACE(text(c));
  expect_same_pass(
      &Passes::quantize, [&](TensorsOf& tensors) { return problem(c, tensors); },
      &expect_same_bits);
}

constexpr DType kFrom[] = {bfloat16, float16, float32};
constexpr DType kTo[] = {int8, uint8, float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz};
constexpr ScaleGrid kGrids[] = {{kWholeExtent, kWholeExtent},
                                {1, kWholeExtent},
                                {kWholeExtent, 1},
                                {1, 128},
                                {1, 32},
                                {32, 1},
                                {1, 24},
                                {1, 5},
                                {1, 8},
                                {1, 1024},
                                {16, 16},
                                {7, 9},
                                {1, 1},
                                {4, kWholeExtent},
                                {kWholeExtent, 16},
                                {3, 1}};

TEST(QuantizePass, EveryTypeToEveryCode) {
  for (const DType from : kFrom) {
    for (const DType to : kTo) {
      for (const bool azp : {false, true}) {
        if (azp && !is_integer8(to)) continue;
        Case c;
        c.from = from;
        c.spec.dtype = to;
        c.spec.azp = azp;
        for (const NonFinite rule : {NonFinite::propagate, NonFinite::ignore}) {
          c.spec.non_finite = rule;
          c.spec.overflow = rule == NonFinite::ignore ? Overflow::ieee : Overflow::saturate;
          c.grid = {1, rule == NonFinite::ignore ? kWholeExtent : 32};
          expect_all(c);
        }
      }
    }
  }
}

TEST(QuantizePass, EveryGridInEveryLayout) {
  for (const ScaleGrid& grid : kGrids) {
    for (int layout = 0; layout < 5; ++layout) {
      for (const auto& shape : {Shape{1, 264}, {5, 300}, {0, 16}, {3, 0}}) {
        Case c;
        c.rows = shape[0];
        c.columns = shape[1];
        c.grid = grid;
        c.layout = static_cast<Case::Layout>(layout);
        c.from = layout % 2 == 0 ? bfloat16 : float32;
        c.codes_transposed = layout == 1;
        expect_all(c);
      }
    }
  }
}

TEST(QuantizePass, LargeCellsAreSharedOut) {
  for (const auto& shape : {Shape{70, 300}, {5000, 3}, {1, 20000}}) {
    for (const ScaleGrid& grid :
         {ScaleGrid{}, ScaleGrid{kWholeExtent, 1}, ScaleGrid{1, kWholeExtent},
          ScaleGrid{kWholeExtent, 40}, ScaleGrid{100, kWholeExtent}}) {
      Case c;
      c.rows = shape[0];
      c.columns = shape[1];
      c.grid = grid;
      c.from = bfloat16;
      expect_all(c);
      c.spec.azp = true;
      c.from = float16;
      expect_all(c);
      c.static_scales = c.shown = true;
      c.layout = Case::Layout::columns;
      expect_all(c);
    }
  }
}

// What has a kernel of its own: elements and codes that are words.
TEST(QuantizePass, WholeOctetsOfRows) {
  for (const DType from : kFrom) {
    for (const DType to : kTo) {
      for (const bool plain : {false, true}) {
        for (const auto& shape : {Shape{9, 512}, {5, 1024}, {3, 4096}}) {
          for (const std::int64_t width : {std::int64_t{32}, std::int64_t{128}, kWholeExtent}) {
            Case c;
            c.rows = shape[0];
            c.columns = shape[1];
            c.from = from;
            c.grid = {1, width};
            c.odd_elements = !plain;
            c.spec.dtype = to;
            c.spec.non_finite = shape[0] == 5 ? NonFinite::ignore : NonFinite::propagate;
            c.spec.overflow = plain && width == 128 ? Overflow::ieee : Overflow::saturate;
            if (width == 32) {
              c.spec.rounding = plain ? ScaleRounding::mx_floor : ScaleRounding::power_of_two;
              c.spec.scale_dtype = float8_e8m0fnu;
            }
            if (shape[0] == 3) c.spec.scale_ub = 2.0F;
            expect_all(c);
          }
        }
      }
    }
  }
}

TEST(QuantizePass, ManyNarrowCells) {
  for (const ScaleGrid& grid : {ScaleGrid{32, 1}, ScaleGrid{16, 3}, ScaleGrid{1, 1}}) {
    Case c;
    c.rows = 96;
    c.columns = 1100;
    c.grid = grid;
    c.from = bfloat16;
    c.spec.dtype = float8_e4m3fn;
    expect_all(c);
  }
}

// Anything with anything.
TEST(QuantizePass, DrawnCases) {
  for (unsigned seed = 1; seed <= 150; ++seed) {
    std::mt19937 bits(seed);
    const auto draw = [&](unsigned count) { return static_cast<int>(bits() % count); };
    Case c;
    c.seed = seed;
    c.rows = draw(6) == 0 ? 1 : draw(40);
    c.columns = draw(3) == 0 ? 8 * draw(80) : draw(400);
    c.from = kFrom[draw(3)];
    c.spec.dtype = kTo[draw(6)];
    c.grid = kGrids[draw(std::size(kGrids))];
    c.layout = static_cast<Case::Layout>(draw(5));
    c.codes_transposed = draw(4) == 0;
    c.codes = draw(10) != 0;
    c.spec.azp = is_integer8(c.spec.dtype) && draw(2) == 0;
    c.spec.widen = draw(2) == 0;
    c.spec.non_finite = draw(3) == 0 ? NonFinite::ignore : NonFinite::propagate;
    c.spec.overflow = draw(2) == 0 ? Overflow::ieee : Overflow::saturate;
    if (!c.spec.azp) c.spec.rounding = static_cast<ScaleRounding>(draw(3));
    if (c.spec.rounding != ScaleRounding::none && draw(2) == 0) c.spec.scale_dtype = float8_e8m0fnu;
    if (draw(4) == 0) c.spec.scale_ub = 2.5F;
    if (draw(4) == 0) c.spec.min_scale = draw(2) == 0 ? 0x1p-20F : 0.03F;
    if (draw(4) == 0) c.spec.qmax = 100.0F;
    c.static_scales = draw(4) == 0;
    c.shown = c.static_scales && draw(2) == 0;
    constexpr DType kScales[] = {float32, bfloat16, float16, float8_e8m0fnu};
    c.static_dtype = kScales[draw(4)];
    c.odd_elements = draw(3) != 0;
    expect_all(c);
    if (testing::Test::HasFailure()) return;
  }
}

// Wherever a code could depend on the last bit.
TEST(QuantizePass, QuotientsByReciprocalsAreRoundedCorrectly) {
  std::mt19937_64 bits(1);
  std::int64_t checked = 0;
  for (int i = 0; i < 2'000'000; ++i) {
    const std::uint64_t drawn = bits();
    auto x = static_cast<std::uint32_t>(drawn), scale = static_cast<std::uint32_t>(drawn >> 33);
    if (i % 4 == 1) x |= 0x007FFF00U, scale &= 0x7F8000FFU;  // quotients near powers of two
    if (i % 4 == 2) scale |= 0x007FFFF0U;
    if (i % 4 == 3)
      x = (x & 0x807FFFFFU) | 0x3F800000U, scale = (scale & 0x007FFFFFU) | 0x3B000000U;
    const float a = std::bit_cast<float>(x), b = std::bit_cast<float>(scale);
    const cuda::Divisor by = cuda::divisor_of({b, 0}, x & 0x7FFFFFFFU);
    if (!by.near) continue;
    ++checked;
    const float got = cuda::near_quotient(a, by), want = a / b;
    ASSERT_EQ(std::signbit(got), std::signbit(want)) << a << " / " << b;
    if (std::abs(want) >= 0x1p-20F) {
      ASSERT_EQ(got, want) << a << " / " << b;
    } else {
      ASSERT_LT(std::abs(got), 0x1.1p-20F) << a << " / " << b;
    }
  }
  EXPECT_GT(checked, 500'000);
}

}  // namespace
}  // namespace octavo::test::quantize_passes_test
