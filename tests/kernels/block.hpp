// SPDX-License-Identifier: Apache-2.0
// Operands of kernels between guard pages.
#pragma once

#include <cstdint>
#include <memory>

#include "kit/random.hpp"
#include "support/guard.hpp"

namespace octavo::test {

/// Elements between guard pages.
template <class T>
class Block {
 public:
  explicit Block(std::int64_t count, Side side = Side::right)
      : count_(count), memory_(guarded(side)(static_cast<std::size_t>(count) * sizeof(T))) {}
  T* data() const { return static_cast<T*>(memory_.get()); }
  T& operator[](std::int64_t i) const { return data()[i]; }
  std::int64_t size() const { return count_; }
  void fill_random(std::uint64_t seed) const {
    const kit::Random random(seed);
    for (std::int64_t i = 0; i < count_; ++i) {
      data()[i] = static_cast<T>(random.bits(static_cast<std::uint64_t>(i)));
    }
  }

 private:
  std::int64_t count_;
  std::shared_ptr<void> memory_;
};

/// Random bytes with both ends of each type among them.
inline std::uint8_t byte_of(const kit::Random& random, std::int64_t i) {
  constexpr std::uint8_t kEnds[] = {0, 0xFF, 0x80, 0x7F};
  const std::uint64_t bits = random.bits(static_cast<std::uint64_t>(i));
  return bits % 5 < 4 ? static_cast<std::uint8_t>(bits >> 8) : kEnds[bits >> 8 & 3U];
}

}  // namespace octavo::test
