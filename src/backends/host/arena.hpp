// SPDX-License-Identifier: Apache-2.0
// Carving a workspace: the same code measures it and uses it, so that the two cannot differ.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/extents.hpp"

namespace octavo {

/// Hands out 64-byte aligned pieces of one block; over a null block it only counts, up to
/// kMostBytes: a workspace of that size cannot be had, and the call that asks for it fails.
class Arena {
 public:
  explicit Arena(void* block) noexcept : block_(static_cast<char*>(block)) {}

  template <class T>
  T* take(std::int64_t count) noexcept {
    const std::int64_t begin = used_;
    const std::int64_t bytes = saturating_product(count, sizeof(T));
    used_ = saturating_sum(begin, saturating_sum(bytes, 63) / 64 * 64);
    return block_ != nullptr ? reinterpret_cast<T*>(block_ + begin) : nullptr;
  }
  std::size_t used() const noexcept { return static_cast<std::size_t>(used_); }
  bool counting() const noexcept { return block_ == nullptr; }

 private:
  char* block_;
  std::int64_t used_ = 0;
};

}  // namespace octavo
