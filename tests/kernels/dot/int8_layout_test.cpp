// SPDX-License-Identifier: Apache-2.0
// int8 weights in panels: every byte where the layout says, nothing written or read outside.
#include "backends/cpu/dot/int8_layout.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/rows/block.hpp"
#include "kernels/machines/machines.hpp"
#include "octavo/tensor.hpp"

namespace octavo::test::int8_layout_test {
namespace {

using cpu::kInt8Layout;

// Element (k, n) by the words of int8_layout.hpp.
std::int64_t place(std::int64_t k, std::int64_t n, std::int64_t depth, std::int64_t columns) {
  const std::int64_t steps = (depth + 3) / 4;
  const std::int64_t padded = (columns + 15) / 16 * 16;
  const std::int64_t first = n / 64 * 64;
  const std::int64_t width = std::min<std::int64_t>(64, padded - first);
  return first * steps * 4 + (k / 4 * width + n - first) * 4 + k % 4;
}

struct Case {
  std::int64_t k, n;
};

class Int8Layout : public testing::TestWithParam<Case> {};

TEST_P(Int8Layout, HoldsEveryByteAndGivesItBack) {
  if (dot_packer() == nullptr) GTEST_SKIP() << "this CPU has no dot products";
  const auto [depth, columns] = GetParam();
  const std::int64_t padded = (columns + 15) / 16 * 16;
  const std::int64_t code_bytes = (depth + 3) / 4 * 4 * padded;
  ASSERT_EQ(kInt8Layout.bytes(DType::int8, depth, columns),
            static_cast<std::size_t>(code_bytes + padded * 4));

  const Block<std::int8_t> source(depth * columns);
  source.fill_random(1);
  const Block<std::int8_t> packed(code_bytes + padded * 4);
  std::vector<std::int8_t> first;
  struct Lie {
    std::int64_t k, n, origin;
  };
  const Lie lies[] = {{columns, 1, 0},
                      {1, depth, 0},
                      {-columns, 1, (depth - 1) * columns},
                      {-1, -depth, depth * columns - 1}};
  for (const Lie& lie : lies) {
    packed.fill_random(2);
    TensorView weight(source.data(), DType::int8, {depth, columns});
    weight.strides[0] = lie.k;
    weight.strides[1] = lie.n;
    if (source.size() > 0) weight.data = source.data() + lie.origin;
    ASSERT_TRUE(kInt8Layout.pack(weight, packed.data(), {}).ok());
    std::vector<std::int8_t> want(static_cast<std::size_t>(code_bytes));
    std::vector<std::int32_t> sums(static_cast<std::size_t>(padded));
    for (std::int64_t k = 0; k < depth; ++k) {
      for (std::int64_t n = 0; n < columns; ++n) {
        const std::int8_t code = source[lie.origin + k * lie.k + n * lie.n];
        want[static_cast<std::size_t>(place(k, n, depth, columns))] = code;
        sums[static_cast<std::size_t>(n)] += code;
      }
    }
    ASSERT_TRUE(std::equal(want.begin(), want.end(), packed.data()));
    const auto* packed_sums = reinterpret_cast<const std::int32_t*>(packed.data() + code_bytes);
    ASSERT_TRUE(std::equal(sums.begin(), sums.end(), packed_sums));

    PackedWeightData data;
    data.layout = &kInt8Layout;
    data.dtype = DType::int8;
    data.k = depth;
    data.n = columns;
    data.codes = Tensor::empty(DType::int8, {packed.size()});
    if (packed.size() > 0) {
      std::memcpy(data.codes.data(), packed.data(), static_cast<std::size_t>(packed.size()));
    }
    const Block<std::int8_t> back(depth * columns);
    TensorView target = weight;
    if (back.size() > 0) target.data = back.data() + lie.origin;
    ASSERT_TRUE(kInt8Layout.unpack(data, target, {}).ok());
    ASSERT_TRUE(std::equal(back.data(), back.data() + back.size(), source.data()));

    for (std::int64_t n0 = 0; n0 < columns; n0 += 16) {
      for (const auto& [k0, k1] : {std::pair<std::int64_t, std::int64_t>{0, depth},
                                   {depth / 3, depth - depth / 4},
                                   {depth, depth}}) {
        const Block<float> out((k1 - k0) * 16);
        kInt8Layout.widen(data, k0, k1, n0, out.data());
        for (std::int64_t i = 0; i < out.size(); ++i) {
          const std::int64_t k = k0 + i / 16;
          const std::int64_t n = n0 + i % 16;
          const float value =
              n < columns ? static_cast<float>(source[lie.origin + k * lie.k + n * lie.n]) : 0.0F;
          ASSERT_EQ(out[i], value) << "row " << k << ", column " << n;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Int8Layout,
                         testing::Values(Case{0, 0}, Case{0, 5}, Case{5, 0}, Case{1, 1},
                                         Case{3, 15}, Case{4, 16}, Case{5, 17}, Case{6, 63},
                                         Case{7, 64}, Case{66, 65}, Case{129, 97}, Case{65, 128},
                                         Case{2, 130}, Case{300, 209}),
                         [](const auto& test) {
                           return std::to_string(test.param.k) + "_by_" +
                                  std::to_string(test.param.n);
                         });

}  // namespace
}  // namespace octavo::test::int8_layout_test
