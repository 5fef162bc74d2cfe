// SPDX-License-Identifier: Apache-2.0
// Results written past the caches.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace octavo::cpu {

/// Results of so many bytes and more are: a cache would first read the lines that they replace, and
/// whoever comes next would not find them there anyway.
inline constexpr std::int64_t kStreamedBytes = std::int64_t{8} << 20;
inline constexpr std::int64_t kStreamedLine = 64;  ///< bytes that are written whole

/// Do rows that are so many bytes apart begin with lines, as the first one has to?
inline bool begin_lines(const void* first, std::int64_t row_bytes) noexcept {
  return reinterpret_cast<std::uintptr_t>(first) % kStreamedLine == 0 &&
         row_bytes % kStreamedLine == 0;
}

/// Other threads do not see streamed lines before the thread that wrote them has called this.
inline void end_streams() noexcept {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace octavo::cpu
