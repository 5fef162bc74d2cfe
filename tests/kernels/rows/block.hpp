// SPDX-License-Identifier: Apache-2.0
// Operands of kernels between guard pages.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "kit/operands/random.hpp"
#include "support/guard.hpp"

namespace octavo::test {

/// Bytes between guard pages. Mapping memory takes longer than a kernel does, so the pages of
/// blocks that are gone serve again; what a block holds at first is anything.
inline std::shared_ptr<void> guarded_bytes(std::size_t bytes, GuardedSide side) {
  constexpr std::size_t kPage = 4096;  // sizes of blocks are grouped by it
  const std::size_t rounded = (bytes + kPage - 1) / kPage * kPage;
  if (rounded == 0) return guarded(side)(0);
  static std::map<std::pair<std::size_t, GuardedSide>, std::vector<std::shared_ptr<void>>> free;
  std::vector<std::shared_ptr<void>>& same = free[{rounded, side}];
  if (same.empty()) same.push_back(guarded(side)(rounded));
  std::shared_ptr<void> pages = std::move(same.back());
  same.pop_back();
  char* first =
      static_cast<char*>(pages.get()) + (side == GuardedSide::right ? rounded - bytes : 0);
  return {first, [pages, &same](void*) mutable { same.push_back(std::move(pages)); }};
}

/// Elements between guard pages.
template <class T>
class Block {
 public:
  explicit Block(std::int64_t count, GuardedSide side = GuardedSide::right)
      : count_(count), memory_(guarded_bytes(static_cast<std::size_t>(count) * sizeof(T), side)) {}
  T* data() const { return static_cast<T*>(memory_.get()); }
  T& operator[](std::int64_t i) const { return data()[i]; }
  std::int64_t size() const { return count_; }
  std::vector<T> copy() const { return {data(), data() + count_}; }
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
