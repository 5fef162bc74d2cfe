// SPDX-License-Identifier: Apache-2.0
// Blocks of megabytes that stay with the process for whoever needs one next.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

#include "core/devices/pages.hpp"

namespace octavo {

/// A block of whole large pages that begins with one. Null: there is none.
struct LargeBlock {
  struct Free {
    void operator()(char* memory) const noexcept {
      ::operator delete (memory, std::align_val_t{kLargePage});
    }
  };
  std::unique_ptr<char, Free> data;
  std::size_t bytes = 0;
};

/// How long a block of so many bytes is.
constexpr std::size_t large_block_bytes(std::size_t bytes) noexcept {
  return bytes > static_cast<std::size_t>(-1) - kLargePage
             ? bytes
             : (bytes + kLargePage - 1) / kLargePage * kLargePage;
}

/// A block of at least `least` bytes: a kept one of at most `most`, else a new one.
LargeBlock take_large_block(std::size_t least, std::size_t most) noexcept;

/// Keeps a block that is no longer used, if there is room for it. What it holds is lost.
void keep_large_block(LargeBlock block) noexcept;

}  // namespace octavo
