// SPDX-License-Identifier: Apache-2.0
// fp8 codes as bfloat16, in rows and inside tiles, code by code; and floats packed into panels.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "backends/cpu/dot/machines.hpp"
#include "dot_operands.hpp"
#include "octavo/numeric.hpp"

namespace octavo::test::float8_test {
namespace {

using cpu::kPanelVectors;
using cpu::kVectorCols;

bool has_negative_zero(DType dtype) { return !info(dtype).format.unsigned_zero; }

// The bfloat16 number of a code; NaN is any NaN.
testing::AssertionResult is_code(std::uint16_t got, DType dtype, std::uint8_t code) {
  const float want = value_of(dtype, code);
  const auto bits = std::bit_cast<std::uint32_t>(want);
  const bool same = std::isnan(want) ? (got & 0x7FFFU) > 0x7F80U : got == bits >> 16;
  if (same && (std::isnan(want) || (bits & 0xFFFFU) == 0)) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << name(dtype) << ", code " << int{code} << ": " << std::hex << got << " against " << bits;
}

TEST(Float8Table, HoldsEveryCodeWithoutItsSign) {
  for (const DType dtype : kFloat8Types) {
    const cpu::Float8Table& table = cpu::float8_table(dtype);
    for (std::size_t code = 0; code < 128; ++code) {
      const auto bits = static_cast<std::uint16_t>(table.low[code] | table.high[code] << 8);
      EXPECT_TRUE(is_code(bits, dtype, static_cast<std::uint8_t>(code)));
    }
    EXPECT_EQ(table.negative_zero_is_nan, !has_negative_zero(dtype));
  }
}

TEST(Float8Decode, GivesEveryCodeOfAnyCountAtAnyAddress) {
  const cpu::Float8Kernels* const kernels = cpu::dot_machine().float8;
  if (kernels == nullptr || kernels->decode == nullptr) {
    GTEST_SKIP() << "this CPU does not decode fp8 by table";
  }
  for (const DType dtype : kFloat8Types) {
    for (std::int64_t count = 0; count <= 330; ++count) {
      // Both ends at guard pages in turn; an even address at the end is an odd one where the count
      // is odd.
      for (const GuardedSide side : {GuardedSide::left, GuardedSide::right}) {
        const Block<std::uint8_t> codes(count, side);
        const Block<std::uint16_t> out(count, side);
        const auto first = static_cast<std::uint8_t>(count * 7);
        for (std::int64_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint8_t>(first + i);
        kernels->decode(cpu::float8_table(dtype), codes.data(), count, out.data());
        for (std::int64_t i = 0; i < count; ++i) {
          ASSERT_TRUE(is_code(out[i], dtype, codes[i])) << count << " codes, the one at " << i;
        }
      }
    }
  }
}

TEST(Float8Decode, ReadsAndWritesAtOddAddresses) {
  const cpu::Float8Kernels* const kernels = cpu::dot_machine().float8;
  if (kernels == nullptr || kernels->decode == nullptr) {
    GTEST_SKIP() << "this CPU does not decode fp8 by table";
  }
  constexpr std::int64_t kCount = 256;
  for (const DType dtype : kFloat8Types) {
    for (std::int64_t shift = 0; shift < 64; ++shift) {
      const Block<std::uint8_t> codes(kCount + shift, GuardedSide::left);
      const Block<char> out(2 * kCount + shift + 1, GuardedSide::left);
      for (std::int64_t i = 0; i < kCount; ++i) codes[shift + i] = static_cast<std::uint8_t>(i);
      std::memset(out.data(), 0xA5, static_cast<std::size_t>(out.size()));
      kernels->decode(cpu::float8_table(dtype), codes.data() + shift, kCount, out.data() + shift);
      for (std::int64_t i = 0; i < kCount; ++i) {
        std::uint16_t bits;
        std::memcpy(&bits, out.data() + shift + 2 * i, sizeof(bits));
        ASSERT_TRUE(is_code(bits, dtype, static_cast<std::uint8_t>(i))) << "shift " << shift;
      }
      for (std::int64_t i = 0; i < shift; ++i) ASSERT_EQ(out[i], static_cast<char>(0xA5));
      ASSERT_EQ(out[out.size() - 1], static_cast<char>(0xA5));
    }
  }
}

// What a tile makes of a code: the table with the code's sign, of finite codes at the least.
testing::AssertionResult is_product(const cpu::Float8Kernels& kernels, float got, DType dtype,
                                    std::uint8_t code) {
  float want = value_of(dtype, code);
  if (kernels.finite_only && !std::isfinite(want)) return testing::AssertionSuccess();
  if (code == 0x80) want = 0.0F;  // also where it means NaN: that is the driver's to see to
  const bool same = std::isnan(want) ? std::isnan(got) : got == want;
  if (same) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << name(dtype) << ", code " << int{code} << ": " << got << " against " << want;
}

// A single 1 in a row of A meets one row of B, so each sum is one code: is_right(sum, code).
template <class Right>
void expect_every_code(const FloatTable& table, const Right& is_right) {
  const cpu::DotKernels& kernels = *table.kernels;
  const std::int64_t depth = 2 * kernels.form.step;
  const std::int64_t grain = kernels.form.grain;
  const std::int64_t size = element_bytes(table.a);
  for (std::int64_t k = 0; k < depth; ++k) {
    const Block<char> a(depth * size);
    for (std::int64_t i = 0; i < depth; ++i) {
      kit::store(table.a, a.data() + i * size, 0, i == k ? 1.0 : 0.0);
    }
    for (int first = 0; first < 256; ++first) {
      const Panel b(kernels.form, depth);
      const auto code_of = [&](std::int64_t j) { return static_cast<std::uint8_t>(first + j); };
      for (std::int64_t j = 0; j < kCols; ++j) *b.at(k, j) = static_cast<char>(code_of(j));
      for (std::int64_t vectors = grain; vectors <= kPanelVectors; vectors += grain) {
        for (const std::int64_t rows : {std::int64_t{1}, max_rows(kernels, vectors)}) {
          for (std::int64_t v = 0; v + vectors <= kPanelVectors; v += grain) {
            const Block<float> c((rows - 1) * kCols + vectors * kVectorCols);
            kernels.tile(rows, vectors, 0)({.depth = size * depth,
                                            .a = a.data(),
                                            .lda = 0,
                                            .b = b.vector(v),
                                            .ldb = b.ldb(),
                                            .c = c.data(),
                                            .add = false,
                                            .ahead = nullptr,
                                            .table = &cpu::float8_table(table.b)});
            for (std::int64_t r = 0; r < rows; ++r) {
              for (std::int64_t j = 0; j < vectors * kVectorCols; ++j) {
                ASSERT_TRUE(is_right(c[r * kCols + j], code_of(v * kVectorCols + j)))
                    << table.to_string() << ", row " << r << " of " << rows << ", column " << j
                    << ", k " << k;
              }
            }
          }
        }
      }
    }
  }
}

TEST(Float8Tiles, DecodeEveryCodeInEveryPlace) {
  for (const cpu::Float8Kernels* kernels : kernels_at(&cpu::DotMachine::float8)) {
    for (const DType dtype : kFloat8Types) {
      expect_every_code({&kernels->dot, kernels->rows, dtype}, [&](float got, std::uint8_t code) {
        return is_product(*kernels, got, dtype, code);
      });
    }
  }
}

// The instruction takes codes as they are, NaN among them.
TEST(Float8Tiles, TakeEveryCodeOfE4m3InEveryPlace) {
  constexpr DType kType = DType::float8_e4m3fn;
  for (const cpu::DotKernels* kernels : kernels_at(&cpu::DotMachine::e4m3)) {
    expect_every_code({kernels, kType, kType}, [](float got, std::uint8_t code) {
      const float want = value_of(kType, code);
      return std::isnan(want) ? std::isnan(got) : got == want;
    });
  }
}

TEST(Int8Tiles, WidenEveryCodeInEveryPlace) {
  for (const FloatTable& table : float_tables()) {
    if (table.b != DType::int8) continue;
    expect_every_code(table, [](float got, std::uint8_t code) {
      return got == static_cast<float>(static_cast<std::int8_t>(code));
    });
  }
}

// One row of numbers of an fp8 type by codes, in two halves of K or under scales, by both tiles.
void expect_same_tiles(const cpu::Float8Kernels& kernels, DType a_type, DType b_type,
                       std::int64_t depth, bool extremes) {
  const kit::Random random(static_cast<std::uint64_t>(depth));
  const auto code_of = [&](DType dtype, std::int64_t i) {
    // The largest and the smallest magnitudes, or any but B's that are no numbers.
    const std::int64_t last = cpu::float8_table(dtype).last_finite;
    std::int64_t code = random.bits(static_cast<std::uint64_t>(i)) % 256;
    if (extremes) code = code % 128 < 64 ? code / 128 * 128 + last : code / 128 * 128 + 1;
    return static_cast<std::uint8_t>(code);
  };
  const Block<float> a(depth);
  for (std::int64_t k = 0; k < depth; ++k) a[k] = value_of(a_type, code_of(a_type, k));
  const Panel b(cpu::kFloat8Form, depth);
  for (std::int64_t k = 0; k < depth; ++k) {
    for (std::int64_t j = 0; j < kCols; ++j) {
      const std::uint8_t code = code_of(b_type, (k + 7) * kCols + j);
      const bool number = code != 0x80 && std::isfinite(value_of(b_type, code));
      *b.at(k, j) = static_cast<char>(number ? code : 1);
    }
  }
  const Block<float> scales(depth * kCols);
  for (std::int64_t i = 0; i < scales.size(); ++i) {
    scales[i] = static_cast<float>(random.gauss(static_cast<std::uint64_t>(i)));
  }
  constexpr std::int64_t kSize = sizeof(float), kGroup = 6;
  const std::int64_t half = depth / 4 * 2;  // whole steps
  for (std::int64_t vectors = 2; vectors <= kPanelVectors; vectors += 2) {
    const auto result = [&](const cpu::DotKernels& tiles, bool scaled) {
      std::vector<float> out(static_cast<std::size_t>(kCols));
      const Block<float> c(kCols);
      std::fill_n(c.data(), kCols, 0.0F);
      const auto run = [&](std::int64_t begin, std::int64_t end, bool add) {
        tiles.tile(1, vectors, 0)({.depth = (end - begin) * kSize,
                                   .a = a.data() + begin,
                                   .lda = 0,
                                   .b = b.vector(0) + begin / 2 * b.ldb(),
                                   .ldb = b.ldb(),
                                   .c = c.data(),
                                   .add = add,
                                   .ahead = nullptr,
                                   .total = scaled ? c.data() : nullptr,
                                   .group = kGroup * kSize,
                                   .scale_a = scales.data(),
                                   .scale_a_group_stride = 1,
                                   .scale_b = scales.data(),
                                   .table = &cpu::float8_table(b_type)});
      };
      if (scaled) {
        run(0, depth, false);
      } else {
        run(0, half, false);
        run(half, depth, true);
      }
      std::copy_n(c.data(), vectors * kVectorCols, out.begin());
      return out;
    };
    for (const bool scaled : {false, true}) {
      const std::vector<float> want = result(kernels.dot, scaled);
      const std::vector<float> got = result(*kernels.of_codes, scaled);
      for (std::size_t j = 0; j < want.size(); ++j) {
        const bool nan = std::isnan(want[j]) && std::isnan(got[j]);
        ASSERT_TRUE(nan ||
                    std::bit_cast<std::uint32_t>(got[j]) == std::bit_cast<std::uint32_t>(want[j]))
            << name(a_type) << " by " << name(b_type) << ", depth " << depth << ", column " << j
            << ": " << got[j] << " against " << want[j];
      }
    }
  }
}

TEST(Float8Tiles, OfCodesGiveTheSameBits) {
  for (const cpu::Float8Kernels* kernels : kernels_at(&cpu::DotMachine::float8)) {
    if (kernels->of_codes == nullptr) continue;
    for (const DType a : kFloat8Types) {
      for (const DType b : kFloat8Types) {
        for (const std::int64_t depth : {1, 2, 3, 6, 7, 20, 33, 500}) {
          for (const bool extremes : {false, true}) {
            expect_same_tiles(*kernels, a, b, depth, extremes);
            if (::testing::Test::HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// Rows of floats become a panel; the last step is padded, nothing is read or written outside.
void expect_packed(const cpu::DotKernels& kernels, DType dtype) {
  const std::int64_t size = element_bytes(dtype);
  for (std::int64_t vectors = 1; vectors <= kPanelVectors; ++vectors) {
    for (std::int64_t depth = 0; depth <= 9; ++depth) {
      const Block<float> rows(vectors * depth * kVectorCols);
      const Panel panel(kernels.form, depth, vectors);
      std::memset(panel.bytes().data(), 0xA5, static_cast<std::size_t>(panel.bytes().size()));
      const Panel want(kernels.form, depth, vectors);
      const kit::Random random(static_cast<std::uint64_t>(depth));
      for (std::int64_t i = 0; i < rows.size(); ++i) {
        auto bits = static_cast<std::uint32_t>(random.bits(static_cast<std::uint64_t>(i)));
        if (size == 2) bits &= 0xFFFF0000U;
        std::memcpy(&rows[i], &bits, sizeof(bits));
        const std::int64_t v = i / (depth * kVectorCols);
        const std::int64_t k = i / kVectorCols % depth;
        const std::int64_t j = v * kVectorCols + i % kVectorCols;
        const char* top = reinterpret_cast<const char*>(&bits) + sizeof(bits) - size;
        std::memcpy(want.at(k, j), top, static_cast<std::size_t>(size));
      }
      kernels.pack_rows(rows.data(), depth, vectors, panel.bytes().data());
      ASSERT_EQ(std::memcmp(panel.bytes().data(), want.bytes().data(),
                            static_cast<std::size_t>(want.bytes().size())),
                0)
          << kernels.how << ", depth " << depth << ", " << vectors << " vectors";
    }
  }
}

TEST(FloatPanels, ArePackedFromRows) {
  for (const cpu::DotKernels* kernels : pair_kernels()) {
    expect_packed(*kernels, DType::bfloat16);
  }
  for (const cpu::DotKernels* kernels : kernels_at(&cpu::DotMachine::floats)) {
    expect_packed(*kernels, DType::float32);
  }
}

}  // namespace
}  // namespace octavo::test::float8_test
