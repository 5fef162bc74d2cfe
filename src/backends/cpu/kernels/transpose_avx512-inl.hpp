// SPDX-License-Identifier: Apache-2.0
// Sixteen vectors of 64 bytes, turned in registers by 64 shuffles: what 16 columns have in 64 bytes
// along K becomes 16 vectors of those columns.
//
// Included inside an instruction-set region with AVX-512 F and BW; every including file gets its
// own copy.

// The lower, or upper, units of both in each 128-bit lane, in turns.
template <int bits>
inline __attribute__((always_inline)) __m512i unpack_low(__m512i a, __m512i b) {
  if constexpr (bits == 16) return _mm512_unpacklo_epi16(a, b);
  return bits == 32 ? _mm512_unpacklo_epi32(a, b) : _mm512_unpacklo_epi64(a, b);
}
template <int bits>
inline __attribute__((always_inline)) __m512i unpack_high(__m512i a, __m512i b) {
  if constexpr (bits == 16) return _mm512_unpackhi_epi16(a, b);
  return bits == 32 ? _mm512_unpackhi_epi32(a, b) : _mm512_unpackhi_epi64(a, b);
}

// Dword (i, j) of 16 x 16 goes to (j, i). With units of 16 bits, lane l of vector j holds the
// dwords' lower halves of columns 4 l to 4 l + 3, then their upper halves.
template <int bits = 32>
inline __attribute__((always_inline)) void turn(__m512i (&m)[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = unpack_low<bits>(m[i], m[i + 1]);
    t[i + 1] = unpack_high<bits>(m[i], m[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    m[i] = unpack_low<2 * bits>(t[i], t[i + 2]);
    m[i + 1] = unpack_high<2 * bits>(t[i], t[i + 2]);
    m[i + 2] = unpack_low<2 * bits>(t[i + 1], t[i + 3]);
    m[i + 3] = unpack_high<2 * bits>(t[i + 1], t[i + 3]);
  }
  // m[4 g + c], lane l: columns 4 g to 4 g + 3 of dword 4 l + c.
  for (int c = 0; c < 4; ++c) {
    const __m512i even01 = _mm512_shuffle_i32x4(m[c], m[4 + c], 0x88);
    const __m512i even23 = _mm512_shuffle_i32x4(m[8 + c], m[12 + c], 0x88);
    const __m512i odd01 = _mm512_shuffle_i32x4(m[c], m[4 + c], 0xDD);
    const __m512i odd23 = _mm512_shuffle_i32x4(m[8 + c], m[12 + c], 0xDD);
    t[c] = _mm512_shuffle_i32x4(even01, even23, 0x88);
    t[8 + c] = _mm512_shuffle_i32x4(even01, even23, 0xDD);
    t[4 + c] = _mm512_shuffle_i32x4(odd01, odd23, 0x88);
    t[12 + c] = _mm512_shuffle_i32x4(odd01, odd23, 0xDD);
  }
  for (int i = 0; i < 16; ++i) m[i] = t[i];
}
