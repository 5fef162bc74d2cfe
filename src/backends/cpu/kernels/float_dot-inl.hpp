// SPDX-License-Identifier: Apache-2.0
// What the `Dot`s of floats share. Included inside an instruction-set region.

struct FloatDot {
  static constexpr bool kExact = false;
  using Sum = __m512;
  static Sum zero() { return _mm512_setzero_ps(); }
  static Sum read(const void* p) { return _mm512_load_ps(p); }
  static void write(void* p, Sum sum) { _mm512_store_ps(p, sum); }
  static __m512 floats(Sum sum) { return sum; }
  static __m512i left(__m512i a) { return a; }
};
