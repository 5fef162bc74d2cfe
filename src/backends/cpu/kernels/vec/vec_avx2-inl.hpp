// SPDX-License-Identifier: Apache-2.0
// A vector of sixteen columns in two AVX2 registers:
//
//   column     0    1   ..    7      8    9   ..   15
//            [....][....] .. [....] [....][....] .. [....]    four bytes each
//
// The names are those of vec_avx512-inl.hpp.
//
// For regions with AVX2 and FMA.
//
// Needs: nothing
// Gives: Vec
struct Vec {
  struct Ints {
    __m256i low, high;
  };
  struct Floats {
    __m256 low, high;
  };
  static constexpr int kRegisters = 2;
  static constexpr int kSpareSums = 1;

  static OCTAVO_INLINE Ints zero_ints() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static OCTAVO_INLINE Floats zero_floats() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static OCTAVO_INLINE Ints load_ints(const void* p) {
    const auto* at = static_cast<const __m256i*>(p);
    return {_mm256_load_si256(at), _mm256_load_si256(at + 1)};
  }
  static OCTAVO_INLINE Floats load_floats(const void* p) {
    const auto* at = static_cast<const float*>(p);
    return {_mm256_load_ps(at), _mm256_load_ps(at + 8)};
  }
  static OCTAVO_INLINE Ints load_unaligned_ints(const void* p) {
    const auto* at = static_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
  }
  static OCTAVO_INLINE Floats load_unaligned_floats(const void* p) {
    const auto* at = static_cast<const float*>(p);
    return {_mm256_loadu_ps(at), _mm256_loadu_ps(at + 8)};
  }
  static OCTAVO_INLINE void store(void* p, const Ints& x) {
    auto* at = static_cast<__m256i*>(p);
    _mm256_store_si256(at, x.low);
    _mm256_store_si256(at + 1, x.high);
  }
  static OCTAVO_INLINE void store(void* p, const Floats& x) {
    auto* at = static_cast<float*>(p);
    _mm256_store_ps(at, x.low);
    _mm256_store_ps(at + 8, x.high);
  }
  static OCTAVO_INLINE void store_unaligned(void* p, const Ints& x) {
    auto* at = static_cast<__m256i*>(p);
    _mm256_storeu_si256(at, x.low);
    _mm256_storeu_si256(at + 1, x.high);
  }

  static OCTAVO_INLINE Ints both(__m256i x) { return {x, x}; }
  static OCTAVO_INLINE Ints broadcast(std::int32_t x) { return both(_mm256_set1_epi32(x)); }
  static OCTAVO_INLINE Floats broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static OCTAVO_INLINE Ints broadcast_byte(std::uint8_t x) {
    return both(_mm256_set1_epi8(static_cast<char>(x)));
  }
  static OCTAVO_INLINE Ints load_part(const void* p, std::int64_t count) {
    if (count >= 64) return load_unaligned_ints(p);
    alignas(64) char bytes[64] = {};
    std::memcpy(bytes, p, static_cast<std::size_t>(count));
    return load_ints(bytes);
  }

  // Columns in their order, in memory: the low half of a vector holds columns 0 to 3 and 8 to 11.
  template <int vectors>
  static OCTAVO_INLINE void order(void* p) {
    for (int v = 0; v < vectors; ++v) {
      char* at = static_cast<char*>(p) + v * 64;
      const Ints x = load_ints(at);
      store(at, Ints{_mm256_permute2x128_si256(x.low, x.high, 0x20),
                     _mm256_permute2x128_si256(x.low, x.high, 0x31)});
    }
  }

  // out[i], i < count: the sum of eight lanes from p + 8 i on; as many as fill fours are written.
  template <int count>
  static OCTAVO_INLINE void totals(const std::int32_t* p, std::int32_t* out) {
    const __m256i zero = _mm256_setzero_si256();
    const auto lanes = [&](int i) {
      return i < count ? _mm256_load_si256(reinterpret_cast<const __m256i*>(p + 8 * i)) : zero;
    };
    for (int i = 0; i < count; i += 4) {
      const __m256i sums = _mm256_hadd_epi32(_mm256_hadd_epi32(lanes(i), lanes(i + 1)),
                                             _mm256_hadd_epi32(lanes(i + 2), lanes(i + 3)));
      _mm_store_si128(
          reinterpret_cast<__m128i*>(out + i),
          _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1)));
    }
  }

  static OCTAVO_INLINE Ints add(const Ints& a, const Ints& b) {
    return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
  }
  static OCTAVO_INLINE Ints subtract(const Ints& a, const Ints& b) {
    return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
  }
  static OCTAVO_INLINE Ints multiply(const Ints& a, const Ints& b) {
    return {_mm256_mullo_epi32(a.low, b.low), _mm256_mullo_epi32(a.high, b.high)};
  }
  static OCTAVO_INLINE Ints exclusive_or(const Ints& a, const Ints& b) {
    return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
  }
  // Words: the sum of two products of neighbours, in their place; a shift with the sign.
  static OCTAVO_INLINE Ints multiply_pairs(const Ints& a, const Ints& b) {
    return {_mm256_madd_epi16(a.low, b.low), _mm256_madd_epi16(a.high, b.high)};
  }
  template <int bits>
  static OCTAVO_INLINE Ints shift_words_right(const Ints& x) {
    return {_mm256_srai_epi16(x.low, bits), _mm256_srai_epi16(x.high, bits)};
  }
  // Bytes 2 half and 2 half + 1 of every column, as the upper ones of two words; zeros below.
  template <int half>
  static OCTAVO_INLINE Ints upper_bytes(const Ints& x) {
    constexpr int kFirst = half == 0 ? 0x01800080 : 0x03800280;
    const __m256i order =
        _mm256_setr_epi32(kFirst, kFirst + 0x04000400, kFirst + 0x08000800, kFirst + 0x0C000C00,
                          kFirst, kFirst + 0x04000400, kFirst + 0x08000800, kFirst + 0x0C000C00);
    return {_mm256_shuffle_epi8(x.low, order), _mm256_shuffle_epi8(x.high, order)};
  }
  static OCTAVO_INLINE Floats add(const Floats& a, const Floats& b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
  }
  static OCTAVO_INLINE Floats multiply(const Floats& a, const Floats& b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
  }
  static OCTAVO_INLINE Floats fused(const Floats& a, const Floats& b, const Floats& c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }

  static OCTAVO_INLINE Floats to_floats(const Ints& x) {
    return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)};
  }
  static OCTAVO_INLINE Floats as_floats(const Ints& x) {
    return {_mm256_castsi256_ps(x.low), _mm256_castsi256_ps(x.high)};
  }

  static OCTAVO_INLINE void keep(Ints& x) { __asm__("" : "+x"(x.low), "+x"(x.high)); }
};
