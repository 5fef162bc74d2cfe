// SPDX-License-Identifier: Apache-2.0
// int8 by AMX: a tile register has 16 rows of 64 bytes, and tdpbssd adds to one of sums
//
//   c[r][j] += sum over i = 0 .. 63 of a[r][i] * b[i / 4][4 j + i % 4]      16 x 16 sums, exact
//
// where b is 16 steps of 16 columns of a panel as it lies. All eight registers:
//
//   17 to 32 rows            b6   b7                 up to 16 rows       b5  b6  b7  b5
//                    a4      c0   c1                             a4      c0  c1  c2  c3
//                    a5      c2   c3
//
// A panel of 64 columns takes two turns of the former, each over all of K, or one of the latter.
// What is not 64 bytes deep, and bytes of A to be flipped, are copied first, zeros behind them.
//
// Registers are shaped for the rows at hand. A thread keeps them shaped from one tile to the next;
// whoever runs tiles calls `leave` at the end, since other code would be slowed down by them.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::int64_t kRegisterRows = 16, kRegisterBytes = 64;
constexpr std::int64_t kMostRows = 2 * kRegisterRows;
constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{kMostRows, kMostRows, kMostRows,
                                                           kMostRows};
constexpr std::int64_t kStagedBytes = 512;  // of a row of A
constexpr std::int64_t kRegisterSteps = kRegisterBytes / kStepBytes;

/// The operand of ldtilecfg.
struct alignas(64) Shapes {
  std::uint8_t palette = 1, start_row = 0;
  std::array<std::uint8_t, 14> reserved{};
  std::array<std::uint16_t, 16> row_bytes{};
  std::array<std::uint8_t, 16> rows{};
};
static_assert(sizeof(Shapes) == 64);

thread_local std::int64_t shaped_for = 0;  // rows; 0: the registers are not in use

OCTAVO_ISA_BEGIN("avx512f,avx512bw,amx-tile,amx-int8")
#include "backends/cpu/kernels/vec_avx512-inl.hpp"

#include "backends/cpu/kernels/transpose_avx512-inl.hpp"

#include "backends/cpu/kernels/pack_codes-inl.hpp"

void shape(std::int64_t rows) {
  if (shaped_for == rows) return;
  const auto first = static_cast<std::uint8_t>(std::min(rows, kRegisterRows));
  const auto second = static_cast<std::uint8_t>(rows > kRegisterRows ? rows - kRegisterRows : 0);
  Shapes shapes;
  const auto set = [&](std::size_t tile, std::uint8_t count) {
    shapes.rows[tile] = count;
    shapes.row_bytes[tile] = count == 0 ? 0 : static_cast<std::uint16_t>(kRegisterBytes);
  };
  // Up to 16 rows, 2 and 3 are sums of the first ones, and 5 is of B.
  const std::uint8_t lower = second == 0 ? first : second;
  for (const std::size_t tile : {0U, 1U, 4U}) set(tile, first);
  for (const std::size_t tile : {2U, 3U}) set(tile, lower);
  set(5, second == 0 ? static_cast<std::uint8_t>(kRegisterRows) : second);
  for (const std::size_t tile : {6U, 7U}) set(tile, static_cast<std::uint8_t>(kRegisterRows));
  _tile_loadconfig(&shapes);
  shaped_for = rows;
}

void leave() noexcept {
  if (shaped_for == 0) return;
  _tile_release();
  shaped_for = 0;
}

/// What a tile's loops share.
struct Product {
  const DotTile& t;
  std::int64_t rows, vectors;
  int lines;
};

/// Prefetches what the steps of one register's depth do.
struct Ahead {
  const char* at;
  std::int64_t step;
  int lines;
  void go() {
    if (lines == 0) return;
    for (std::int64_t s = 0; s < kRegisterSteps; ++s, at += step) {
      for (int line = 0; line < lines; ++line) __builtin_prefetch(at + line * 64);
    }
  }
};

/// A's rows and B's steps, `depth` multiples of 64 bytes from here on.
struct Operands {
  const char* a;
  std::int64_t lda;
  const char* b;
  std::int64_t ldb;
};

// Two rows of registers, one or two columns of them.
OCTAVO_KERNEL void tile_32x32(const Operands& o, std::int64_t steps, bool both,
                              Ahead& ahead) noexcept {
  const char* a = o.a;
  const char* b = o.b;
  const auto lda = static_cast<std::size_t>(o.lda), ldb = static_cast<std::size_t>(o.ldb);
  for (; steps > 0; --steps, a += kRegisterBytes, b += kRegisterSteps * o.ldb) {
    _tile_loadd(6, b, ldb);
    _tile_loadd(4, a, lda);
    _tile_loadd(5, a + kRegisterRows * o.lda, lda);
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(2, 5, 6);
    if (both) {
      _tile_loadd(7, b + kRegisterBytes, ldb);
      _tile_dpbssd(1, 4, 7);
      _tile_dpbssd(3, 5, 7);
    }
    ahead.go();
  }
}

// One row of registers, up to four columns of them.
OCTAVO_KERNEL void tile_16x64(const Operands& o, std::int64_t steps, std::int64_t vectors,
                              Ahead& ahead) noexcept {
  const char* a = o.a;
  const char* b = o.b;
  const auto lda = static_cast<std::size_t>(o.lda), ldb = static_cast<std::size_t>(o.ldb);
  for (; steps > 0; --steps, a += kRegisterBytes, b += kRegisterSteps * o.ldb) {
    _tile_loadd(4, a, lda);
    _tile_loadd(5, b, ldb);
    _tile_dpbssd(0, 4, 5);
    if (vectors > 1) {
      _tile_loadd(6, b + kRegisterBytes, ldb);
      _tile_dpbssd(1, 4, 6);
    }
    if (vectors > 2) {
      _tile_loadd(7, b + 2 * kRegisterBytes, ldb);
      _tile_dpbssd(2, 4, 7);
    }
    if (vectors > 3) {
      _tile_loadd(5, b + 3 * kRegisterBytes, ldb);
      _tile_dpbssd(3, 4, 5);
    }
    ahead.go();
  }
}

void zero_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

// Rows `depth` bytes long, flipped, with zeros up to whole registers behind them.
void stage_rows(const Operands& o, std::int64_t rows, std::int64_t depth, std::uint8_t flip,
                char* staged) {
  const __m512i flips = _mm512_set1_epi8(static_cast<char>(flip));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t k = 0; k < depth; k += kRegisterBytes) {
      const std::int64_t left = depth - k;
      const __mmask64 there = left >= kRegisterBytes ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
      const __m512i bytes = _mm512_maskz_loadu_epi8(there, o.a + r * o.lda + k);
      _mm512_store_si512(staged + r * kStagedBytes + k,
                         _mm512_maskz_mov_epi8(there, _mm512_xor_si512(bytes, flips)));
    }
  }
}

void stage_steps(const Operands& o, std::int64_t depth, std::int64_t vectors, char* staged) {
  const std::int64_t steps = (depth + kStepBytes - 1) / kStepBytes;
  for (std::int64_t s = 0; s < kRegisterSteps; ++s) {
    for (std::int64_t v = 0; v < vectors; ++v) {
      const __m512i step = s < steps ? _mm512_load_si512(o.b + s * o.ldb + v * kRegisterBytes)
                                     : _mm512_setzero_si512();
      _mm512_store_si512(staged + s * kRowSums * kStepBytes + v * kRegisterBytes, step);
    }
  }
}

// Adds `depth` bytes of K to the sums of `vectors` columns of registers.
void add_depth(const Product& p, Operands o, std::int64_t vectors, std::int64_t depth,
               Ahead& ahead) {
  const auto steps_of = [&](const Operands& from, std::int64_t steps) {
    if (p.rows > kRegisterRows) {
      tile_32x32(from, steps, vectors > 1, ahead);
    } else {
      tile_16x64(from, steps, vectors, ahead);
    }
  };
  const auto advance = [&](std::int64_t bytes) {
    o.a += bytes;
    o.b += bytes / kStepBytes * o.ldb;
    depth -= bytes;
  };
  if (p.t.flip == 0) {
    const std::int64_t whole = depth / kRegisterBytes;
    steps_of(o, whole);
    advance(whole * kRegisterBytes);
  }
  alignas(64) char rows[kMostRows * kStagedBytes];
  alignas(64) char columns[kRegisterSteps * kRowSums * kStepBytes];
  while (depth > 0) {
    const std::int64_t part = std::min(depth, kStagedBytes);
    stage_rows(o, p.rows, part, p.t.flip, rows);
    const std::int64_t whole = part / kRegisterBytes * kRegisterBytes;
    steps_of({rows, kStagedBytes, o.b, o.ldb}, whole / kRegisterBytes);
    advance(whole);
    if (const std::int64_t left = part - whole; left > 0) {
      stage_steps(o, left, vectors, columns);
      steps_of({rows + whole, kStagedBytes, columns, kRowSums * kStepBytes}, 1);
      depth -= left;
    }
  }
}

// sums -= shift * columns.
void take_away(const Product& p, const std::int32_t* column_sums, std::int32_t* c) {
  if (column_sums == nullptr || (p.t.shift_stride == 0 && *p.t.shift == 0)) return;
  for (std::int64_t r = 0; r < p.rows; ++r) {
    const __m512i shift = _mm512_set1_epi32(p.t.shift[r * p.t.shift_stride]);
    for (std::int64_t v = 0; v < p.vectors; ++v) {
      std::int32_t* sums = c + r * kRowSums + v * kVectorCols;
      const __m512i columns = _mm512_loadu_si512(column_sums + v * kVectorCols);
      _mm512_store_si512(
          sums, _mm512_sub_epi32(_mm512_load_si512(sums), _mm512_mullo_epi32(columns, shift)));
    }
  }
}

// total += (sum * sa) * sb.
void add_scaled(const Product& p, const std::int32_t* sums, const float* scale_a,
                const float* scale_b) {
  for (std::int64_t r = 0; r < p.rows; ++r) {
    const __m512 row = _mm512_set1_ps(scale_a[r * p.t.scale_a_stride]);
    for (std::int64_t v = 0; v < p.vectors; ++v) {
      const std::int64_t at = r * kRowSums + v * kVectorCols;
      const __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(sums + at));
      const __m512 scaled =
          _mm512_mul_ps(_mm512_mul_ps(sum, row), _mm512_loadu_ps(scale_b + v * kVectorCols));
      _mm512_store_ps(p.t.total + at, _mm512_add_ps(_mm512_load_ps(p.t.total + at), scaled));
    }
  }
}

// c = (c +) the product of `depth` bytes of K, all columns of the tile; `from` is what c held.
void products(const Product& p, const Operands& o, std::int64_t depth, const std::int32_t* from,
              std::int32_t* c, Ahead& ahead) {
  constexpr auto kStride = static_cast<std::size_t>(kRowSums * 4);
  const bool square = p.rows > kRegisterRows;
  const std::int64_t width = square ? 2 : kPanelVectors;
  for (std::int64_t v = 0; v < p.vectors; v += width) {
    const std::int64_t vectors = std::min(width, p.vectors - v);
    zero_sums();
    std::int32_t* to = c + v * kVectorCols;
    const std::int64_t lower = square ? kRegisterRows * kRowSums : 2 * kVectorCols;
    const bool has_lower = square || vectors > 2, has_last = square ? vectors > 1 : vectors > 3;
    if (from != nullptr) {
      const std::int32_t* old = from + v * kVectorCols;
      _tile_loadd(0, old, kStride);
      if (vectors > 1) _tile_loadd(1, old + kVectorCols, kStride);
      if (has_lower) _tile_loadd(2, old + lower, kStride);
      if (has_last) _tile_loadd(3, old + lower + kVectorCols, kStride);
    }
    Ahead none{nullptr, 0, 0};
    add_depth(p, {o.a, o.lda, o.b + v * kRegisterBytes, o.ldb}, vectors, depth,
              v == 0 ? ahead : none);
    _tile_stored(0, to, kStride);
    if (vectors > 1) _tile_stored(1, to + kVectorCols, kStride);
    if (has_lower) _tile_stored(2, to + lower, kStride);
    if (has_last) _tile_stored(3, to + lower + kVectorCols, kStride);
  }
}

OCTAVO_KERNEL void run(const Product& p) noexcept {
  const DotTile& t = p.t;
  shape(p.rows);
  Operands o{static_cast<const char*>(t.a), t.lda, static_cast<const char*>(t.b), t.ldb};
  auto* const c = static_cast<std::int32_t*>(t.c);
  const std::int32_t* from = t.add ? c : nullptr;
  Ahead ahead{t.ahead, t.ahead_step, p.lines};
  if (t.total == nullptr) {
    products(p, o, t.depth, from, c, ahead);
    return take_away(p, t.column_sums, c);
  }
  alignas(64) std::int32_t sums[kMostRows * kRowSums];
  const float* scale_a = t.scale_a;
  const float* scale_b = t.scale_b;
  const std::int32_t* column_sums = t.column_sums;
  for (std::int64_t depth = t.depth; depth > 0;) {
    const std::int64_t part = std::min(depth, t.group);
    products(p, o, part, from, sums, ahead);
    take_away(p, column_sums, sums);
    add_scaled(p, sums, scale_a, scale_b);
    from = nullptr;
    depth -= part;
    o.a += part;
    o.b += part / kStepBytes * o.ldb;
    scale_a += t.scale_a_group_stride;
    scale_b += kRowSums;
    if (column_sums != nullptr) column_sums += kRowSums;
  }
}

template <int rows, int vectors, int lines>
void amx_tile(const DotTile& tile) noexcept {
  run({tile, rows, vectors, lines});
}

template <int vectors, int lines, std::size_t... row>
constexpr std::array<DotKernel, sizeof...(row)> amx_tiles(std::index_sequence<row...>) {
  return {&amx_tile<static_cast<int>(row) + 1, vectors, lines>...};
}
template <int vectors, int lines>
constexpr auto kTiles =
    amx_tiles<vectors, lines>(std::make_index_sequence<static_cast<std::size_t>(kMostRows)>());
OCTAVO_ISA_END

DotKernel find_amx_tile(std::int64_t rows, std::int64_t vectors, int ahead_lines) noexcept {
  if (rows < 1 || rows > kMostRows) return nullptr;
  const auto row = static_cast<std::size_t>(rows - 1);
  if (ahead_lines == 0) {
    constexpr std::array kPlain{&kTiles<1, 0>, &kTiles<2, 0>, &kTiles<3, 0>, &kTiles<4, 0>};
    return (*kPlain[static_cast<std::size_t>(vectors - 1)])[row];
  }
  if (vectors == 2 && ahead_lines <= 2) {
    return ahead_lines == 1 ? kTiles<2, 1>[row] : kTiles<2, 2>[row];
  }
  if (vectors == 4 && ahead_lines == 1) return kTiles<4, 1>[row];
  if (vectors == 4 && ahead_lines == 4) return kTiles<4, 4>[row];
  return nullptr;
}

}  // namespace

extern const IntegerKernels kAmxInt8Dot{
    {"32x32 tile, AMX, exact int32 sums", nullptr, kInt8Form, kMaxRows, &find_amx_tile, &pack_codes,
     nullptr, nullptr, nullptr},
    ARows::signed_bytes,
    &unpack_piece,
    nullptr,
    &leave,
};

}  // namespace octavo::cpu
#endif
