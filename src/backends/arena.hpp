// SPDX-License-Identifier: Apache-2.0
// Carving a workspace: the same code measures it and uses it, so that the two cannot differ.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/data/extents.hpp"

namespace octavo {

/// Hands out 64-byte aligned pieces of one block; over a null block it only counts, up to
/// kMostBytes: a workspace of that size cannot be had, and the call that asks for it fails.
///
/// An arena that outlines says where pieces lie, and nothing is written there yet.
class Arena {
 public:
  enum class Use : std::uint8_t { fill, outline };

  explicit Arena(void* block, Use use = Use::fill) noexcept
      : block_(static_cast<char*>(block)), fills_(block != nullptr && use == Use::fill) {}

  template <class T>
  T* take(std::int64_t count) noexcept {
    const std::int64_t begin = used_;
    const std::int64_t bytes = saturating_product(count, sizeof(T));
    used_ = saturating_sum(begin, saturating_sum(bytes, 63) / 64 * 64);
    return block_ != nullptr ? reinterpret_cast<T*>(block_ + begin) : nullptr;
  }
  std::size_t used() const noexcept { return static_cast<std::size_t>(used_); }
  /// The next piece's address.
  void* next() const noexcept { return block_ != nullptr ? block_ + used_ : nullptr; }
  /// Nothing is to be computed.
  bool counting() const noexcept { return !fills_; }

 private:
  char* block_;
  bool fills_;
  std::int64_t used_ = 0;
};

}  // namespace octavo
