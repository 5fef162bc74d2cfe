// SPDX-License-Identifier: Apache-2.0
// Packing B into panels, and back, in AVX-512 F and BW. From whatever type and strides B has, the
// packer makes vectors of what 16 columns have in four bytes along K,
//
//   lane j   b[k][j] b[k + 1][j] b[k + 2][j] b[k + 3][j]  |  b[k][j] b[k + 1][j]  |  b[k][j]
//            of one byte each                                of two                  of four
//
// and a `Target` makes of such a vector what the panel holds of these elements:
//   kSize          bytes of an element of B
//   kRows          vectors of the panel that one of B becomes
//   kSums          whether sums of columns are wanted
//   put(out, row_bytes, x)   stores them, one to a step of the panel
//
// Columns whose elements are neighbours along k are transposed as squares of 16 columns x 64 bytes,
// rows of neighbours along j are interleaved; of other strides squares are copied first.
//
// Included inside an instruction-set region; every including file gets its own copy.
#include "backends/cpu/kernels/transpose_avx512-inl.hpp"

// What the panel holds is what B holds.
template <int size, bool sums>
struct SameElements {
  static constexpr std::int64_t kSize = size, kRows = 1;
  static constexpr bool kSums = sums;
  OCTAVO_INLINE void put(char* out, std::int64_t, __m512i x) const { _mm512_store_si512(out, x); }
};

// The sums of 16 columns over one step.
inline __m512i step_sums(__m512i codes) {
  const __m512i pairs = _mm512_maddubs_epi16(_mm512_set1_epi8(1), codes);
  return _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}

inline void add_sums(std::int32_t* sums, __m512i more) {
  _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_loadu_si512(sums), more));
}

// The extents of a piece in bytes.
template <class Target>
struct PieceBytes {
  explicit PieceBytes(const octavo::cpu::PackPiece& p)
      : vectors((p.columns + 15) / 16),
        row(vectors * 64),
        stride_k(p.stride_k * Target::kSize),
        stride_n(p.stride_n * Target::kSize),
        depth(p.depth * Target::kSize),
        b(static_cast<const char*>(p.b)),
        next(static_cast<const char*>(p.next)),
        panel(static_cast<char*>(p.panel)) {}
  std::int64_t vectors, row, stride_k, stride_n, depth;
  const char *b, *next;
  char* panel;
};

// What lies ahead of the packer is fetched into the second-level cache: more of it can be on its
// way there, and rows a power of two apart would drive each other out of the first.
OCTAVO_INLINE void fetch(const char* at) { _mm_prefetch(at, _MM_HINT_T1); }

// Pairs of lines of 16 columns, so many ahead of the packer, in its order and then in that of the
// next piece: no hardware follows 16 columns from one piece into the next.
constexpr std::int64_t kPairsAhead = 16;
constexpr std::int64_t kPairBytes = 128;
class ColumnsAhead {
 public:
  template <class Target>
  explicit ColumnsAhead(const PieceBytes<Target>& p)
      : at_(p.b),
        next_(p.next),
        depth_(p.depth),
        stride_(p.stride_n),
        vectors_(p.vectors),
        left_(p.vectors) {
    for (std::int64_t i = 0; i < kPairsAhead && at_ != nullptr; ++i) advance();
  }
  OCTAVO_INLINE void fetch_pairs() {
    if (at_ == nullptr) return;
    for (std::int64_t j = 0; j < 16; ++j) {
      fetch(at_ + k_ + j * stride_);
      fetch(at_ + k_ + j * stride_ + 64);
    }
    advance();
  }

 private:
  OCTAVO_INLINE void advance() {
    k_ += kPairBytes;
    if (k_ < depth_) return;
    k_ = 0;
    at_ += 16 * stride_;
    if (--left_ > 0) return;
    at_ = next_;
    next_ = nullptr;
    left_ = vectors_;
  }
  const char *at_, *next_;
  std::int64_t depth_, stride_, vectors_, left_, k_ = 0;
};

// Columns of B lie together: stride_k is 1. 64 bytes of 16 columns become 16 vectors.
template <class Target>
void pack_columns(const octavo::cpu::PackPiece& piece, const Target& target) {
  const PieceBytes<Target> p(piece);
  ColumnsAhead ahead(p);
  for (std::int64_t v = 0; v < p.vectors; ++v) {
    const char* from = p.b + v * 16 * p.stride_n;
    const std::int64_t columns = piece.columns - v * 16;
    char* out = p.panel + v * 64;
    __m512i sums = _mm512_setzero_si512();
    for (std::int64_t k = 0; k < p.depth; k += 64) {
      if (k % kPairBytes == 0) ahead.fetch_pairs();
      __m512i m[16];
      const std::int64_t bytes = p.depth - k;
      if (columns >= 16 && bytes >= 64) {
        for (std::int64_t j = 0; j < 16; ++j) m[j] = _mm512_loadu_si512(from + k + j * p.stride_n);
      } else {
        const __mmask64 inside = bytes < 64 ? ~(~std::uint64_t{0} << bytes) : ~std::uint64_t{0};
        for (std::int64_t j = 0; j < 16; ++j) {
          m[j] = j < columns ? _mm512_maskz_loadu_epi8(inside, from + k + j * p.stride_n)
                             : _mm512_setzero_si512();
        }
      }
      turn(m);
      const std::int64_t count = bytes < 64 ? (bytes + 3) / 4 : 16;
      for (std::int64_t i = 0; i < 16; ++i) {
        if (i < count) target.put(out, p.row, m[i]);
        out += Target::kRows * p.row;
        if constexpr (Target::kSums) sums = _mm512_add_epi32(sums, step_sums(m[i]));
      }
    }
    if constexpr (Target::kSums) add_sums(piece.sums + v * 16, sums);
  }
}

// Lane l of q[i] holds columns 16 l + 4 i and the three after it; afterwards vector v columns 16 v
// to 16 v + 15.
inline void put_lanes_together(__m512i (&q)[4]) {
  const __m512i front01 = _mm512_shuffle_i32x4(q[0], q[1], 0x44);
  const __m512i front23 = _mm512_shuffle_i32x4(q[2], q[3], 0x44);
  const __m512i back01 = _mm512_shuffle_i32x4(q[0], q[1], 0xEE);
  const __m512i back23 = _mm512_shuffle_i32x4(q[2], q[3], 0xEE);
  q[0] = _mm512_shuffle_i32x4(front01, front23, 0x88);
  q[1] = _mm512_shuffle_i32x4(front01, front23, 0xDD);
  q[2] = _mm512_shuffle_i32x4(back01, back23, 0x88);
  q[3] = _mm512_shuffle_i32x4(back01, back23, 0xDD);
}

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

// Rows of B lie together: stride_n is 1. The next lines lie a row away each, where no hardware
// looks for them. Memory gives two neighbouring lines as fast as one: the second one of a row of
// bytes waits in the cache for the next panel.
constexpr std::int64_t kRowBytesAhead = 8192;
inline bool is_first_of_pair(const char* at) {
  return reinterpret_cast<std::uintptr_t>(at) % kPairBytes < 64;
}
template <class Target>
void pack_neighbours(const octavo::cpu::PackPiece& piece, const Target& target) {
  constexpr std::int64_t kSize = Target::kSize;
  constexpr std::int64_t kStep = 4 / kSize;
  constexpr std::int64_t kAhead = kRowBytesAhead / (64 * kSize);
  const PieceBytes<Target> p(piece);
  __mmask64 columns[kSize];
  for (std::int64_t i = 0; i < kSize; ++i) {
    const std::int64_t bytes = piece.columns * kSize - i * 64;
    columns[i] = bytes >= 64  ? ~std::uint64_t{0}
                 : bytes <= 0 ? std::uint64_t{0}
                              : ~(~std::uint64_t{0} << bytes);
  }
  __m512i sums[4] = {};
  char* out = p.panel;
  for (std::int64_t k = 0; k < piece.depth; k += kStep, out += Target::kRows * p.row) {
    __m512i x[4];
    for (std::int64_t i = 0; i < kStep; ++i) {
      const std::int64_t row = k + i;
      const std::int64_t later = row + kAhead;
      const char* ahead = later < piece.depth ? p.b + later * p.stride_k
                          : p.next != nullptr ? p.next + (later - piece.depth) * p.stride_k
                                              : nullptr;
      for (std::int64_t l = 0; l < kSize; ++l) {
        if (ahead != nullptr) fetch(ahead + l * 64);
        if (kSize == 1 && ahead != nullptr && is_first_of_pair(ahead)) fetch(ahead + 64);
        x[i * kSize + l] =
            row < piece.depth ? _mm512_maskz_loadu_epi8(columns[l], p.b + row * p.stride_k + l * 64)
                              : _mm512_setzero_si512();
      }
    }
    interleave<kSize>(x);
    for (std::int64_t v = 0; v < 4; ++v) {
      if (v < p.vectors) target.put(out + v * 64, p.row, x[v]);
      if constexpr (Target::kSums) sums[v] = _mm512_add_epi32(sums[v], step_sums(x[v]));
    }
  }
  for (std::int64_t v = 0; v < p.vectors && Target::kSums; ++v) {
    add_sums(piece.sums + v * 16, sums[v]);
  }
}

// Any strides: 64 bytes of each column are copied together, along the shorter stride.
template <class Target>
void pack_elements(const octavo::cpu::PackPiece& piece, const Target& target) {
  constexpr std::int64_t kSize = Target::kSize;
  constexpr std::int64_t kDepth = 64 / kSize;
  const PieceBytes<Target> p(piece);
  alignas(64) char staged[64][64];
  const bool along_k = std::abs(p.stride_k) <= std::abs(p.stride_n);
  const auto copy = [&](std::int64_t k, std::int64_t i, std::int64_t j) {
    std::memcpy(staged[j] + i * kSize, p.b + (k + i) * p.stride_k + j * p.stride_n, kSize);
  };
  octavo::cpu::PackPiece square = piece;
  square.b = staged;
  square.stride_k = 1;
  square.stride_n = kDepth;
  square.next = nullptr;
  for (std::int64_t k = 0; k < piece.depth; k += kDepth) {
    const std::int64_t depth = piece.depth - k < kDepth ? piece.depth - k : kDepth;
    if (along_k) {
      for (std::int64_t j = 0; j < piece.columns; ++j) {
        for (std::int64_t i = 0; i < depth; ++i) copy(k, i, j);
      }
    } else {
      for (std::int64_t i = 0; i < depth; ++i) {
        for (std::int64_t j = 0; j < piece.columns; ++j) copy(k, i, j);
      }
    }
    square.depth = depth;
    square.panel = p.panel + k * kSize / 4 * Target::kRows * p.row;
    pack_columns(square, target);
  }
}

template <class Target>
void pack_piece(const octavo::cpu::PackPiece& p, const Target& target) {
  if (p.depth == 0) return;
  if (p.stride_n == 1) return pack_neighbours(p, target);
  return p.stride_k == 1 ? pack_columns(p, target) : pack_elements(p, target);
}
