// SPDX-License-Identifier: Apache-2.0
// Errors of codes: every kernel gives the same bits, within 18 roundings of float64's sums,
// whatever length, alignment and magnitude rows have, and the pass like the reference's.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "backends/cpu/kernels.hpp"
#include "core/element.hpp"
#include "kit/random.hpp"
#include "octavo/quantize.hpp"
#include "support/guard.hpp"

namespace octavo::test {
namespace {

constexpr double kBound = 18 * 0x1p-24;

bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

CodeErrors in_float64(const cpu::CodeRow& row) {
  CodeErrors sums;
  for (std::int64_t i = 0; i < row.count; ++i) {
    const double w = static_cast<double>(load_float(row.from, row.values, i));
    const float code = load_float(row.to, row.codes, i);
    const double error = w - static_cast<double>(code * row.scale);
    sums.signal += w * w;
    sums.noise += error * error;
    sums.largest = std::max(sums.largest, std::abs(error));
    sums.saturated += std::abs(code) >= row.largest ? 1 : 0;
    sums.finite = sums.finite && std::isfinite(w);
  }
  return sums;
}

/// A row of values and codes that ends at a guard page.
class Row {
 public:
  Row(DType from, DType to, std::int64_t count, float magnitude) {
    const auto elements = static_cast<std::size_t>(count);
    values_ = guarded(Side::right)(elements * static_cast<std::size_t>(element_bytes(from)));
    codes_ = guarded(Side::right)(elements);
    const kit::Random random(static_cast<std::uint64_t>(count) + 7);
    for (std::int64_t i = 0; i < count; ++i) {
      const double uniform = random.uniform(static_cast<std::uint64_t>(i)) - 0.5;
      store_float(from, values_.get(), i, static_cast<float>(uniform) * magnitude,
                  Overflow::saturate);
      store_float(to, codes_.get(), i, static_cast<float>(std::nearbyint(uniform * 254)),
                  Overflow::saturate);
    }
    row = {.from = from,
           .values = values_.get(),
           .to = to,
           .codes = codes_.get(),
           .count = count,
           .scale = magnitude / 254.0F,
           .largest = 120.0F};
  }
  void put(std::int64_t i, float value) const {
    store_float(row.from, values_.get(), i, value, Overflow::saturate);
  }
  cpu::CodeRow row;

 private:
  std::shared_ptr<void> values_, codes_;
};

TEST(CodeErrors, AreThoseOfFloat64OnEveryKernel) {
  for (const DType from : {DType::bfloat16, DType::float16, DType::float32}) {
    for (const DType to : {DType::int8, DType::float8_e4m3fn, DType::float8_e5m2}) {
      for (const std::int64_t count : {0, 1, 15, 16, 17, 255, 256, 257, 500, 4096}) {
        for (const float magnitude : {0.0F, 1e-25F, 1e-3F, 1.0F, 1e4F, 1e25F}) {
          if (from == DType::float16 && magnitude > 1e4F) continue;
          const Row made(from, to, count, magnitude);
          const CodeErrors want = in_float64(made.row);
          CodeErrors first;
          cpu::usable_kernels()[0]->code_errors(made.row, first);
          EXPECT_NEAR(want.signal, first.signal, kBound * want.signal) << count << " " << magnitude;
          EXPECT_NEAR(want.noise, first.noise,
                      kBound * want.noise + kBound * want.signal * 0x1p-20);
          EXPECT_NEAR(want.largest, first.largest, 0x1p-23 * static_cast<double>(magnitude));
          EXPECT_EQ(want.saturated, first.saturated);
          EXPECT_TRUE(first.finite);
          for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
            CodeErrors got;
            kernels->code_errors(made.row, got);
            EXPECT_TRUE(same_bits(first.signal, got.signal) && same_bits(first.noise, got.noise) &&
                        same_bits(first.largest, got.largest) && first.saturated == got.saturated);
          }
        }
      }
    }
  }
}

TEST(CodeErrors, TellWhereverAnElementIsNotFinite) {
  for (const std::int64_t count : {1, 40, 300}) {
    for (const std::int64_t at : {std::int64_t{0}, count / 2, count - 1}) {
      for (const float bad : {std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity(), std::nanf("")}) {
        const Row made(DType::bfloat16, DType::int8, count, 1.0F);
        made.put(at, bad);
        for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
          CodeErrors got;
          kernels->code_errors(made.row, got);
          EXPECT_FALSE(got.finite) << count << " " << at << " " << bad;
        }
      }
    }
  }
}

TEST(CodeErrors, OfEveryGridAreTheReferences) {
  const Tensor weight = Tensor::empty(DType::float32, {200, 300});
  const kit::Random random(3);
  for (std::int64_t i = 0; i < weight.numel(); ++i) {
    weight.data_as<float>()[i] =
        static_cast<float>(random.uniform(static_cast<std::uint64_t>(i)) - 0.5);
  }
  for (const Granularity& granularity :
       {per_tensor(), per_token(), group(32), group(128), block(128, 128)}) {
    const Quantized q = quantize(weight, {.dtype = DType::int8, .granularity = granularity});
    const CodeErrors got = code_errors(weight, q);
    const Tensor back = dequantize(q);
    double noise = 0;
    for (std::int64_t i = 0; i < weight.numel(); ++i) {
      const double error = static_cast<double>(weight.data_as<float>()[i]) -
                           static_cast<double>(back.data_as<float>()[i]);
      noise += error * error;
    }
    EXPECT_NEAR(noise, got.noise, 2 * kBound * noise) << to_string(granularity);
  }
}

}  // namespace
}  // namespace octavo::test
