// SPDX-License-Identifier: Apache-2.0
// What a tile fetches of what is read next: into the second-level cache, which has more lines on
// their way to it than the first, or, of a stream that hardware follows, too, into the first.
// Included inside an instruction-set region; every including file gets its own copy.
template <bool second_level>
OCTAVO_INLINE void prefetch_line(const char* line) {
  if constexpr (second_level) {
    __builtin_prefetch(line, 0, 2);
  } else {
    __builtin_prefetch(line);
  }
}
template <int lines, bool second_level = false>
OCTAVO_INLINE void prefetch(const char*& ahead, std::int64_t step) {
  if constexpr (lines > 0) prefetch_line<second_level>(ahead);
  if constexpr (lines > 1) prefetch_line<second_level>(ahead + 64);
  if constexpr (lines > 2) prefetch_line<second_level>(ahead + 128);
  if constexpr (lines > 2) prefetch_line<second_level>(ahead + 192);
  if constexpr (lines > 0) ahead += step;
}
