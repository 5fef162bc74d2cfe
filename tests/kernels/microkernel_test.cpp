// SPDX-License-Identifier: Apache-2.0
// Every microkernel that this CPU can run, alone: the bits of a scalar loop, nothing read or
// written outside its tile.
#include "backends/cpu/microkernel.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "kit/element.hpp"
#include "kit/random.hpp"
#include "support/guard.hpp"

namespace octavo::test {
namespace {

using cpu::kPanelCols;
using cpu::Microkernel;

// Floats between guard pages.
class Floats {
 public:
  Floats(std::int64_t count, std::uint64_t seed)
      : memory_(guarded(Side::right)(static_cast<std::size_t>(count) * sizeof(float))) {
    const kit::Random random(seed);
    for (std::int64_t i = 0; i < count; ++i) {
      data()[i] = static_cast<float>(random.uniform(static_cast<std::uint64_t>(i)) - 0.5);
    }
  }
  float* data() const { return static_cast<float*>(memory_.get()); }

 private:
  std::shared_ptr<void> memory_;
};

TEST(Microkernel, GivesTheBitsOfAScalarLoop) {
  for (const Microkernel* kernel : cpu::usable_microkernels()) {
    const std::int64_t rows = kernel->rows;
    for (const std::int64_t depth : {0, 1, 2, 7, 255, 256}) {
      for (const std::int64_t ldc : {kPanelCols, 4 * kPanelCols}) {
        const Floats a(depth * rows, 1);
        const Floats b(depth * kPanelCols, 2);
        const Floats got((rows - 1) * ldc + kPanelCols, 3);
        const Floats want((rows - 1) * ldc + kPanelCols, 3);
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t c = 0; c < kPanelCols; ++c) {
            float sum = want.data()[r * ldc + c];
            for (std::int64_t k = 0; k < depth; ++k) {
              const float product = a.data()[k * rows + r] * b.data()[k * kPanelCols + c];
              sum += product;
            }
            want.data()[r * ldc + c] = sum;
          }
        }
        kernel->run(depth, a.data(), b.data(), got.data(), ldc);
        const auto bytes = static_cast<std::size_t>((rows - 1) * ldc + kPanelCols) * sizeof(float);
        EXPECT_EQ(std::memcmp(got.data(), want.data(), bytes), 0)
            << kernel->on_floats << ", depth " << depth << ", ldc " << ldc;
      }
    }
  }
}

TEST(Microkernel, WidensEveryCodeOfEveryTypeAtAnyAlignment) {
  for (const Microkernel* kernel : cpu::usable_microkernels()) {
    for (const DTypeInfo& row : kDTypes) {
      if (!is_floating(row.dtype) && !is_integer8(row.dtype)) continue;
      const std::int64_t bytes = element_bytes(row.dtype);
      const std::int64_t count = bytes == 2 ? 65536 : 256;
      for (const std::int64_t shift : {0, 1}) {  // one byte off: no type is aligned
        const auto memory = guarded(Side::right)(static_cast<std::size_t>(count * bytes + shift));
        // A block that ends at a page and begins `shift` bytes later than it would.
        auto* source = static_cast<std::uint8_t*>(memory.get());
        for (std::int64_t i = 0; i < count * bytes; ++i) {
          source[i] = static_cast<std::uint8_t>(bytes == 2 && i % 2 == 1 ? i / 512 : i / bytes);
        }
        std::vector<float> out(static_cast<std::size_t>(count) + 1, 99.0F);
        kernel->widen(row.dtype, source, count, out.data());
        const TensorView view(source, row.dtype, {count});
        for (std::int64_t i = 0; i < count; ++i) {
          const auto want = static_cast<float>(kit::load(view, i));
          const float got = out[static_cast<std::size_t>(i)];
          const bool same = std::bit_cast<std::uint32_t>(got) == std::bit_cast<std::uint32_t>(want);
          EXPECT_TRUE(same || (got != got && want != want))
              << kernel->on_floats << ", " << row.name << ", element " << i;
        }
        EXPECT_EQ(out.back(), 99.0F);
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test
