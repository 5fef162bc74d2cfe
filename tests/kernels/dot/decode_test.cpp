// SPDX-License-Identifier: Apache-2.0
// Panels of 8-bit weights as panels of wider elements: every code in every place, exactly, nothing
// read or written outside.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "dot_operands.hpp"
#include "octavo/numeric.hpp"

namespace octavo::test::decode_test {
namespace {

using cpu::DotKernels;
using cpu::kPanelVectors;
using cpu::kVectorCols;

// A panel, and what it is decoded to.
struct Decoding {
  const DotKernels& kernels;
  DType from, to;
  std::int64_t steps, code_vectors, vectors;

  std::string to_string() const {
    return std::string(kernels.how) + ", " + std::string(name(from)) + ", " +
           std::to_string(steps) + " steps, " + std::to_string(code_vectors) + " vectors to " +
           std::to_string(vectors);
  }
};

float element_of(const Panel& panel, DType dtype, std::int64_t k, std::int64_t j) {
  if (dtype == DType::int8) return static_cast<std::int8_t>(*panel.at(k, j));
  if (dtype == DType::int16) {
    std::int16_t word;
    std::memcpy(&word, panel.at(k, j), sizeof(word));
    return word;
  }
  std::uint32_t bits = 0;
  const std::int64_t size = element_bytes(dtype);
  std::memcpy(reinterpret_cast<char*>(&bits) + sizeof(bits) - size, panel.at(k, j),
              static_cast<std::size_t>(size));
  return std::bit_cast<float>(bits);
}

// The same bits, or no number both.
bool same_number(float got, float want) {
  if (std::isnan(want)) return std::isnan(got);
  return std::bit_cast<std::uint32_t>(got) == std::bit_cast<std::uint32_t>(want);
}

void expect_decoded(const Decoding& s, int first) {
  const cpu::PanelForm& form = s.from == DType::int8 ? cpu::kInt8Form : cpu::kFloat8Form;
  const std::int64_t depth = s.steps * form.step;
  const Panel codes(form, depth, s.code_vectors);
  const auto code_of = [&](std::int64_t k, std::int64_t j) {
    return static_cast<std::uint8_t>(first + 37 * k + j);
  };
  for (std::int64_t k = 0; k < depth; ++k) {
    for (std::int64_t j = 0; j < s.code_vectors * kVectorCols; ++j) {
      *codes.at(k, j) = static_cast<char>(code_of(k, j));
    }
  }
  const Panel panel(s.kernels.form, depth, s.vectors);
  std::memset(panel.bytes().data(), 0xA5, static_cast<std::size_t>(panel.bytes().size()));
  if (s.from == DType::int8) {
    s.kernels.decode_int8(codes.bytes().data(), s.steps, s.vectors, panel.bytes().data());
  } else {
    s.kernels.decode_float8(cpu::float8_table(s.from), codes.bytes().data(), s.steps,
                            s.code_vectors, s.vectors, panel.bytes().data());
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    for (std::int64_t j = 0; j < s.vectors * kVectorCols; ++j) {
      const float got = element_of(panel, s.to, k, j);
      const float want = value_of(s.from, code_of(k, j));
      ASSERT_TRUE(same_number(got, want))
          << s.to_string() << ", row " << k << ", column " << j << ", code " << int{code_of(k, j)}
          << ": " << got << " against " << want;
    }
  }
  // What a longer step has beyond them.
  const std::int64_t step = s.kernels.form.step;
  for (std::int64_t k = depth; k < (depth + step - 1) / step * step; ++k) {
    for (std::int64_t j = 0; j < s.vectors * kVectorCols; ++j) {
      ASSERT_EQ(element_of(panel, s.to, k, j), 0.0F) << s.to_string() << ", row " << k;
    }
  }
}

void expect_every_code(const DotKernels& kernels, DType to) {
  std::vector<DType> types{DType::int8};
  if (kernels.decode_float8 != nullptr) {
    types.insert(types.end(), kFloat8Types.begin(), kFloat8Types.end());
  }
  for (const DType from : types) {
    for (std::int64_t vectors = 1; vectors <= kPanelVectors; ++vectors) {
      const std::int64_t code_vectors = from == DType::int8 ? vectors : (vectors + 1) / 2 * 2;
      for (const std::int64_t steps : {0, 1, 2, 5}) {
        for (int first = 0; first < 256; first += steps == 1 ? 1 : 51) {
          expect_decoded({kernels, from, to, steps, code_vectors, vectors}, first);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(DotDecode, MakesWiderPanelsOfEveryCode) {
  for (const cpu::IntegerKernels* kernels : integer_kernels()) {
    const bool words = kernels->rows == cpu::ARows::words;
    if (kernels->dot.decode_int8 == nullptr) continue;
    expect_every_code(kernels->dot, words ? DType::int16 : DType::int8);
  }
  for (const DotKernels* kernels : pair_kernels()) {
    expect_every_code(*kernels, DType::bfloat16);
  }
  for (const DotKernels* kernels : kernels_at(&cpu::DotMachine::floats)) {
    expect_every_code(*kernels, DType::float32);
  }
}

// Every element of 16 bits, in every place of a pair and of a vector.
void expect_every_half(const DotKernels& kernels, DType from, DType to) {
  constexpr std::int64_t kSteps = 5;
  for (std::int64_t vectors = 1; vectors <= kPanelVectors; ++vectors) {
    const std::int64_t columns = vectors * kVectorCols, depth = 2 * kSteps;
    for (std::int64_t first = 0; first < 0x10000; first += depth * columns) {
      const auto half_of = [&](std::int64_t k, std::int64_t j) {
        return static_cast<std::uint16_t>(first + k * columns + j);
      };
      const Panel pairs(cpu::kBf16Form, depth, vectors);
      for (std::int64_t k = 0; k < depth; ++k) {
        for (std::int64_t j = 0; j < columns; ++j) {
          const std::uint16_t half = half_of(k, j);
          std::memcpy(pairs.at(k, j), &half, sizeof(half));
        }
      }
      const Panel panel(kernels.form, depth, vectors);
      std::memset(panel.bytes().data(), 0xA5, static_cast<std::size_t>(panel.bytes().size()));
      kernels.from_pairs(from, pairs.bytes().data(), kSteps, vectors, panel.bytes().data());
      for (std::int64_t k = 0; k < depth; ++k) {
        for (std::int64_t j = 0; j < columns; ++j) {
          const float got = element_of(panel, to, k, j);
          const float want = from == DType::bfloat16 ? decode<kBFloat16>(half_of(k, j))
                                                     : decode<kFloat16>(half_of(k, j));
          ASSERT_TRUE(same_number(got, want))
              << kernels.how << ", " << name(from) << " " << half_of(k, j) << ", row " << k
              << ", column " << j << ": " << got;
        }
      }
    }
  }
}

TEST(DotDecode, MakesPanelsOfEveryPairOfHalves) {
  for (const DotKernels* kernels : pair_kernels()) {
    if (kernels->from_pairs == nullptr) continue;
    expect_every_half(*kernels, DType::bfloat16, DType::bfloat16);
  }
  for (const DotKernels* kernels : kernels_at(&cpu::DotMachine::floats)) {
    expect_every_half(*kernels, DType::bfloat16, DType::float32);
    expect_every_half(*kernels, DType::float16, DType::float32);
  }
}

// Whoever packs rows decodes codes as well, as does who takes int8 as words or in longer steps.
TEST(DotDecode, IsThereWhereRowsArePacked) {
  for (const cpu::IntegerKernels* kernels : integer_kernels()) {
    EXPECT_NE(kernels->unpack == nullptr, kernels->dot.decode_int8 == nullptr) << kernels->dot.how;
  }
  for (const FloatTable& table : float_tables()) {
    const DotKernels* const kernels = table.kernels;
    EXPECT_EQ(kernels->pack_rows == nullptr, kernels->decode_int8 == nullptr) << kernels->how;
    EXPECT_EQ(kernels->pack_rows == nullptr, kernels->decode_float8 == nullptr) << kernels->how;
  }
}

}  // namespace
}  // namespace octavo::test::decode_test
