// SPDX-License-Identifier: Apache-2.0
// Advice to the system about large blocks. A system that takes none loses only time.
#pragma once

#include <cstddef>

namespace octavo {

/// Blocks that begin with such a page may lie in large ones.
inline constexpr std::size_t kLargePage = std::size_t{2} << 20;

/// A block's whole pages are better large: reading many megabytes once would otherwise spend a
/// tenth of its time on addresses.
void prefer_large_pages(void* block, std::size_t bytes) noexcept;

/// Nobody needs what a block's whole pages hold; they stay with it until the system is short.
void lend_to_system(void* block, std::size_t bytes) noexcept;

}  // namespace octavo
