// SPDX-License-Identifier: Apache-2.0
// A vector of sixteen columns in one AVX-512 register:
//
//   column     0    1    2   ..   15
//            [....][....][....] .. [....]    four bytes each: int32, float32, or a step of B
//
// The tiles are written on these names; another instruction set has a `Vec` of its own with the
// same ones, of as many registers as sixteen columns take. Pointers are 64-byte aligned but where
// a name says otherwise.
//
// For regions with AVX-512 F and BW.
//
// Needs: nothing
// Gives: Vec
struct Vec {
  using Ints = __m512i;  // or the 64 bytes of a step
  using Floats = __m512;
  static constexpr int kRegisters = 1;
  static constexpr int kSpareSums = 4;  // so many may have a second set beside them

  static Ints zero_ints() { return _mm512_setzero_si512(); }
  static Floats zero_floats() { return _mm512_setzero_ps(); }
  static Ints load_ints(const void* p) { return _mm512_load_si512(p); }
  static Floats load_floats(const void* p) { return _mm512_load_ps(p); }
  // Once: g++ would make a memory operand of it wherever it is used, and a line that is on its way
  // from memory comes at half the speed when it is asked for twice.
  static OCTAVO_INLINE Ints load_unaligned_ints(const void* p) {
    Ints x = _mm512_loadu_si512(p);
    keep(x);
    return x;
  }
  static Floats load_unaligned_floats(const void* p) { return _mm512_loadu_ps(p); }
  static void store(void* p, Ints x) { _mm512_store_si512(p, x); }
  static void store(void* p, Floats x) { _mm512_store_ps(p, x); }
  static void store_unaligned(void* p, Ints x) { _mm512_storeu_si512(p, x); }

  // One value, or one byte, everywhere.
  static Ints broadcast(std::int32_t x) { return _mm512_set1_epi32(x); }
  static Floats broadcast(float x) { return _mm512_set1_ps(x); }
  static Ints broadcast_byte(std::uint8_t x) { return _mm512_set1_epi8(static_cast<char>(x)); }

  // The first `count` bytes, or 64, at any address and zeros; nothing more is read.
  static Ints load_part(const void* p, std::int64_t count) {
    const std::uint64_t existing =
        count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
    return _mm512_maskz_loadu_epi8(existing, p);
  }

  // Columns in their order, in memory: vector i's lane l holds columns 4 (l * vectors + i) to the
  // third after it.
  template <int vectors>
  static void order(void* p) {
    static_assert(vectors == 2 || vectors == 4);
    char* at = static_cast<char*>(p);
    const Ints v0 = load_ints(at);
    const Ints v1 = load_ints(at + 64);
    if constexpr (vectors == 2) {
      const Ints low = _mm512_shuffle_i32x4(v0, v1, 0x44);
      const Ints high = _mm512_shuffle_i32x4(v0, v1, 0xEE);
      store(at, _mm512_shuffle_i32x4(low, low, 0xD8));
      store(at + 64, _mm512_shuffle_i32x4(high, high, 0xD8));
    } else {
      const Ints v2 = load_ints(at + 128);
      const Ints v3 = load_ints(at + 192);
      const Ints low01 = _mm512_shuffle_i32x4(v0, v1, 0x44);
      const Ints low23 = _mm512_shuffle_i32x4(v2, v3, 0x44);
      const Ints high01 = _mm512_shuffle_i32x4(v0, v1, 0xEE);
      const Ints high23 = _mm512_shuffle_i32x4(v2, v3, 0xEE);
      store(at, _mm512_shuffle_i32x4(low01, low23, 0x88));
      store(at + 64, _mm512_shuffle_i32x4(low01, low23, 0xDD));
      store(at + 128, _mm512_shuffle_i32x4(high01, high23, 0x88));
      store(at + 192, _mm512_shuffle_i32x4(high01, high23, 0xDD));
    }
  }

  // Lane i < count: the sum of the lanes of vector i of neighbouring ones.
  template <int count>
  static Ints totals(const std::int32_t* p) {
    const Ints low = add_lanes(quad_totals<count>(p), quad_totals<count - 4>(p + 64));
    if constexpr (count <= 8) return add_lanes(low, low);
    const Ints high = add_lanes(quad_totals<count - 8>(p + 128), quad_totals<count - 12>(p + 192));
    return add_lanes(low, high);
  }
  // 128-bit lanes of what four vectors have there, added up: one number of each.
  template <int count>
  static Ints quad_totals(const std::int32_t* p) {
    const Ints zero = zero_ints();
    const Ints v0 = count > 0 ? load_ints(p) : zero;
    const Ints v1 = count > 1 ? load_ints(p + 16) : zero;
    const Ints v2 = count > 2 ? load_ints(p + 32) : zero;
    const Ints v3 = count > 3 ? load_ints(p + 48) : zero;
    return quad_totals(v0, v1, v2, v3);
  }
  static OCTAVO_INLINE Ints quad_totals(Ints v0, Ints v1, Ints v2, Ints v3) {
    const Ints even = add(_mm512_unpacklo_epi32(v0, v1), _mm512_unpackhi_epi32(v0, v1));
    const Ints odd = add(_mm512_unpacklo_epi32(v2, v3), _mm512_unpackhi_epi32(v2, v3));
    return add(_mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd));
  }
  // A 128-bit lane, at an address that is a multiple of 16.
  template <int lane>
  static OCTAVO_INLINE void store_quarter(void* p, Ints x) {
    _mm_store_si128(static_cast<__m128i*>(p), _mm512_extracti32x4_epi32(x, lane));
  }
  // The sums of neighbouring 128-bit lanes of a, then of b.
  static Ints add_lanes(Ints a, Ints b) {
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xDD));
  }

  // Integers modulo 2^32; floats rounded once for each operation, `fused`, a * b + c, once.
  static Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
  static Ints subtract(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
  static Ints multiply(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
  static Ints exclusive_or(Ints a, Ints b) { return _mm512_xor_si512(a, b); }
  // Words: the sum of two products of neighbours, in their place; a shift with the sign.
  static OCTAVO_INLINE Ints multiply_pairs(Ints a, Ints b) { return _mm512_madd_epi16(a, b); }
  template <int bits>
  static OCTAVO_INLINE Ints shift_words_right(Ints x) {
    return _mm512_srai_epi16(x, bits);
  }
  // Bytes 2 half and 2 half + 1 of every column, as the upper ones of two words; zeros below.
  template <int half>
  static OCTAVO_INLINE Ints upper_bytes(Ints x) {
    constexpr int kFirst = half == 0 ? 0x01800080 : 0x03800280;
    const Ints order =
        _mm512_set4_epi32(kFirst + 0x0C000C00, kFirst + 0x08000800, kFirst + 0x04000400, kFirst);
    return _mm512_shuffle_epi8(x, order);
  }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats fused(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }

  // The nearest floats; the same bits.
  static Floats to_floats(Ints x) { return _mm512_cvtepi32_ps(x); }
  static Floats as_floats(Ints x) { return _mm512_castsi512_ps(x); }

  // The compiler may not load x again instead of keeping it.
  static OCTAVO_INLINE void keep(Ints& x) { __asm__("" : "+v"(x)); }
};
