// SPDX-License-Identifier: Apache-2.0
// What makes vectors of columns of a weight, in AVX-512 F and BW: sixteen vectors of 64 bytes,
// transposed in registers by 64 shuffles, so that what 16 columns have in 64 bytes along K becomes
// 16 vectors of those columns; rows of neighbouring columns, joined; and the sums of a step's
// bytes.
//
// For regions with AVX-512 F and BW.
//
// Needs: Vec
// Gives: interleave, kPairedRows, step_sums, TransposedSquare, turn

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

// Lane l of q[i] holds columns 16 l + 4 i and the three after it; afterwards vector v columns 16 v
// to 16 v + 15.
OCTAVO_INLINE void put_lanes_together(__m512i (&q)[4]) {
  const __m512i front01 = _mm512_shuffle_i32x4(q[0], q[1], 0x44);
  const __m512i front23 = _mm512_shuffle_i32x4(q[2], q[3], 0x44);
  const __m512i back01 = _mm512_shuffle_i32x4(q[0], q[1], 0xEE);
  const __m512i back23 = _mm512_shuffle_i32x4(q[2], q[3], 0xEE);
  q[0] = _mm512_shuffle_i32x4(front01, front23, 0x88);
  q[1] = _mm512_shuffle_i32x4(front01, front23, 0xDD);
  q[2] = _mm512_shuffle_i32x4(back01, back23, 0x88);
  q[3] = _mm512_shuffle_i32x4(back01, back23, 0xDD);
}

// Sums of one step a word wait for memory, which gives 16 columns faster than 32.
constexpr int kPairedRows = 0;

// Sixteen columns of 64 bytes, transposed (unpacked/columns-inl.hpp) in two halves, between which
// they lie in the first-level cache. Lines of four columns become pieces of 16 bytes, which are
// four words:
//
//   columns g, g + 4, g + 8, g + 12:  [p0 p1 p2 p3] x 4   ->   p0 of all four, p1 of all four, ..
//
// and a piece of all columns, four such vectors, becomes its words as in turn(). Shuffles of the
// next square's first half and of this one's second stand between products, which have other
// ports; only four words are in registers at a time, so that the others hold sums.
template <int bits>
class TransposedSquare {
 public:
  // Makes squares, a first half ahead.
  template <int squares>
  class Ahead {
   public:
    OCTAVO_INLINE Ahead(const char* b, std::int64_t ldb) {
      for (Pieces& p : pieces_) {
        for (int g = 0; g < 4; ++g) put_pieces(b + g * ldb, ldb, p.halves[0] + g * 64);
        b += 16 * ldb;
      }
    }
    template <int square, class Dot, class Fetched>
    OCTAVO_INLINE TransposedSquare turn(const Dot&, const char* b, std::int64_t ldb,
                                        std::int64_t left, Fetched&) {
      const char* next = left >= 128 ? b + 64 : b;  // which can be read in any case
      Pieces& p = pieces_[square];
      const int now = p.now;
      p.now = 1 - now;
      return TransposedSquare(p.halves[now], next, ldb, p.halves[p.now]);
    }

   private:
    struct Pieces {
      alignas(64) char halves[2][1024];  // [piece][g][64]
      int now = 0;
    };
    Pieces pieces_[squares];
  };

  template <int w>  // in ascending order, once each
  OCTAVO_INLINE const __m512i& word() {
    if constexpr (w % 4 == 0) {
      put_pieces(next_ + w / 4 * ldb_, ldb_, next_pieces_ + w / 4 * 64);
      make_words(pieces_ + w / 4 * 256);
    }
    return words_[w % 4];
  }
  static constexpr bool usual() { return true; }

 private:
  OCTAVO_INLINE TransposedSquare(const char* pieces, const char* next, std::int64_t ldb,
                                 char* next_pieces)
      : pieces_(pieces), next_(next), ldb_(ldb), next_pieces_(next_pieces) {}

  static OCTAVO_INLINE void put_pieces(const char* b, std::int64_t ldb, char* out) {
    __m512i x[] = {Vec::load_unaligned_ints(b), Vec::load_unaligned_ints(b + 4 * ldb),
                   Vec::load_unaligned_ints(b + 8 * ldb), Vec::load_unaligned_ints(b + 12 * ldb)};
    put_lanes_together(x);
    for (int piece = 0; piece < 4; ++piece) _mm512_store_si512(out + piece * 256, x[piece]);
  }
  OCTAVO_INLINE void make_words(const char* piece) {
    const __m512i x0 = _mm512_load_si512(piece), x1 = _mm512_load_si512(piece + 64);
    const __m512i x2 = _mm512_load_si512(piece + 128), x3 = _mm512_load_si512(piece + 192);
    const __m512i low01 = unpack_low<bits>(x0, x1), high01 = unpack_high<bits>(x0, x1);
    const __m512i low23 = unpack_low<bits>(x2, x3), high23 = unpack_high<bits>(x2, x3);
    words_[0] = unpack_low<2 * bits>(low01, low23);
    words_[1] = unpack_high<2 * bits>(low01, low23);
    words_[2] = unpack_low<2 * bits>(high01, high23);
    words_[3] = unpack_high<2 * bits>(high01, high23);
  }

  const char* pieces_;
  const char* next_;
  std::int64_t ldb_;
  char* next_pieces_;
  __m512i words_[4];
};

// 256 bytes of rows, 64 columns each, as vectors of 16 columns: four rows of bytes, two of
// halfwords, the front of each before its back, or one of words.
template <std::int64_t size>
inline void interleave(__m512i (&x)[4]) {
  if constexpr (size == 1) {
    const __m512i low01 = _mm512_unpacklo_epi8(x[0], x[1]);
    const __m512i high01 = _mm512_unpackhi_epi8(x[0], x[1]);
    const __m512i low23 = _mm512_unpacklo_epi8(x[2], x[3]);
    const __m512i high23 = _mm512_unpackhi_epi8(x[2], x[3]);
    x[0] = _mm512_unpacklo_epi16(low01, low23);
    x[1] = _mm512_unpackhi_epi16(low01, low23);
    x[2] = _mm512_unpacklo_epi16(high01, high23);
    x[3] = _mm512_unpackhi_epi16(high01, high23);
    put_lanes_together(x);
  } else if constexpr (size == 2) {
    const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    const __m512i second = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    const __m512i low[] = {_mm512_unpacklo_epi16(x[0], x[2]), _mm512_unpacklo_epi16(x[1], x[3])};
    const __m512i high[] = {_mm512_unpackhi_epi16(x[0], x[2]), _mm512_unpackhi_epi16(x[1], x[3])};
    for (int half = 0; half < 2; ++half) {
      x[2 * half] = _mm512_permutex2var_epi64(low[half], first, high[half]);
      x[2 * half + 1] = _mm512_permutex2var_epi64(low[half], second, high[half]);
    }
  }
}

// The sums of 16 columns over one step of bytes.
inline __m512i step_sums(__m512i codes) {
  const __m512i pairs = _mm512_maddubs_epi16(_mm512_set1_epi8(1), codes);
  return _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}
