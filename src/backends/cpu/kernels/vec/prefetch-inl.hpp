// SPDX-License-Identifier: Apache-2.0
// What a tile fetches of what is read next, into the cache of a level. A stream, which hardware
// follows, too, goes into the first.
//
// Needs: nothing
// Gives: prefetch
template <int lines, int level = 1>
OCTAVO_INLINE void prefetch(const char*& ahead, std::int64_t step) {
  constexpr int kNear = 4 - level;  // __builtin_prefetch's locality
  if constexpr (lines > 0) __builtin_prefetch(ahead, 0, kNear);
  if constexpr (lines > 1) __builtin_prefetch(ahead + 64, 0, kNear);
  if constexpr (lines > 2) __builtin_prefetch(ahead + 128, 0, kNear);
  if constexpr (lines > 2) __builtin_prefetch(ahead + 192, 0, kNear);
  if constexpr (lines > 0) ahead += step;
}
