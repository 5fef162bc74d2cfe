// SPDX-License-Identifier: Apache-2.0
// What the `Along`s of unpacked/along-inl.hpp on registers of 32 bytes share: eight sums of 32 bits
// in one, and 32 bytes of a row of A.
//
// Needs: Vec
// Gives: AlongSums
struct AlongSums {
  static constexpr std::int64_t kRowBytes = 32, kLanes = 8;
  using Sum = __m256i;
  static OCTAVO_INLINE Sum zero() { return _mm256_setzero_si256(); }
  static OCTAVO_INLINE Sum plus(Sum a, Sum b) { return _mm256_add_epi32(a, b); }
  static OCTAVO_INLINE void store(std::int32_t* p, Sum sum) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(p), sum);
  }
  static OCTAVO_INLINE __m256i left(const char* a) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(a));
  }
  template <int count>
  static OCTAVO_INLINE void totals(const std::int32_t* lanes, std::int32_t* out) {
    Vec::totals<count>(lanes, out);
  }
};
