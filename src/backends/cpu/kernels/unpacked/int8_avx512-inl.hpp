// SPDX-License-Identifier: Apache-2.0
// The unpacked kernels of int8 in AVX-512: which one takes what.
//
// The `Dot` is one of integers.
//
// Needs: add_scaled, broadcast_step, Dot, kPairedRows, times, TransposedSquare, Vec
// Gives: Along, find_unpacked
#include "backends/cpu/kernels/unpacked/columns-inl.hpp"

struct Along {
  static constexpr std::int64_t kBytes = 64, kRowBytes = 64, kLanes = 16;
  using Sum = Dot::Sum;
  static OCTAVO_INLINE Sum zero() { return Dot::zero(); }
  static OCTAVO_INLINE Sum plus(Sum a, Sum b) { return Vec::add(a, b); }
  static OCTAVO_INLINE void store(std::int32_t* p, Sum sum) { Vec::store(p, sum); }
  // Not kept: two rows, one column after the other, come faster so (0.90 of the roofline; kept
  // 0.75).
  static OCTAVO_INLINE Dot::Right load(const Dot& dot, const char* b) {
    return Dot::right<0>(dot.load(_mm512_loadu_si512(b)));
  }
  static OCTAVO_INLINE auto left(const char* a) { return Dot::taken(Vec::load_ints(a)); }
  static OCTAVO_INLINE auto one(const Dot& dot) { return dot.left(dot.one()); }
  struct Flip {
    explicit OCTAVO_INLINE Flip(const Dot& dot) : flip(kept(dot.flip)) {}
    OCTAVO_INLINE Vec::Ints flipped(const Vec::Ints& piece) const {
      return Vec::exclusive_or(piece, flip);
    }
    // Zen 5 is slower where products load an operand themselves.
    static OCTAVO_INLINE Vec::Ints kept(Vec::Ints left) {
      Vec::keep(left);
      return left;
    }
    Vec::Ints flip;
  };
  template <class Left>
  static OCTAVO_INLINE Sum add(Sum sum, const Left& a, const Dot::Right& b) {
    Sum more = Dot::add(sum, a, b);
    Vec::keep(more);  // or g++ 12 moves every sum to and fro
    return more;
  }
  template <int count>
  static OCTAVO_INLINE void totals(const std::int32_t* lanes, std::int32_t* out) {
    Vec::store(out, Vec::totals<count>(lanes));
  }
};
#include "backends/cpu/kernels/unpacked/along-inl.hpp"
#include "backends/cpu/kernels/unpacked/along_pairs-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

// Four rows of 64 bytes.
struct ByteLines {
  static constexpr int kRows = 4, kVectors = 4, kBytes = 64;
  static constexpr bool kOrdered = false;
  struct Interleaved {
    __m512i low01, high01, low23, high23;
  };
  static OCTAVO_INLINE Interleaved load(const Dot&, const char* b, std::int64_t ldb) {
    const __m512i row0 = Vec::load_unaligned_ints(b);
    const __m512i row1 = Vec::load_unaligned_ints(b + ldb);
    const __m512i row2 = Vec::load_unaligned_ints(b + 2 * ldb);
    const __m512i row3 = Vec::load_unaligned_ints(b + 3 * ldb);
    return {_mm512_unpacklo_epi8(row0, row1), _mm512_unpackhi_epi8(row0, row1),
            _mm512_unpacklo_epi8(row2, row3), _mm512_unpackhi_epi8(row2, row3)};
  }
  template <int v>
  static OCTAVO_INLINE Dot::Right step(const Dot& dot, const Interleaved& x) {
    const __m512i first = v < 2 ? x.low01 : x.high01;
    const __m512i second = v < 2 ? x.low23 : x.high23;
    return Dot::right<0>(dot.load(v % 2 == 0 ? _mm512_unpacklo_epi16(first, second)
                                             : _mm512_unpackhi_epi16(first, second)));
  }
};

// Of [N, K] without groups.
template <int rows>
constexpr octavo::cpu::UnpackedKernel along_kernel() {
  constexpr octavo::cpu::UnpackedKernel kAlone = []() -> octavo::cpu::UnpackedKernel {
    if constexpr (rows <= kAlongRows) {
      return &unpacked_along<rows>;
    } else {
      return &unpacked_columns<WordSource>;
    }
  }();
  if constexpr (EitherUnsigned<Dot> && pays_in_pairs(rows)) {
    return &unpacked_pairs<rows, kAlone>;
  } else {
    return kAlone;
  }
}
template <std::size_t... row>
constexpr auto all_along_kernels(std::index_sequence<row...>) {
  return std::array<octavo::cpu::UnpackedKernel, sizeof...(row)>{
      along_kernel<static_cast<int>(row) + 1>()...};
}
constexpr std::array kAlongKernels = all_along_kernels(std::make_index_sequence<kPairRows>());

octavo::cpu::UnpackedKernel find_unpacked(const octavo::cpu::UnpackedWanted& wanted) noexcept {
  if (wanted.order == octavo::cpu::UnpackedOrder::along_n) {
    return find_unpacked_rows<AnyRows<ByteLines, 16>>(wanted.rows);
  }
  if (wanted.group > 0) return find_unpacked_columns<WordSource>(wanted);
  return wanted.rows < 1 || wanted.rows > kPairRows
             ? nullptr
             : kAlongKernels[static_cast<std::size_t>(wanted.rows - 1)];
}
