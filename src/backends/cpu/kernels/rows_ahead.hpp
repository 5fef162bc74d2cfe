// SPDX-License-Identifier: Apache-2.0
// What is fetched of a weight [K, N], whose rows lie along N, while a strip of its columns is read
// or packed some rows of K before it: rows one after the other, since memory gives neighbouring
// lines faster than lines of many rows in turn. Which cache takes them is the CPU's matter
// (fetches_first_level): Zen 5 reads up to twice as fast through the first level, Zen 4 through the
// second.
#pragma once

#include <cstdint>

namespace octavo::cpu {

/// Whether some CPU of this architecture asks for the first-level cache.
#if defined(__x86_64__)
inline constexpr bool kAsksForFirstLevel = true;
#else
inline constexpr bool kAsksForFirstLevel = false;
#endif

/// Kernels of weights that lie where they are go through a strip so many rows at a time, while as
/// many are fetched: those that the cache holds until they are read, many, since the strip's sums
/// pass through the core each time. For more rows of A than few their sums take longer than the way
/// from the second level.
inline constexpr std::int64_t kLeastTogether = 4, kMostTogether = 64;
inline constexpr std::int64_t kFewRowsOfA = 4;

[[gnu::always_inline]] inline std::int64_t rows_together(std::int64_t strip_bytes,
                                                         std::int64_t rows_of_a, bool first_level) {
  constexpr std::int64_t kKilobyte = 1024;
  const bool near = first_level && rows_of_a <= kFewRowsOfA;
  const std::int64_t bytes = kKilobyte * (!near ? 128 : rows_of_a == 1 ? 16 : 32);
  const std::int64_t least = near ? kLeastTogether : 4 * kLeastTogether;
  const std::int64_t rows = bytes / strip_bytes / kLeastTogether * kLeastTogether;
  return rows < least ? least : rows > kMostTogether ? kMostTogether : rows;
}

/// Rows of a strip, on their way.
struct RowsAhead {
  static constexpr int kLineBytes = 64;
  const char* at = nullptr;   ///< null: nothing is fetched
  std::int64_t left = 0;      ///< bytes of the row
  std::int64_t strip = 0;     ///< bytes of a row
  std::int64_t next_row = 0;  ///< bytes from the end of a row to the next one
  bool first_level = false;

  /// Rows of `strip_bytes`, `stride` bytes from one to the next.
  [[gnu::always_inline]] static inline RowsAhead of(const char* rows, std::int64_t strip_bytes,
                                                    std::int64_t stride, bool first_level) {
    return {rows, strip_bytes, strip_bytes, stride - strip_bytes, first_level};
  }

  /// So many bytes more, whole lines.
  template <int bytes>
  [[gnu::always_inline]] inline void fetch() {
    if (kAsksForFirstLevel && first_level) {
      for (int i = 0; i < bytes; i += kLineBytes) __builtin_prefetch(at + i);
    } else {
      for (int i = 0; i < bytes; i += kLineBytes) __builtin_prefetch(at + i, 0, 2);
    }
    at += bytes;
    left -= bytes;
    if (left <= 0) {
      at += next_row + left;
      left += strip;
    }
  }
};

}  // namespace octavo::cpu
