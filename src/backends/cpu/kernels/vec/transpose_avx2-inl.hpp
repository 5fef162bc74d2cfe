// SPDX-License-Identifier: Apache-2.0
// What makes vectors of columns of a weight, in AVX2; the names are those of
// transpose_avx512-inl.hpp.
//
// Needs: Vec
// Gives: interleave, kPairedRows, step_sums, TransposedSquare, turn, Unseen

// The lower, or upper, units of both in each 128-bit lane, in turns.
template <int bits>
OCTAVO_INLINE __m256i unpack_low(__m256i a, __m256i b) {
  if constexpr (bits == 16) return _mm256_unpacklo_epi16(a, b);
  return bits == 32 ? _mm256_unpacklo_epi32(a, b) : _mm256_unpacklo_epi64(a, b);
}
template <int bits>
OCTAVO_INLINE __m256i unpack_high(__m256i a, __m256i b) {
  if constexpr (bits == 16) return _mm256_unpackhi_epi16(a, b);
  return bits == 32 ? _mm256_unpackhi_epi32(a, b) : _mm256_unpackhi_epi64(a, b);
}

// Dword (i, j) of 8 x 8 goes to (j, i).
OCTAVO_INLINE void transpose_quarter(__m256i (&m)[8]) {
  __m256i t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(m[i], m[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(m[i], m[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    m[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    m[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    m[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    m[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // m[4 g + c], lane l: rows 4 g to 4 g + 3 of dword 4 l + c.
  for (int c = 0; c < 4; ++c) {
    t[c] = _mm256_permute2x128_si256(m[c], m[4 + c], 0x20);
    t[4 + c] = _mm256_permute2x128_si256(m[c], m[4 + c], 0x31);
  }
  for (int i = 0; i < 8; ++i) m[i] = t[i];
}

// Dword (i, j) of 16 x 16 goes to (j, i): its quarters one by one, since sixteen registers hold no
// more.
inline void turn(Vec::Ints (&m)[16]) {
  __m256i upper[8],
      lower[8];  // the second half of the first rows, the first half of the second ones
  __m256i quarter[8];
  for (int i = 0; i < 8; ++i) quarter[i] = m[i].low;
  transpose_quarter(quarter);
  for (int i = 0; i < 8; ++i) lower[i] = m[8 + i].low;
  for (int i = 0; i < 8; ++i) m[i].low = quarter[i];
  transpose_quarter(lower);
  for (int i = 0; i < 8; ++i) upper[i] = m[i].high;
  for (int i = 0; i < 8; ++i) m[i].high = lower[i];
  transpose_quarter(upper);
  for (int i = 0; i < 8; ++i) quarter[i] = m[8 + i].high;
  for (int i = 0; i < 8; ++i) m[8 + i].low = upper[i];
  transpose_quarter(quarter);
  for (int i = 0; i < 8; ++i) m[8 + i].high = quarter[i];
}

// Squares lie in memory.
constexpr int kPairedRows = 2;

// What is looked at of a weight on its way: nothing.
struct Unseen {
  template <class Dot>
  explicit OCTAVO_INLINE Unseen(const Dot&) {}
  template <class Bytes>
  static OCTAVO_INLINE void look(const Bytes&) {}
  static constexpr bool usual() { return true; }
};

// Sixteen columns of 64 bytes, transposed (unpacked/columns-inl.hpp): in memory, since registers
// hold a quarter of them. With units of 16 bits, lane l of a word holds the lower halves of columns
// 4 l to 4 l + 3, then their upper halves. `Look` sees every byte.
//
// They are transposed by fours, eight columns at a time: lines of 16 columns that lie a multiple of
// 4096 bytes apart meet in one set of the first-level cache, and what its prefetchers bring of as
// many streams there is gone before it is read.
//
//   column 0  [16 bytes][16 bytes] .. 256 bytes         halves of words 0 to 3, of 4 to 7, ..
//     ..                                       -- turn -->
//   column 7  [16 bytes][16 bytes] ..
template <int bits, class Look = Unseen>
class TransposedSquare {
 public:
  // Makes squares.
  template <int squares>
  class Strip {
   public:
    static constexpr int kMostRows = 4;
    Strip(const char*, std::int64_t) {}
    template <int square, class Dot, class Fetched>
    OCTAVO_INLINE TransposedSquare turn(const Dot& dot, const char* b, std::int64_t ldb,
                                        std::int64_t left, Fetched& fetched) {
      Transposed& t = transposed_[square];
      if (t.left == 0) {
        t.left = left < kSquares * 64 ? left / 64 : kSquares;
        t.next = t.words;
        t.usual = turn_columns(Look(dot), b, ldb, t.left * 64, t.words, fetched);
      }
      --t.left;
      const char* words = t.next;
      t.next += 1024;
      return TransposedSquare(words, t.usual);
    }

   private:
    static constexpr std::int64_t kSquares = 4;
    struct Transposed {
      alignas(64) char words[kSquares * 1024];
      const char* next;
      std::int64_t left = 0;
      bool usual;
    };
    Transposed transposed_[squares];
  };

  OCTAVO_INLINE bool usual() const { return usual_; }
  OCTAVO_INLINE const char* words() const { return words_; }
  template <int w>
  OCTAVO_INLINE Vec::Ints word() const {
    return Vec::load_ints(words_ + w * 64);
  }

 private:
  OCTAVO_INLINE TransposedSquare(const char* words, bool usual) : words_(words), usual_(usual) {}

  // `depth` bytes of sixteen columns; whether they are usual. Eight lines are fetched for each 64
  // bytes.
  template <class Fetched>
  static OCTAVO_INLINE bool turn_columns(Look seen, const char* b, std::int64_t ldb,
                                         std::int64_t depth, char* out, Fetched& fetched) {
    for (std::int64_t half = 0; half < 2; ++half, b += 8 * ldb, out += 32) {
      for (std::int64_t k = 0; k < depth; k += 16) {
        fetched.line();
        turn_part(seen, b + k, ldb, out + k * 16);
      }
    }
    return seen.usual();
  }
  // 16 bytes of eight columns: halves of four words.
  static OCTAVO_INLINE void turn_part(Look& seen, const char* b, std::int64_t ldb, char* out) {
    const auto columns = [&](std::int64_t j) {
      const auto* lower = reinterpret_cast<const __m128i*>(b + j * ldb);
      const auto* upper = reinterpret_cast<const __m128i*>(b + 4 * ldb + j * ldb);
      const __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(lower)),
                                                    _mm_loadu_si128(upper), 1);
      seen.look(bytes);
      return bytes;
    };
    const __m256i m0 = columns(0), m1 = columns(1), m2 = columns(2), m3 = columns(3);
    const __m256i low01 = unpack_low<bits>(m0, m1), high01 = unpack_high<bits>(m0, m1);
    const __m256i low23 = unpack_low<bits>(m2, m3), high23 = unpack_high<bits>(m2, m3);
    const auto put = [&](int w, __m256i word) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(out + w * 64), word);
    };
    put(0, unpack_low<2 * bits>(low01, low23));
    put(1, unpack_high<2 * bits>(low01, low23));
    put(2, unpack_low<2 * bits>(high01, high23));
    put(3, unpack_high<2 * bits>(high01, high23));
  }

  const char* words_;
  bool usual_;
};

// 256 bytes of rows, 64 columns each, as vectors of 16 columns: four rows of bytes, two of
// halfwords, the front of each before its back, or one of words.
template <std::int64_t size>
OCTAVO_INLINE void interleave(Vec::Ints (&x)[4]) {
  // Lane l of the first two holds columns 16 l to 16 l + 7, of the last two the eight after them.
  const auto halves = [](__m256i a, __m256i b) -> Vec::Ints {
    return {_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31)};
  };
  if constexpr (size == 1) {
    const auto quads = [&](__m256i r0, __m256i r1, __m256i r2, __m256i r3, Vec::Ints& first,
                           Vec::Ints& second) {
      const __m256i low01 = _mm256_unpacklo_epi8(r0, r1);
      const __m256i high01 = _mm256_unpackhi_epi8(r0, r1);
      const __m256i low23 = _mm256_unpacklo_epi8(r2, r3);
      const __m256i high23 = _mm256_unpackhi_epi8(r2, r3);
      const Vec::Ints front =
          halves(_mm256_unpacklo_epi16(low01, low23), _mm256_unpackhi_epi16(low01, low23));
      const Vec::Ints back =
          halves(_mm256_unpacklo_epi16(high01, high23), _mm256_unpackhi_epi16(high01, high23));
      first = {front.low, back.low};
      second = {front.high, back.high};
    };
    const Vec::Ints rows[] = {x[0], x[1], x[2], x[3]};
    quads(rows[0].low, rows[1].low, rows[2].low, rows[3].low, x[0], x[1]);
    quads(rows[0].high, rows[1].high, rows[2].high, rows[3].high, x[2], x[3]);
  } else if constexpr (size == 2) {
    const auto pairs = [&](__m256i r0, __m256i r1) -> Vec::Ints {
      return halves(_mm256_unpacklo_epi16(r0, r1), _mm256_unpackhi_epi16(r0, r1));
    };
    const Vec::Ints rows[] = {x[0], x[1], x[2], x[3]};
    x[0] = pairs(rows[0].low, rows[2].low);
    x[1] = pairs(rows[0].high, rows[2].high);
    x[2] = pairs(rows[1].low, rows[3].low);
    x[3] = pairs(rows[1].high, rows[3].high);
  }
}

// The sums of 16 columns over one step of bytes.
OCTAVO_INLINE __m256i half_step_sums(__m256i codes) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
OCTAVO_INLINE Vec::Ints step_sums(const Vec::Ints& codes) {
  return {half_step_sums(codes.low), half_step_sums(codes.high)};
}
