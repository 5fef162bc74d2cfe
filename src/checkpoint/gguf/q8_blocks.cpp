// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf/q8_blocks.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "octavo/numeric.hpp"

namespace octavo::checkpoint {
namespace {

constexpr float kQ8Largest = 127.0F;

/// The rule of one block. The reciprocal of a subnormal may be infinite: its codes are 0.
void quantize_block(const float* x, std::byte* block, CodeErrors& errors) noexcept {
  float most = 0;
  for (std::size_t i = 0; i < kQ8Elements; ++i) {
    errors.finite = errors.finite && std::isfinite(x[i]);
    most = std::max(most, std::fabs(x[i]));
  }
  const float d = most / kQ8Largest;
  const float inverse = d > 0 ? 1.0F / d : 0.0F;
  const auto bits = static_cast<std::uint16_t>(encode<kFloat16>(d));
  const float scale = decode<kFloat16>(bits);
  std::memcpy(block, &bits, sizeof bits);
  errors.finite = errors.finite && std::fabs(scale) <= kFloat16.max() && d <= kFloat16.max();
  const bool some = std::isfinite(inverse) && errors.finite;
  for (std::size_t i = 0; i < kQ8Elements; ++i) {
    const float code = some ? std::round(x[i] * inverse) : 0.0F;
    block[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(code));
    const double lost = static_cast<double>(x[i]) - static_cast<double>(code * scale);
    errors.signal += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    errors.noise += lost * lost;
    errors.largest = std::max(errors.largest, std::fabs(lost));
    errors.saturated += std::fabs(code) >= kQ8Largest ? 1 : 0;
  }
}

}  // namespace

void quantize_q8_blocks(std::span<const float> values, std::span<std::byte> blocks,
                        CodeErrors& errors) noexcept {
  for (std::size_t i = 0; i < values.size() / kQ8Elements; ++i) {
    quantize_block(values.data() + i * kQ8Elements, blocks.data() + i * kQ8Bytes, errors);
  }
}

}  // namespace octavo::checkpoint
