// SPDX-License-Identifier: Apache-2.0
// Packing B into panels of [steps][columns][4] bytes, and back, in AVX-512 F and BW:
//
//   panel[k / 4][j][k % 4] = b[k][j]            sums[j] += the sum over k of b[k][j]
//
// from whatever strides B has: columns whose elements are neighbours along k are transposed as
// squares of 16 columns x 64 bytes, rows of neighbours along j are interleaved by fours.
//
// Included inside an instruction-set region; every including file gets its own copy.
#include "backends/cpu/kernels/transpose_avx512-inl.hpp"

// The sums of 16 columns over one step.
inline __m512i step_sums(__m512i codes) {
  const __m512i pairs = _mm512_maddubs_epi16(_mm512_set1_epi8(1), codes);
  return _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}

inline void add_sums(std::int32_t* sums, __m512i more) {
  _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_loadu_si512(sums), more));
}

// Four rows of B, 64 columns each, as up to four vectors of 16 columns.
inline void interleave(const __m512i (&row)[4], std::int64_t vectors, std::int8_t* out,
                       __m512i (&sums)[4]) {
  const __m512i low01 = _mm512_unpacklo_epi8(row[0], row[1]);
  const __m512i high01 = _mm512_unpackhi_epi8(row[0], row[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(row[2], row[3]);
  const __m512i high23 = _mm512_unpackhi_epi8(row[2], row[3]);
  // Lane l of q[i] holds columns 16 l + 4 i and the three after it.
  const __m512i q[] = {_mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
                       _mm512_unpacklo_epi16(high01, high23),
                       _mm512_unpackhi_epi16(high01, high23)};
  const __m512i front01 = _mm512_shuffle_i32x4(q[0], q[1], 0x44);
  const __m512i front23 = _mm512_shuffle_i32x4(q[2], q[3], 0x44);
  const __m512i back01 = _mm512_shuffle_i32x4(q[0], q[1], 0xEE);
  const __m512i back23 = _mm512_shuffle_i32x4(q[2], q[3], 0xEE);
  const __m512i done[] = {
      _mm512_shuffle_i32x4(front01, front23, 0x88), _mm512_shuffle_i32x4(front01, front23, 0xDD),
      _mm512_shuffle_i32x4(back01, back23, 0x88), _mm512_shuffle_i32x4(back01, back23, 0xDD)};
  for (std::int64_t v = 0; v < 4; ++v) {
    if (v < vectors) _mm512_store_si512(out + v * 64, done[v]);
    sums[v] = _mm512_add_epi32(sums[v], step_sums(done[v]));
  }
}

inline std::int64_t steps_of(const octavo::cpu::PackPiece& p) { return (p.depth + 3) / 4; }
inline std::int64_t vectors_of(const octavo::cpu::PackPiece& p) { return (p.columns + 15) / 16; }

// Rows of B lie together: stride_n is 1. The next lines lie a row away each, where no hardware
// looks for them.
constexpr std::int64_t kRowsAhead = 32;
inline void pack_rows(const octavo::cpu::PackPiece& p) {
  const std::int64_t vectors = vectors_of(p);
  const __mmask64 columns = ~std::uint64_t{0} >> (64 - p.columns);
  __m512i sums[4] = {};
  for (std::int64_t step = 0; step < steps_of(p); ++step) {
    __m512i row[4];
    for (std::int64_t i = 0; i < 4; ++i) {
      const std::int64_t k = step * 4 + i;
      if (k + kRowsAhead < p.depth) {
        _mm_prefetch(reinterpret_cast<const char*>(p.b + (k + kRowsAhead) * p.stride_k),
                     _MM_HINT_T0);
      }
      row[i] = k < p.depth ? _mm512_maskz_loadu_epi8(columns, p.b + k * p.stride_k)
                           : _mm512_setzero_si512();
    }
    interleave(row, vectors, p.panel + step * vectors * 64, sums);
  }
  for (std::int64_t v = 0; v < vectors; ++v) add_sums(p.sums + v * 16, sums[v]);
}

// Any strides.
inline void pack_elements(const octavo::cpu::PackPiece& p) {
  const std::int64_t vectors = vectors_of(p);
  alignas(64) std::int8_t staged[4][64] = {};
  __m512i sums[4] = {};
  for (std::int64_t step = 0; step < steps_of(p); ++step) {
    __m512i row[4];
    for (std::int64_t i = 0; i < 4; ++i) {
      const std::int64_t k = step * 4 + i;
      for (std::int64_t j = 0; j < p.columns; ++j) {
        staged[i][j] = k < p.depth ? p.b[k * p.stride_k + j * p.stride_n] : std::int8_t{0};
      }
      row[i] = _mm512_load_si512(staged[i]);
    }
    interleave(row, vectors, p.panel + step * vectors * 64, sums);
  }
  for (std::int64_t v = 0; v < vectors; ++v) add_sums(p.sums + v * 16, sums[v]);
}

// Columns of B lie together: stride_k is 1. 64 bytes of 16 columns become 16 steps.
inline void pack_columns(const octavo::cpu::PackPiece& p) {
  const std::int64_t vectors = vectors_of(p);
  for (std::int64_t k = 0; k < p.depth; k += 64) {
    const std::int64_t bytes = p.depth - k < 64 ? p.depth - k : 64;
    const __mmask64 inside = ~std::uint64_t{0} >> (64 - bytes);
    const std::int64_t steps = (bytes + 3) / 4;
    for (std::int64_t v = 0; v < vectors; ++v) {
      __m512i m[16];
      for (std::int64_t j = 0; j < 16; ++j) {
        m[j] = v * 16 + j < p.columns
                   ? _mm512_maskz_loadu_epi8(inside, p.b + k + (v * 16 + j) * p.stride_n)
                   : _mm512_setzero_si512();
      }
      turn(m);
      std::int8_t* out = p.panel + (k / 4 * vectors + v) * 64;
      __m512i sums = _mm512_setzero_si512();
      for (std::int64_t step = 0; step < 16; ++step) {
        if (step < steps) _mm512_store_si512(out + step * vectors * 64, m[step]);
        sums = _mm512_add_epi32(sums, step_sums(m[step]));
      }
      add_sums(p.sums + v * 16, sums);
    }
  }
}

void pack_piece(const octavo::cpu::PackPiece& p) noexcept {
  if (p.depth == 0) return;
  if (p.stride_n == 1) return pack_rows(p);
  return p.stride_k == 1 ? pack_columns(p) : pack_elements(p);
}

void unpack_piece(const octavo::cpu::UnpackPiece& p) noexcept {
  const auto* from = static_cast<const char*>(p.panel);
  for (std::int64_t square = 0; square < p.squares; ++square) {
    __m512i m[16];
    for (__m512i& step : m) {
      step = _mm512_load_si512(from);
      from += p.step_bytes;
    }
    turn(m);
    for (std::int64_t j = 0; j < 16; ++j) {
      _mm512_storeu_si512(p.b + square * 64 + j * p.stride_n, m[j]);
    }
  }
}
