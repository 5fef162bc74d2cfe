// SPDX-License-Identifier: Apache-2.0
// Every usable backend against the reference, bit for bit: all types and granularities, any number
// of threads, odd sizes, strides, addresses, and outputs large enough to go past the caches.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kit/operands/random.hpp"
#include "ops/helpers.hpp"
#include "support/guard.hpp"

namespace octavo::test::backends_test {
namespace {

// A matrix between guard pages, at any address and distance of rows.
struct Placed {
  std::shared_ptr<void> memory;
  TensorView view;
  Tensor tensor() const { return view.defined() ? Tensor::adopt(memory, view) : Tensor(); }
};
Placed place(DType dtype, std::int64_t rows, std::int64_t cols, std::int64_t row_stride) {
  const std::int64_t last = rows == 0 || cols == 0 ? 0 : (rows - 1) * row_stride + cols;
  const auto bytes = static_cast<std::size_t>(last * element_bytes(dtype));
  Placed placed{guarded(test::GuardedSide::right)(bytes), {}};
  std::memset(placed.memory.get(), 0xA5, bytes);
  placed.view = TensorView(placed.memory.get(), dtype, {rows, cols});
  placed.view.strides[0] = row_stride;
  return placed;
}

struct Outputs {
  Placed data, scale, azp;
  Quantized quantized(const ScaleGrid& grid) const {
    return {data.tensor(), scale.tensor(), grid, azp.tensor()};
  }
};
Outputs outputs_of(const QuantizeOptions& o, const Quantized& like, std::int64_t gap) {
  const std::int64_t rows = like.data.size(0);
  const std::int64_t cols = like.data.size(1);
  const std::int64_t down = like.scale.size(0);
  const std::int64_t across = like.scale.size(1);
  Outputs out{
      place(o.dtype, rows, cols, cols + gap), place(o.scale_dtype, down, across, across), {}};
  if (o.azp) out.azp = place(DType::int32, down, across, across);
  return out;
}

bool same_rows(const TensorView& a, const TensorView& b) {
  const std::int64_t bytes = element_bytes(a.dtype);
  for (std::int64_t r = 0; a.defined() && r < a.shape[0]; ++r) {
    const auto count = static_cast<std::size_t>(a.shape[1] * bytes);
    if (std::memcmp(a.at(r * a.strides[0]), b.at(r * b.strides[0]), count) != 0) return false;
  }
  return true;
}

// Runs a quantiser on every usable backend and numbers of threads and compares with the reference.
void expect_reference(const TensorView& x, const QuantizeOptions& o, std::int64_t gap = 0,
                      const std::vector<int>& threads = {1, 2, 3}) {
  const Quantized shapes = quantize(x, o);
  const Outputs want = outputs_of(o, shapes, gap);
  quantize_into(x, o, want.quantized(shapes.grid), {}, "reference");
  for (const BackendInfo& backend : backends()) {
    if (!backend.usable || backend.name == "reference") continue;
    for (const int count : threads) {
      ThreadExecutor executor(count);
      const Outputs got = outputs_of(o, shapes, gap);
      quantize_into(x, o, got.quantized(shapes.grid), {.executor = &executor},
                    backend.name.c_str());
      ASSERT_TRUE(same_rows(got.scale.view, want.scale.view) &&
                  same_rows(got.azp.view, want.azp.view) &&
                  same_rows(got.data.view, want.data.view))
          << backend.name << ", " << count << " threads, " << name(x.dtype) << " to "
          << name(o.dtype) << ", " << to_string(o.granularity) << (o.azp ? ", azp" : "") << ", "
          << x.shape[0] << " x " << x.shape[1] << ", gap " << gap;
    }
  }
}

std::vector<QuantizeOptions> every_option() {
  std::vector<QuantizeOptions> all;
  const std::pair<Granularity, Side> grids[] = {
      {per_tensor(), Side::a},  {per_token(), Side::a},  {per_k(), Side::a},
      {per_channel(), Side::b}, {group(128), Side::a},   {group(64), Side::a},
      {group(32), Side::a},     {group(16), Side::a},    {group(48), Side::a},
      {group(7), Side::a},      {group(32), Side::b},    {block(128, 128), Side::a},
      {block(16, 64), Side::a}, {block(5, 33), Side::a}, {per_element(), Side::a}};
  for (const auto& [granularity, side] : grids) {
    for (const DType dtype : kFloat8Types) {
      all.push_back({.dtype = dtype, .granularity = granularity, .side = side});
    }
    all.push_back({.dtype = int8, .granularity = granularity, .side = side});
    for (const DType dtype : {int8, uint8}) {
      all.push_back({.dtype = dtype, .granularity = granularity, .side = side, .azp = true});
    }
  }
  for (const DType dtype : {float8_e4m3fn, float8_e5m2}) {
    all.push_back({.dtype = dtype,
                   .granularity = group(32),
                   .rounding = ScaleRounding::mx_floor,
                   .scale_dtype = float8_e8m0fnu});
    all.push_back({.dtype = dtype, .scale_ub = 0.5F});  // most elements saturate
    all.push_back({.dtype = dtype, .scale_ub = 0.5F, .overflow = Overflow::ieee});
  }
  return all;
}

// Gaussians, zeros, subnormal and huge numbers; with `special` NaN and infinities, too.
Tensor mixture(DType dtype, std::int64_t rows, std::int64_t cols, bool special) {
  const Tensor gauss = gaussians(dtype, {rows, cols}, 5, 3.0);
  const double inf = std::numeric_limits<double>::infinity();
  const double rare[] = {0.0, -0.0, 0x1p-149, -0x1p-24, 300.0, -1000.0, std::nan(""), inf, -inf};
  const std::int64_t kinds = special ? 9 : 6;
  return tensor_of(dtype, {rows, cols}, [&](std::int64_t i) {
    return i % 37 == 5 ? rare[i / 37 % kinds] : at(gauss, i);
  });
}

TEST(Backends, GiveTheBitsOfTheReference) {
  for (const DType from : {bfloat16, float16, float32}) {
    const Tensor x = mixture(from, 131, 331, false);
    for (const QuantizeOptions& o : every_option()) {
      expect_reference(x, o);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Backends, AgreeOnElementsThatAreNotFinite) {
  for (const DType from : {bfloat16, float16, float32}) {
    const Tensor x = mixture(from, 66, 200, true);
    for (const QuantizeOptions& o : every_option()) {
      expect_reference(x, o, 0, {2});
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Backends, AgreeOnEveryLengthAndAddress) {
  for (const std::int64_t cols : {1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255}) {
    const Placed x = place(bfloat16, 3, cols, cols + cols % 5);
    const Tensor content = mixture(bfloat16, 3, cols, false);
    for (std::int64_t r = 0; r < 3; ++r) {
      std::memcpy(x.view.at(r * x.view.strides[0]), content.view().at(r * cols),
                  static_cast<std::size_t>(2 * cols));
    }
    for (const QuantizeOptions& o : every_option()) {
      expect_reference(x.view, o, cols % 3, {1});
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Backends, AgreeOnStrides) {
  const Tensor x = mixture(bfloat16, 40, 700, false);
  for (const Shape& strides : {Shape{1, 40}, Shape{1403, 2}, Shape{-700, -1}, Shape{3, 150}}) {
    const Strided layout = strided(x, strides);
    for (const QuantizeOptions& o : every_option()) {
      expect_reference(layout.view, o, 0, {1, 2});
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

// Codes past the caches: whole lines where rows begin anywhere, and between guard pages.
TEST(Backends, AgreeOnOutputsThatGoPastTheCaches) {
  constexpr std::int64_t kRows = 2051;
  const struct { std::int64_t cols, gap; } shapes[] = {{4101, 0}, {4096, 64}, {4127, 1}};
  for (const auto& shape : shapes) {
    const Placed x = place(bfloat16, kRows, shape.cols, shape.cols);
    auto* elements = static_cast<std::uint16_t*>(x.view.data);
    const kit::Random random(3);
    for (std::int64_t i = 0; i < kRows * shape.cols; ++i) {
      // Numbers between 2^-3 and 2^1 of both signs.
      const std::uint64_t bits = random.bits(static_cast<std::uint64_t>(i));
      elements[i] = static_cast<std::uint16_t>(0x3E00U + bits % 0x200U + (bits >> 32 & 0x8000U));
    }
    const QuantizeOptions wanted[] = {{},
                                      {.dtype = float8_e4m3fn, .granularity = group(128)},
                                      {.granularity = per_k()},
                                      {.dtype = uint8, .granularity = per_tensor(), .azp = true}};
    for (const QuantizeOptions& o : wanted) {
      expect_reference(x.view, o, shape.gap, {2});
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

// Strips of columns that are scaled together, some of them with elements that are not finite, and
// columns that fill no strip.
TEST(Backends, AgreeOnTallColumns) {
  constexpr std::int64_t kRows = 531, kCols = 4 * 64 + 9;
  for (const DType from : {float32, bfloat16, float16}) {
    const Tensor gauss = gaussians(from, {kRows, kCols}, 6, 3.0);
    for (const bool special : {false, true}) {
      const Tensor x = tensor_of(from, {kRows, kCols}, [&](std::int64_t i) {
        const std::int64_t row = i / kCols, col = i % kCols;
        if (special && row == 400 && col == 70) return std::nan("");
        if (special && row == 530 && col == 255) return -std::numeric_limits<double>::infinity();
        return col % 50 == 7 ? 0.0 : std::ldexp(at(gauss, i), static_cast<int>(row % 13) - 9);
      });
      for (const DType dtype : {int8, float8_e4m3fn, float8_e4m3fnuz, float8_e5m2}) {
        expect_reference(x, {.dtype = dtype, .granularity = per_k()});
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

// More blocks side by side than a kernel takes at once, the last ones cut on both sides, and some
// with NaN and infinities.
TEST(Backends, AgreeOnWideBlocks) {
  for (const DType from : {bfloat16, float32}) {
    const Tensor numbers = mixture(from, 70, 64 * 131, false);
    const Tensor some = tensor_of(from, {70, 64 * 131}, [&](std::int64_t i) {
      if (i == 64 * 131 * 20 + 3000 || i == 64 * 131 * 69 + 8000) return std::nan("");
      return i == 64 * 131 * 40 ? -std::numeric_limits<double>::infinity() : at(numbers, i);
    });
    for (const Tensor& x : {numbers, some}) {
      for (const DType to : {float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, int8}) {
        expect_reference(x, {.dtype = to, .granularity = block(16, 64)}, to == int8 ? 0 : 64);
        expect_reference(x,
                         {.dtype = to,
                          .granularity = block(32, 128),
                          .rounding = ScaleRounding::power_of_two,
                          .scale_dtype = float8_e8m0fnu},
                         0, {1, 4});
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST(Backends, QuantizeIntoStridedOutputs) {
  const Tensor x = mixture(float32, 30, 90, false);
  for (const QuantizeOptions& o : every_option()) {
    const Quantized want = quantize(x, o);
    const Strided data = strided(want.data, {-200, 2});
    const Strided scale = strided(want.scale, {7 * want.scale.size(1), 3});
    const Quantized out{Tensor::adopt(data.memory, data.view),
                        Tensor::adopt(scale.memory, scale.view), want.grid,
                        o.azp ? copy(want.azp, int32) : Tensor()};
    for (std::uint8_t& byte : *data.memory) byte = 0xA5;
    for (std::uint8_t& byte : *scale.memory) byte = 0;
    quantize_into(x, o, out);
    expect_same_bits(copy(out.data, o.dtype), want.data);
    expect_same_bits(copy(out.scale, o.scale_dtype), want.scale);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace octavo::test::backends_test
