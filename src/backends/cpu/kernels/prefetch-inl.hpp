// SPDX-License-Identifier: Apache-2.0
// What a tile fetches of what is read next. Included inside an instruction-set region; every
// including file gets its own copy.
template <int lines>
OCTAVO_INLINE void prefetch(const char*& ahead, std::int64_t step) {
  if constexpr (lines > 0) __builtin_prefetch(ahead);
  if constexpr (lines > 1) __builtin_prefetch(ahead + 64);
  if constexpr (lines > 2) __builtin_prefetch(ahead + 128);
  if constexpr (lines > 2) __builtin_prefetch(ahead + 192);
  if constexpr (lines > 0) ahead += step;
}
