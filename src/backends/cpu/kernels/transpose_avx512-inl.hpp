// SPDX-License-Identifier: Apache-2.0
// Sixteen vectors of sixteen dwords, turned in registers by 64 shuffles: what 16 columns have in
// 64 bytes along K becomes 16 steps of those columns.
//
// Included inside an instruction-set region with AVX-512 F; every including file gets its own copy.

// Element (i, j) of 16 x 16 dwords goes to (j, i).
inline __attribute__((always_inline)) void transpose(__m512i (&m)[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(m[i], m[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(m[i], m[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    m[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    m[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    m[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    m[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // m[4 g + c], lane l: rows 4 g to 4 g + 3 of column 4 l + c.
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
