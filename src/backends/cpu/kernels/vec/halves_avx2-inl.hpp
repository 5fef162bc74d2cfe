// SPDX-License-Identifier: Apache-2.0
// Pairs of 16 bits, apart: the first ones of eight columns, then the second ones.
//
// Needs: nothing
// Gives: halves_apart
OCTAVO_INLINE __m256i halves_apart(__m256i pairs) {
  // Of each lane the first ones, then the second ones; then those of both lanes.
  const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1,
                                         4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(pairs, order), 0xD8);
}
