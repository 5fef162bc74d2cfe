// SPDX-License-Identifier: Apache-2.0
// Rotations: every kernel table has the bits of section 6's loop, and touches nothing beside the
// row.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "backends/cpu/row_kernels.hpp"
#include "core/data/element.hpp"
#include "kit/operands/element.hpp"
#include "kit/operands/random.hpp"
#include "support/guard.hpp"

namespace octavo::test::rotate_test {
namespace {

using cpu::Kernels;

std::vector<float> looped(std::vector<float> x, std::size_t block) {
  for (std::size_t begin = 0; begin < x.size(); begin += block) {
    for (std::size_t stride = 1; stride < block; stride *= 4) {
      for (std::size_t i = begin; i < begin + block; ++i) {
        if (i / stride % 4 != 0) continue;
        float* four[] = {&x[i], &x[i + stride], &x[i + 2 * stride], &x[i + 3 * stride]};
        const float s = (*four[0] + *four[1]) + (*four[2] + *four[3]);
        const float half = 0.5F * s;
        const float y[] = {half - *four[3], half - *four[2], half - *four[1], half - *four[0]};
        for (std::size_t j = 0; j < 4; ++j) *four[j] = y[j];
      }
    }
  }
  for (float& y : x) {
    if (std::isnan(y)) y = std::numeric_limits<float>::quiet_NaN();
  }
  return x;
}

// Elements that end where memory does, `shift` bytes from a vector's place.
struct Row {
  Row(DType dtype, const std::vector<float>& values, std::size_t shift)
      : bytes(values.size() * static_cast<std::size_t>(element_bytes(dtype))),
        memory(guarded(GuardedSide::right)(bytes + shift)),
        data(static_cast<char*>(memory.get())) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      store_float(dtype, data, static_cast<std::int64_t>(i), values[i], Overflow::ieee);
    }
  }
  std::size_t bytes;
  std::shared_ptr<void> memory;
  char* data;
};

std::vector<std::uint32_t> bits(const void* floats, std::size_t count) {
  std::vector<std::uint32_t> words(count);
  std::memcpy(words.data(), floats, count * sizeof(float));
  return words;
}

// Numbers of all sizes, subnormal ones among them, and blocks with what is not finite.
std::vector<float> numbers(std::size_t count, std::uint64_t seed) {
  constexpr float kSpecial[] = {std::numeric_limits<float>::infinity(),
                                -std::numeric_limits<float>::infinity(),
                                std::numeric_limits<float>::quiet_NaN(),
                                std::numeric_limits<float>::max(),
                                0x1p-149F,
                                -0.0F};
  const kit::Random random(seed);
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double spread = i % 3 == 0 ? 1.0 : i % 3 == 1 ? 1e20 : 1e-42;
    values[i] = static_cast<float>(random.gauss(i) * spread);
    if (random.gauss(i + count) > 3.0) values[i] = kSpecial[i % std::size(kSpecial)];
  }
  return values;
}

TEST(RotateKernels, HaveTheBitsOfTheLoop) {
  for (const Kernels* kernel : cpu::usable_kernels()) {
    for (const DType from : {DType::float32, DType::bfloat16, DType::float16}) {
      for (const std::size_t block : {std::size_t{16}, std::size_t{64}, std::size_t{256}}) {
        for (const std::size_t blocks : {0U, 1U, 2U, 5U}) {
          for (const std::size_t shift : {0U, 2U, 5U}) {
            SCOPED_TRACE(testing::Message() << kernel->on_floats << ' ' << name(from) << ' '
                                            << block << " x " << blocks);
            const std::size_t count = block * blocks;
            const Row row(from, numbers(count, block + blocks), shift);
            std::vector<float> widened(count);
            for (std::size_t i = 0; i < count; ++i) {
              widened[i] = load_float(from, row.data, static_cast<std::int64_t>(i));
            }
            const std::vector<float> want = looped(widened, block);
            const Row out(DType::float32, std::vector<float>(count), 0);
            const auto length = static_cast<std::int64_t>(count);
            const auto wide = static_cast<std::int64_t>(block);
            auto* to = reinterpret_cast<float*>(out.data);
            kernel->rotate(from, row.data, length, wide, to);
            EXPECT_EQ(bits(to, count), bits(want.data(), count));
            std::copy(widened.begin(), widened.end(), to);
            kernel->rotate(DType::float32, to, length, wide, to);
            EXPECT_EQ(bits(to, count), bits(want.data(), count));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::rotate_test
