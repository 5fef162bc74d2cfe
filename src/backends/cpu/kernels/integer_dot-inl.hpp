// SPDX-License-Identifier: Apache-2.0
// What the `Dot`s of bytes share. Included inside an instruction-set region.

struct IntegerDot {
  static constexpr bool kExact = true;
  static constexpr int kLoadVectors = 1;
  using Sum = __m512i;
  explicit IntegerDot(const octavo::cpu::DotTile& t)
      : flip(_mm512_set1_epi8(static_cast<char>(t.flip))) {}
  static Sum zero() { return _mm512_setzero_si512(); }
  static Sum read(const void* p) { return _mm512_load_si512(p); }
  static void write(void* p, Sum sum) { _mm512_store_si512(p, sum); }
  static __m512 floats(Sum sum) { return _mm512_cvtepi32_ps(sum); }
  __m512i left(__m512i a) const { return _mm512_xor_si512(a, flip); }

  __m512i flip;
};
