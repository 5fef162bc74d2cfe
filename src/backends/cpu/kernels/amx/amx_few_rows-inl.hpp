// SPDX-License-Identifier: Apache-2.0
// So few rows by a weight [K, N] that is not packed that packing it for registers of AMX takes
// longer than the products do, on vectors, with the bits of tdpbf16ps. Of every 32 rows of K:
//
//   even[r][j] = sum over k = 0, 2 .. 30 of a[r][k] * b[k][j]     from 0, fused
//   odd[r][j]  = sum over k = 1, 3 .. 31 of a[r][k] * b[k][j]     the same
//   c[r][j]   += even[r][j] + odd[r][j]
//
// A line of 64 bytes along N goes through the 16 rows of a chain, then through those of the other:
//
//   row k      [b0 b1 b2 ..]     as float32   [b0 b2 .. b30] [b1 b3 .. b31] ..   and by a[r][k]
//   row k + 2  [b0 b1 b2 ..]     ..
//
// Kinds are those of bfloat16 (amx_unpacked-inl.hpp).
//
// Needs: kRegisterBytes, NumberLines, Vec
// Gives: add_strip_vectors, FlushesSubnormals, kChainsDepth, kVectorRows

constexpr std::int64_t kChainsDepth = 32;  // rows of K that two chains go through

template <class Kind>
constexpr std::int64_t kLineColumns = kRegisterBytes / octavo::element_bytes(Kind::kWeight);
template <class Kind>
constexpr int kLineVectors = kLineColumns<Kind> / octavo::cpu::kVectorCols;

// The most rows: registers of AMX take more of them faster.
template <class Kind>
constexpr int kVectorRows = 12 / kLineVectors<Kind>;

/// Subnormal operands and results are zeros, whatever is rounded is rounded to nearest: AMX's way.
class FlushesSubnormals {
 public:
  FlushesSubnormals() : saved_(_mm_getcsr()) {
    constexpr unsigned kMasked = 0x1F80, kFlush = 0x8000, kDenormalsAreZeros = 0x0040;
    _mm_setcsr(kMasked | kFlush | kDenormalsAreZeros);
  }
  ~FlushesSubnormals() { _mm_setcsr(saved_); }
  FlushesSubnormals(const FlushesSubnormals&) = delete;
  FlushesSubnormals& operator=(const FlushesSubnormals&) = delete;

 private:
  unsigned saved_;
};

/// A line of the weight as float32: vectors of every other column of 32, the even ones first.
template <class Kind>
struct LineFloats {
  Vec::Floats of[kLineVectors<Kind>];

  OCTAVO_INLINE LineFloats(const Kind& kind, const char* b) {
    const __m512i line = Vec::load_unaligned_ints(b);
    if constexpr (Kind::kInPlace) {
      split<0>(line);
    } else {
      const NumberLines numbers = kind.numbers(line);
      split<0>(numbers.front);
      split<2>(numbers.back);
    }
  }
  template <int v>
  OCTAVO_INLINE void split(__m512i pairs) {
    constexpr int kUpper = -0x10000;
    of[v] = Vec::as_floats(_mm512_slli_epi32(pairs, 16));
    of[v + 1] = Vec::as_floats(_mm512_and_si512(pairs, Vec::broadcast(kUpper)));
  }
};

/// Lines of every second row of K, and the numbers of A beside them: kMostTogether a row.
struct ChainCursor {
  const char* b;
  std::int64_t ldb;
  const float* a;
  std::int64_t steps;
};

// The sums of a chain, [rows][vectors]; those of fewer steps than 16 have zeros added.
template <class Kind, std::size_t... i>
OCTAVO_INLINE void add_chain(const Kind& kind, ChainCursor at, octavo::cpu::RowsAhead& fetches,
                             Vec::Floats (&out)[sizeof...(i)], std::index_sequence<i...>) {
  constexpr std::size_t kVectors = kLineVectors<Kind>;
  Vec::Floats sums[] = {((void)i, Vec::zero_floats())...};
  octavo::cpu::RowsAhead ahead = fetches;
  const bool part = at.steps < kChainsDepth / 2;
  OCTAVO_FLAT_LOOP
  for (; at.steps > 0; --at.steps, at.b += 2 * at.ldb, at.a += 2) {
    ahead.fetch<octavo::cpu::RowsAhead::kLineBytes>();
    const LineFloats<Kind> line(kind, at.b);
    ((sums[i] =
          Vec::fused(line.of[i % kVectors],
                     Vec::broadcast(at.a[i / kVectors * octavo::cpu::kMostTogether]), sums[i])),
     ...);
  }
  fetches = ahead;
  ((out[i] = part ? Vec::add(sums[i], Vec::zero_floats()) : sums[i]), ...);
}

// A line's columns through up to kMostTogether rows of K; through none, sums that begin are 0.
template <class Kind, int rows>
OCTAVO_INLINE void add_line(const Kind& kind, const char* b, std::int64_t ldb, const float* a,
                            std::int64_t depth, bool add, octavo::cpu::RowsAhead& ahead, float* c) {
  constexpr int kVectors = kLineVectors<Kind>, kWidth = octavo::cpu::kVectorCols;
  constexpr int kSums = rows * kVectors;
  const __m512i front = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __m512i back = _mm512_add_epi32(front, Vec::broadcast(8));
  for (std::int64_t k = 0; k < depth || !add; k += kChainsDepth, add = true) {
    const std::int64_t left = std::min(kChainsDepth, depth - k);
    Vec::Floats chains[2][kSums];
    OCTAVO_FLAT_LOOP
    for (std::int64_t odd = 0; odd < 2; ++odd) {
      add_chain(kind, {b + (k + odd) * ldb, ldb, a + k + odd, (left + 1 - odd) / 2}, ahead,
                chains[odd], std::make_index_sequence<static_cast<std::size_t>(kSums)>());
    }
    for (int i = 0; i < kSums; i += 2) {
      const Vec::Floats evens = Vec::add(chains[0][i], chains[1][i]);
      const Vec::Floats odds = Vec::add(chains[0][i + 1], chains[1][i + 1]);
      float* to = c + i / kVectors * octavo::cpu::kRowSums + i % kVectors * kWidth;
      for (const __m512i& order : {front, back}) {
        const Vec::Floats old = add ? Vec::load_floats(to) : Vec::zero_floats();
        Vec::store(to, Vec::add(old, _mm512_permutex2var_ps(evens, order, odds)));
        to += kWidth;
      }
    }
  }
}

// A strip: `some` rows of K from `begin` on, added to what c holds, or stored there.
template <class Kind, int rows>
OCTAVO_KERNEL void add_strip_vectors(const octavo::cpu::UnpackedTile& unpacked, std::int64_t begin,
                                     std::int64_t some, bool add,
                                     const octavo::cpu::RowsAhead& next) noexcept {
  constexpr std::int64_t kPanel = octavo::cpu::kRowSums;
  const octavo::cpu::DotTile& t = unpacked.tile;
  const Kind kind(t);
  alignas(64) float a[rows * octavo::cpu::kMostTogether];
  for (std::int64_t r = 0; r < rows; ++r) {
    const char* from = static_cast<const char*>(t.a) + r * t.lda + begin * Kind::kSize;
    for (std::int64_t k = 0; k < some; k += octavo::cpu::kVectorCols) {
      const __m512i words = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(Vec::load_part(
          from + k * Kind::kSize, std::min(kRegisterBytes, (some - k) * Kind::kSize))));
      Vec::store(a + r * octavo::cpu::kMostTogether + k, _mm512_slli_epi32(words, 16));
    }
  }
  alignas(64) char lines[octavo::cpu::kMostTogether * kRegisterBytes];
  const char* b = static_cast<const char*>(t.b) + begin * t.ldb;
  octavo::cpu::RowsAhead ahead = next;
  for (std::int64_t j = 0; j < unpacked.columns; j += kLineColumns<Kind>, b += kRegisterBytes) {
    const std::int64_t left = (unpacked.columns - j) * octavo::element_bytes(Kind::kWeight);
    const bool whole = left >= kRegisterBytes;
    for (std::int64_t k = 0; k < some && !whole; ++k) {
      Vec::store(lines + k * kRegisterBytes, Vec::load_part(b + k * t.ldb, left));
    }
    float* c = static_cast<float*>(t.c) + j / kPanel * unpacked.panel_sums + j % kPanel;
    add_line<Kind, rows>(kind, whole ? b : lines, whole ? t.ldb : kRegisterBytes, a, some, add,
                         ahead, c);
  }
}
