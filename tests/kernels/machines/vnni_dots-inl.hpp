// SPDX-License-Identifier: Apache-2.0
// vnni::dot of eight lanes at once. For regions with AVX2.
//
// Needs: nothing
// Gives: vnni_dots

template <class Byte>
__m256i vnni_dots(__m256i sum, __m256i a, __m256i b) {
  for (int shift = 0; shift < 32; shift += 8) {
    const __m256i left = _mm256_slli_epi32(a, 24 - shift), right = _mm256_slli_epi32(b, 24 - shift);
    const __m256i widened =
        std::is_signed_v<Byte> ? _mm256_srai_epi32(left, 24) : _mm256_srli_epi32(left, 24);
    sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(widened, _mm256_srai_epi32(right, 24)));
  }
  return sum;
}
