// SPDX-License-Identifier: Apache-2.0
// Floating weights in panels: every byte where the layout says, which panels hold codes that are no
// finite numbers, nothing written or read outside.
#include "backends/cpu/dot/float_layout.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "dot_operands.hpp"

namespace octavo::test::float_layout_test {
namespace {

struct Case {
  DType dtype;
  std::int64_t k, n;
};

class FloatLayout : public testing::TestWithParam<Case> {
 protected:
  const DType dtype = GetParam().dtype;
  const std::int64_t depth = GetParam().k, columns = GetParam().n;
  const std::int64_t size = element_bytes(dtype);
  const bool float8 = size == 1;
  // fp8 comes in pairs of vectors.
  const std::int64_t padded = float8 ? (columns + 31) / 32 * 32 : (columns + 15) / 16 * 16;
  const std::int64_t steps = size == 4 ? depth : (depth + 1) / 2;
  const std::int64_t code_bytes = steps * padded * (size == 4 ? 4 : 2 * size);
  const std::int64_t panels = (columns + 63) / 64;
  const std::int64_t packed_bytes = code_bytes + (float8 ? panels : 0);
  // Packed codes begin with a line, so that blocks of them are whole lines.
  const std::int64_t packed_lines = (packed_bytes + 63) / 64 * 64;

  // The weight's element (k, n), from its first byte.
  std::int64_t place(std::int64_t k, std::int64_t n) const {
    const std::int64_t first = n / 64 * 64;
    const std::int64_t width = std::min<std::int64_t>(64, padded - first);
    const std::int64_t j = n - first;
    const std::int64_t step_bytes = width * (size == 4 ? 4 : 2 * size);
    const std::int64_t step =
        first * steps * (size == 4 ? 4 : 2 * size) + (size == 4 ? k : k / 2) * step_bytes;
    if (size == 4) return step + j * 4;
    if (size == 2) return step + j * 4 + k % 2 * 2;
    return step + j / 32 * 64 + j % 16 / 4 * 16 + j % 32 / 16 * 8 + j % 4 * 2 + k % 2;
  }
  float value(const char* element) const {
    return static_cast<float>(kit::load(dtype, element, 0));
  }
};

struct Lie {
  const char* what;
  std::int64_t k, n, origin;
};

TEST_P(FloatLayout, HoldsEveryByteAndGivesItBack) {
  ASSERT_EQ(cpu::float_layout(dtype)->bytes(dtype, depth, columns),
            static_cast<std::size_t>(packed_bytes));
  const Block<char> source(depth * columns * size);
  source.fill_random(1);
  const Block<char> packed(packed_lines);
  const std::int64_t last = depth * columns - 1;
  const Lie lies[] = {{"rows", columns, 1, 0},
                      {"columns", 1, depth, 0},
                      {"backwards", -columns, -1, last},
                      {"columns backwards", -1, -depth, last}};
  for (const Lie& lie : lies) {
    SCOPED_TRACE(lie.what);
    TensorView weight(source.data(), dtype, {depth, columns});
    weight.strides[0] = lie.k;
    weight.strides[1] = lie.n;
    const auto element = [&](const Block<char>& block, std::int64_t k, std::int64_t n) {
      return block.data() + (lie.origin + k * lie.k + n * lie.n) * size;
    };
    if (source.size() > 0) weight.data = element(source, 0, 0);
    std::memset(packed.data(), 0xA5, static_cast<std::size_t>(packed.size()));
    ASSERT_TRUE(cpu::float_layout(dtype)->pack(weight, packed.data(), {}).ok());
    std::vector<char> want(static_cast<std::size_t>(packed_bytes));
    for (std::int64_t k = 0; k < depth; ++k) {
      for (std::int64_t n = 0; n < columns; ++n) {
        const char* from = element(source, k, n);
        std::memcpy(want.data() + place(k, n), from, static_cast<std::size_t>(size));
        if (float8 && !std::isfinite(value(from))) {
          want[static_cast<std::size_t>(code_bytes + n / 64)] = 1;
        }
      }
    }
    ASSERT_TRUE(std::equal(want.begin(), want.begin() + code_bytes, packed.data()));
    for (std::int64_t i = packed_bytes; i < packed_lines; ++i) ASSERT_EQ(packed[i], '\xA5');
    for (std::int64_t p = 0; p < panels && float8; ++p) {
      ASSERT_EQ(packed[code_bytes + p] != 0, want[static_cast<std::size_t>(code_bytes + p)] != 0)
          << "the flag of panel " << p;
    }

    PackedWeightData data;
    data.layout = cpu::float_layout(dtype);
    data.dtype = dtype;
    data.k = depth;
    data.n = columns;
    data.codes = Tensor::empty(DType::int8, {packed.size()});
    if (packed.size() > 0) {
      std::memcpy(data.codes.data(), packed.data(), static_cast<std::size_t>(packed.size()));
    }
    const Block<char> back(source.size());
    TensorView target = weight;
    if (back.size() > 0) target.data = element(back, 0, 0);
    ASSERT_TRUE(cpu::float_layout(dtype)->unpack(data, target, {}).ok());
    ASSERT_TRUE(std::equal(back.data(), back.data() + back.size(), source.data()));

    for (std::int64_t n0 = 0; n0 < columns; n0 += 16) {
      for (const auto& [k0, k1] : {std::pair<std::int64_t, std::int64_t>{0, depth},
                                   {depth / 3, depth - depth / 4},
                                   {depth / 2, std::min(depth, depth / 2 + 1)},
                                   {depth, depth}}) {
        const Block<float> out((k1 - k0) * 16);
        cpu::float_layout(dtype)->widen(data, k0, k1, n0, out.data());
        for (std::int64_t i = 0; i < out.size(); ++i) {
          const std::int64_t n = n0 + i % 16;
          const float want_value = n < columns ? value(element(source, k0 + i / 16, n)) : 0.0F;
          ASSERT_TRUE(out[i] == want_value || (out[i] != out[i] && want_value != want_value))
              << "row " << k0 + i / 16 << ", column " << n << ": " << out[i] << " against "
              << want_value;
        }
      }
    }
  }
}

// One code that is no finite number, anywhere, is told of its panel and of no other.
TEST_P(FloatLayout, TellsWhichPanelsHoldOtherCodes) {
  if (!float8 || depth == 0 || columns == 0) return;
  std::vector<char> others;
  for (int code = 0; code < 256; ++code) {
    const auto byte = static_cast<char>(code);
    if (!std::isfinite(value(&byte))) others.push_back(byte);
  }
  const Block<char> source(depth * columns);
  std::fill_n(source.data(), source.size(), static_cast<char>(0x81));
  const Block<char> packed(packed_lines);
  const cpu::Panels layout(packed.data(), cpu::kFloat8Form, depth, columns);
  for (std::int64_t i = 0; i < source.size(); i += 1 + i % 13) {
    source[i] = others[static_cast<std::size_t>(i) % others.size()];
    ASSERT_TRUE(cpu::float_layout(dtype)
                    ->pack(TensorView(source.data(), dtype, {depth, columns}), packed.data(), {})
                    .ok());
    for (std::int64_t p = 0; p < panels; ++p) {
      ASSERT_EQ(cpu::holds_other_codes(layout, p), p == i % columns / 64) << "panel " << p;
    }
    source[i] = static_cast<char>(0x81);
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  std::vector<DType> types(kFloat8Types.begin(), kFloat8Types.end());
  types.insert(types.end(), {DType::bfloat16, DType::float16, DType::float32});
  for (const DType dtype : types) {
    for (const auto& [k, n] : {std::pair<std::int64_t, std::int64_t>{0, 0},
                               {0, 5},
                               {5, 0},
                               {1, 1},
                               {2, 15},
                               {3, 16},
                               {4, 17},
                               {5, 33},
                               {6, 63},
                               {7, 64},
                               {66, 65},
                               {129, 97},
                               {65, 128},
                               {2, 130},
                               {300, 209}}) {
      all.push_back({dtype, k, n});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Shapes, FloatLayout, testing::ValuesIn(cases()), [](const auto& test) {
  return std::string(name(test.param.dtype)) + "_" + std::to_string(test.param.k) + "_by_" +
         std::to_string(test.param.n);
});

TEST(FloatForms, AreThoseOfTheTypesThatPanelsHold) {
  for (const DType dtype : kFloat8Types) {
    EXPECT_EQ(cpu::float_form(dtype), &cpu::kFloat8Form);
  }
  EXPECT_EQ(cpu::float_form(DType::bfloat16), &cpu::kBf16Form);
  EXPECT_EQ(cpu::float_form(DType::float16), &cpu::kFloat16Form);
  EXPECT_EQ(cpu::float_form(DType::float32), &cpu::kFloat32Form);
  for (const DType dtype : {DType::int8, DType::uint8, DType::int32}) {
    EXPECT_EQ(cpu::float_form(dtype), nullptr);
  }
}

}  // namespace
}  // namespace octavo::test::float_layout_test
