// SPDX-License-Identifier: Apache-2.0
// Errors of codes: every kernel gives the same bits, within 18 roundings of float64's sums,
// whatever length, alignment and magnitude rows have, and the pass like the reference's.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "backends/cpu/row_kernels.hpp"
#include "core/data/element.hpp"
#include "kit/operands/random.hpp"
#include "octavo/llm_int8.hpp"
#include "octavo/quantize.hpp"
#include "support/guard.hpp"

namespace octavo::test::errors_test {
namespace {

constexpr double kBound = 18 * 0x1p-24;

bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}
bool same_bits(const CodeErrors& a, const CodeErrors& b) {
  return same_bits(a.signal, b.signal) && same_bits(a.noise, b.noise) &&
         same_bits(a.largest, b.largest) && a.saturated == b.saturated && a.finite == b.finite;
}
bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.numel() == b.numel() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.numel())) == 0;
}

Tensor random_weight(std::int64_t n, std::int64_t k) {
  Tensor weight = Tensor::empty(DType::float32, {n, k});
  const kit::Random random(3);
  for (std::int64_t i = 0; i < weight.numel(); ++i) {
    weight.data_as<float>()[i] =
        static_cast<float>(random.uniform(static_cast<std::uint64_t>(i)) - 0.5);
  }
  return weight;
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
    values_ = guarded(GuardedSide::right)(elements * static_cast<std::size_t>(element_bytes(from)));
    codes_ = guarded(GuardedSide::right)(elements);
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
            EXPECT_TRUE(same_bits(first, got));
          }
        }
      }
    }
  }
}

/// A row of a kind, to be quantised and measured by every kernel.
struct Measured {
  DType from, to;
  std::int64_t count, run;  ///< run 0: one factor for all
  float magnitude;
  bool vectorwise, tame;
};

// Codes that are measured while they are made: the codes that they would be, and the errors that
// these have, which are the same bits on every kernel, and as of codes that lie there.
void expect_measured(const Measured& kind) {
  const Row made(kind.from, kind.to, kind.count, kind.magnitude);
  const std::vector<float> factors(static_cast<std::size_t>(kind.count) + 1,
                                   kind.magnitude / (kind.vectorwise ? 1.0F : 254.0F));
  const float factor = kind.vectorwise ? 254.0F / kind.magnitude : factors[0];
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(kind.count)), unpacked(codes.size());
  cpu::RowCodes row{.from = kind.from,
                    .source = made.row.values,
                    .count = kind.count,
                    .factor = factor,
                    .factors = kind.run == 0 ? nullptr : factors.data(),
                    .run = kind.run,
                    .to = kind.to,
                    .vectorwise = kind.vectorwise,
                    .limit = cpu::kNanBits,
                    .tame = kind.tame,
                    .scale = kind.magnitude / 254.0F,
                    .largest = 120.0F};
  cpu::CodeRow lying = made.row;
  lying.codes = codes.data();
  CodeErrors first;
  for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
    SCOPED_TRACE(fmt::format("{}: {} to {}, {} in runs of {}, {}, tame {}", kernels->on_floats,
                             name(kind.from), name(kind.to), kind.count, kind.run, kind.magnitude,
                             kind.tame));
    row.errors = nullptr;
    row.codes = unpacked.data();
    kernels->quantize(row);
    CodeErrors got;
    row.errors = &got;
    row.codes = codes.data();
    kernels->quantize(row);
    EXPECT_EQ(unpacked, codes);
    const CodeErrors want = in_float64(lying);
    EXPECT_NEAR(want.signal, got.signal, kBound * want.signal);
    EXPECT_NEAR(want.noise, got.noise, kBound * want.noise + kBound * want.signal * 0x1p-20);
    EXPECT_NEAR(want.largest, got.largest, 0x1p-23 * static_cast<double>(kind.magnitude));
    EXPECT_EQ(want.saturated, got.saturated);
    EXPECT_EQ(want.finite, got.finite);
    if (kernels == cpu::usable_kernels()[0]) {
      first = got;
      if (kind.run == 0) {
        first = {};
        kernels->code_errors(lying, first);
      }
    }
    EXPECT_TRUE(same_bits(first, got));
  }
}

TEST(CodeErrors, AreMeasuredWhileCodesAreMade) {
  for (const DType from : {DType::bfloat16, DType::float16, DType::float32}) {
    for (const DType to : {DType::int8, DType::float8_e4m3fn, DType::float8_e5m2}) {
      for (const std::int64_t count : {0, 1, 64, 77, 128, 500, 704, 4096}) {
        for (const float magnitude : {1e-25F, 1e-3F, 1.0F, 1e4F, 1e25F}) {
          if (from == DType::float16 && magnitude > 1e4F) continue;
          for (const bool tame : {false, true}) {
            for (const std::int64_t run : {0, 1, 48, 64, 128, 1000}) {
              expect_measured({from, to, count, run, magnitude, false, tame});
            }
          }
          if (to == DType::int8) expect_measured({from, to, count, 0, magnitude, true, false});
          if (HasFailure()) return;
        }
      }
    }
  }
}

// Of a matrix: as of its codes when they lie there.
TEST(CodeErrors, OfAQuantizerAreThoseOfItsCodes) {
  const Tensor weight = random_weight(200, 384);
  for (const DType dtype : {DType::int8, DType::float8_e4m3fn, DType::float8_e5m2}) {
    for (const Granularity& granularity :
         {per_tensor(), per_token(), group(32), group(128), block(128, 128)}) {
      for (const bool across : {false, true}) {
        const TensorView x = across ? weight.view().transposed() : weight.view();
        const QuantizeOptions options{.dtype = dtype, .granularity = granularity};
        CodeErrors got;
        if (across) {
          EXPECT_THROW(quantize(x, options, got), Error);
          continue;
        }
        const Quantized q = quantize(x, options, got);
        EXPECT_TRUE(same_bytes(quantize(x, options).data, q.data));
        const CodeErrors want = code_errors(x, q);
        EXPECT_NEAR(want.signal, got.signal, 2 * kBound * want.signal) << to_string(granularity);
        EXPECT_NEAR(want.noise, got.noise, 2 * kBound * want.noise) << to_string(granularity);
        EXPECT_EQ(want.largest, got.largest);
        EXPECT_EQ(want.saturated, got.saturated);
        EXPECT_TRUE(got.finite);
      }
    }
  }
}

TEST(CodeErrors, OfLlmInt8AreThoseOfItsCodes) {
  const Tensor weight = random_weight(200, 384);
  CodeErrors got;
  const VectorwiseQuant rows = int8_vectorwise_quant(weight, got);
  EXPECT_TRUE(same_bytes(int8_vectorwise_quant(weight).codes, rows.codes));
  const Tensor scale = Tensor::empty(DType::float32, {200, 1});
  for (std::int64_t i = 0; i < 200; ++i) {
    scale.data_as<float>()[i] = rows.row_absmax.data_as<float>()[i] / 127.0F;
  }
  const CodeErrors want = code_errors(weight, {rows.codes, scale, ScaleGrid{1, kWholeExtent}, {}});
  EXPECT_NEAR(want.signal, got.signal, 2 * kBound * want.signal);
  EXPECT_NEAR(want.noise, got.noise, 2 * kBound * want.noise);
  EXPECT_EQ(want.largest, got.largest);
  EXPECT_EQ(want.saturated, got.saturated);
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
  const Tensor weight = random_weight(200, 300);
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
}  // namespace octavo::test::errors_test
