// SPDX-License-Identifier: Apache-2.0
// Section 6's rotation to the letter, one element at a time.
#include <array>
#include <cmath>
#include <limits>

#include "backends/reference/reference.hpp"
#include "core/data/element.hpp"
#include "core/fp_env.hpp"

namespace octavo::reference {
namespace {

constexpr std::int64_t kLargest = 256;
using Block = std::array<float, static_cast<std::size_t>(kLargest)>;

// One stage: four elements, `stride` apart, at every place of a block that can be their first.
void stage(Block& block, std::size_t size, std::size_t stride) noexcept {
  for (std::size_t first = 0; first < size; ++first) {
    if (first / stride % 4 != 0) continue;
    const auto x = [&](std::size_t i) -> float& { return block[first + i * stride]; };
    const float s = (x(0) + x(1)) + (x(2) + x(3));
    const float half = 0.5F * s;
    const std::array<float, 4> y{half - x(3), half - x(2), half - x(1), half - x(0)};
    for (std::size_t i = 0; i < 4; ++i) x(i) = y[i];
  }
}

}  // namespace

Status rotate(const RotateProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  for (std::int64_t r = 0; r < p.x.shape[0]; ++r) {
    for (std::int64_t begin = 0; begin < p.x.shape[1]; begin += p.block) {
      Block block{};
      const auto size = static_cast<std::size_t>(p.block);
      for (std::size_t i = 0; i < size; ++i) {
        block[i] = load_float(p.x, r, begin + static_cast<std::int64_t>(i));
      }
      for (std::size_t stride = 1; stride < size; stride *= 4) stage(block, size, stride);
      for (std::size_t i = 0; i < size; ++i) {
        const float y = std::isnan(block[i]) ? std::numeric_limits<float>::quiet_NaN() : block[i];
        const std::int64_t column = begin + static_cast<std::int64_t>(i);
        store_float(p.out.dtype, p.out.data, r * p.out.strides[0] + column * p.out.strides[1], y,
                    Overflow::saturate);
      }
    }
  }
  return {};
}

}  // namespace octavo::reference
