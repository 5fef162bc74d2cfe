// SPDX-License-Identifier: Apache-2.0
// int8 by an instruction of AVX-VNNI and its kin:
//
//   sum[lane] += a[0] b[0] + a[1] b[1] + a[2] b[2] + a[3] b[3]      exact modulo 2^32
//
//   sum    [lane 0  lane 1  ..  lane 7]     int32
//   a, b   [0 1 2 3 0 1 2 3 ..  0 1 2 3]    bytes, those of b signed
//
// Twelve registers of sums, two of B, one of A and the flip fit sixteen. clang 14 would keep a sum
// on the stack, so that its tiles have five rows.
//
// Products::add(sum, a, b) is the instruction.
//
// Needs: Products, Vec
// Gives: Along, Dot, integer_kernels, kMaxRows, kWidth
#if defined(__clang__)
#define OCTAVO_FOURS_TILE "5x16 tile"
constexpr std::array<std::int64_t, octavo::cpu::kPanelVectors> kMaxRows{5, 2, 1, 1};
#else
#define OCTAVO_FOURS_TILE "6x16 tile"
constexpr std::array<std::int64_t, octavo::cpu::kPanelVectors> kMaxRows{6, 2, 1, 1};
#endif
constexpr std::int64_t kWidth = 1;

#include "backends/cpu/kernels/tile/integer_dot-inl.hpp"
struct Dot : IntegerDot {
  explicit Dot(const octavo::cpu::DotTile& t) : IntegerDot(t) {}
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Ints& a, const Vec::Ints& b) {
    return {Products::add(sum.low, a.low, b.low), Products::add(sum.high, a.high, b.high)};
  }
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
#include "backends/cpu/kernels/vec/transpose_avx2-inl.hpp"

#include "backends/cpu/kernels/panels/pack_codes-inl.hpp"

#include "backends/cpu/kernels/unpacked/along_sums_avx2-inl.hpp"
#include "backends/cpu/kernels/unpacked/columns-inl.hpp"

struct Along : AlongSums {
  static constexpr std::int64_t kBytes = 32;
  static OCTAVO_INLINE __m256i load(const Dot&, const char* b) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
  }
  static OCTAVO_INLINE __m256i one(const Dot& dot) { return dot.left(dot.one()).low; }
  static OCTAVO_INLINE Sum add(Sum sum, __m256i a, __m256i b) { return Products::add(sum, a, b); }
};
#include "backends/cpu/kernels/unpacked/along-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

// Four rows, 16 bytes of each for a vector.
template <int vectors>
struct ByteLines {
  static constexpr int kRows = 4, kVectors = vectors, kBytes = 16 * vectors;
  static constexpr bool kOrdered = false;
  using Look = Unseen;
  struct Rows {
    const char* b;
    std::int64_t ldb;
  };
  static OCTAVO_INLINE Rows load(const Dot&, const char* b, std::int64_t ldb) { return {b, ldb}; }
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const Rows& rows) {
    const auto row = [&](std::int64_t i) {
      const char* at = rows.b + i * rows.ldb + 16 * v;
      return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
    };
    const __m256i first = _mm256_or_si256(row(0), _mm256_slli_epi16(row(1), 8));
    const __m256i second = _mm256_or_si256(row(2), _mm256_slli_epi16(row(3), 8));
    return {_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)};
  }
};

octavo::cpu::UnpackedKernel find_unpacked(const octavo::cpu::UnpackedWanted& wanted) noexcept {
  if (wanted.order == octavo::cpu::UnpackedOrder::along_n) {
    return find_unpacked_rows<FewerVectors<ByteLines, 4, 8>>(wanted.rows);
  }
  return wanted.group > 0 ? find_unpacked_columns<WordSource>(wanted)
                          : find_unpacked_along(wanted.rows);
}

constexpr octavo::cpu::IntegerKernels integer_kernels(const char* how, const char* how_unpacked,
                                                      octavo::cpu::ARows rows) {
  return {
      .dot = {.how = how,
              .how_unpacked = how_unpacked,
              .form = octavo::cpu::kInt8Form,
              .max_rows = kMaxRows,
              .tile = &find_dot_tile,
              .pack = &pack_codes,
              .unpacked = &find_unpacked,
              .width = kWidth},
      .rows = rows,
      .unpack = &unpack_piece,
  };
}
