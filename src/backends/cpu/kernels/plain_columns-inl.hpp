// SPDX-License-Identifier: Apache-2.0
// A few rows by a weight [N, K], whose columns lie along K, turned in registers:
//
//                 64 bytes along K                       word 0   word 1  ..  word 15
//   column 0    [w0 w1 w2 .. w15]                          w0       w1          w15
//   column 1    [w0 w1 w2 .. w15]      -- turn -->         w0       w1          w15
//     ..                                                   ..
//   column 15   [w0 w1 w2 .. w15]                          w0       w1          w15
//
// A turned word is one step of 16 columns, or a few (`Source`), which meets the same four bytes of
// every row as in a packed panel: sum[r] = add(sum[r], A[r][step], step), ascending. What a square
// lacks at the ends of N and K is staged with zeros; so are the rows of A beside it.
//
// Included inside an instruction-set region after dot_tile-inl.hpp and what turns squares; every
// including file gets its own copy. A `Source` says what a word of the weight becomes:
//   kSteps             steps of the `Dot` in a word
//   kUnit              bits that stay together in a turned word: 32, or 16: then each 128-bit lane
//                      holds the first halves of four columns, then their second ones
//   load(dot, word)    what the steps of a word share; step<i>(that): a step as Dot::add takes it

constexpr std::int64_t kSquareColumns = 16;
constexpr std::int64_t kSquareBytes = 64;  // of a column
// Of a column, ahead of what is read.
constexpr std::int64_t kColumnAhead = 2048;

// Words that the `Dot` loads itself.
struct WordSource {
  static constexpr int kSteps = Dot::kLoadVectors, kUnit = 32 / kSteps;
  static Dot::Loaded load(const Dot& dot, Vec::Ints word) { return dot.load(word); }
  template <int i>
  static Dot::Right step(const Dot::Loaded& word) {
    return Dot::right<i>(word);
  }
};

// Adds the bytes of a step, each once.
template <class Integers>
OCTAVO_INLINE typename Integers::Sum plain_ones(const Integers& dot, typename Integers::Sum sum,
                                                const typename Integers::Right& step) {
  return Integers::add(sum, dot.left(dot.one()), step);
}

// Where a square of a weight and the rows beside it lie.
struct Square {
  const char* b;
  std::int64_t ldb;
  const char* a;
  std::int64_t lda;
};

template <int rows, std::size_t... r>
OCTAVO_INLINE void plain_step(const Dot& dot, Dot::Sum (&sums)[rows], const char* a,
                              std::int64_t lda, const Dot::Right& step, std::index_sequence<r...>) {
  ((sums[r] =
        Dot::add(sums[r], dot.left(broadcast_step(a + static_cast<std::int64_t>(r) * lda)), step)),
   ...);
}

template <class Source, int rows, int word, std::size_t... s>
OCTAVO_INLINE void plain_word(const Dot& dot, Dot::Sum (&sums)[rows], Dot::Sum& ones,
                              const Square& at, Vec::Ints m, std::index_sequence<s...>) {
  const auto loaded = Source::load(dot, m);
  (plain_step<rows>(dot, sums, at.a + (word * Source::kSteps + static_cast<int>(s)) * 4, at.lda,
                    Source::template step<static_cast<int>(s)>(loaded),
                    std::make_index_sequence<rows>()),
   ...);
  if constexpr (Dot::kExact) ones = plain_ones(dot, ones, Source::template step<0>(loaded));
}

template <class Source, int rows, std::size_t... w>
OCTAVO_INLINE void plain_square(const Dot& dot, Dot::Sum (&sums)[rows], Dot::Sum& ones,
                                const Square& at, std::index_sequence<w...>) {
  Vec::Ints m[] = {Vec::load_unaligned_ints(at.b + static_cast<std::int64_t>(w) * at.ldb)...};
  turn<Source::kUnit>(m);
  (plain_word<Source, rows, static_cast<int>(w)>(dot, sums, ones, at, m[w],
                                                 std::make_index_sequence<Source::kSteps>()),
   ...);
}

// What there is of a square and of the rows beside it, and zeros.
template <int rows, std::int64_t a_bytes>
struct StagedSquare {
  alignas(64) char b[kSquareColumns * kSquareBytes] = {};
  alignas(64) char a[rows * a_bytes] = {};

  Square of(const Square& from, std::int64_t columns, std::int64_t b_size, std::int64_t a_size) {
    for (std::int64_t j = 0; j < columns; ++j) {
      std::memcpy(b + j * kSquareBytes, from.b + j * from.ldb, static_cast<std::size_t>(b_size));
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      std::memcpy(a + r * a_bytes, from.a + r * from.lda, static_cast<std::size_t>(a_size));
    }
    return {b, kSquareBytes, a, a_bytes};
  }
};

// `depth` bytes of the rows by up to 16 columns; goes on behind them.
template <class Source, int rows>
OCTAVO_INLINE void plain_depth(const Dot& dot, Dot::Sum (&sums)[rows], Dot::Sum& ones, Square& at,
                               std::int64_t columns, std::int64_t depth, const char* ahead,
                               const char* wrap) {
  constexpr std::make_index_sequence<16> kWords;
  constexpr std::int64_t kRowBytes = kSquareBytes * Source::kSteps;  // of A beside a square
  if (columns == kSquareColumns) {
    OCTAVO_FLAT_LOOP
    for (; depth >= kRowBytes; depth -= kRowBytes) {
      const char* next = at.b + kColumnAhead;
      if (next >= ahead) next += wrap - ahead;
      for (std::int64_t j = 0; j < kSquareColumns; ++j) {
        __builtin_prefetch(next + j * at.ldb, 0, 2);  // further ahead than the first level holds
      }
      plain_square<Source, rows>(dot, sums, ones, at, kWords);
      at.b += kSquareBytes;
      at.a += kRowBytes;
    }
  }
  for (; depth > 0; depth -= kRowBytes) {
    const std::int64_t a_size = depth < kRowBytes ? depth : kRowBytes;
    StagedSquare<rows, kRowBytes> staged;
    const Square square = staged.of(at, columns, a_size / Source::kSteps, a_size);
    plain_square<Source, rows>(dot, sums, ones, square, kWords);
    at.b += a_size / Source::kSteps;
    at.a += a_size;
  }
}

// What the shifts take away, and the sums of columns where they are wanted.
template <int rows, class Sum, std::size_t... r>
OCTAVO_INLINE void plain_take_away(Sum (&sums)[rows], const Sum& ones,
                                   const octavo::cpu::DotTile& t, std::index_sequence<r...>) {
  ((sums[r] = Vec::subtract(sums[r],
                            times(ones, t.shift[static_cast<std::int64_t>(r) * t.shift_stride]))),
   ...);
}

// Up to 16 columns from column `first` of a panel on.
template <class Source, int rows, std::size_t... r>
OCTAVO_INLINE void plain_block(const octavo::cpu::PlainTile& p, std::int64_t first,
                               std::int64_t columns, std::index_sequence<r...> all) {
  constexpr std::index_sequence<0> kOneVector;
  octavo::cpu::DotTile t = p.tile;
  const char* b = static_cast<const char*>(t.b) + first * t.ldb;
  if (t.total != nullptr) t.total += first;
  const Dot dot(t);
  Square at{b, t.ldb, static_cast<const char*>(t.a), t.lda};
  const char* ahead = b + t.depth / Source::kSteps;
  const char* wrap = b + kSquareColumns * t.ldb;
  const float* scale_a = t.scale_a;
  const float* scale_b = t.total != nullptr ? t.scale_b + first : nullptr;
  for (std::int64_t depth = t.depth;;) {
    const std::int64_t part = t.total == nullptr || depth <= t.group ? depth : t.group;
    Dot::Sum sums[] = {((void)r, Dot::zero())...};
    Dot::Sum ones = Dot::zero();
    plain_depth<Source, rows>(dot, sums, ones, at, columns, part, ahead, wrap);
    if constexpr (Dot::kExact) {
      plain_take_away<rows>(sums, ones, t, all);
      if (p.sums_out != nullptr) Vec::store(p.sums_out + first, ones);
    }
    if (t.total == nullptr) {
      auto* c = static_cast<float*>(t.c) + first;  // or int32
      (Dot::write(c + static_cast<std::int64_t>(r) * octavo::cpu::kRowSums, sums[r]), ...);
      return;
    }
    add_scaled<rows, 1>(sums, t, scale_a, scale_b, all, kOneVector);
    depth -= part;
    if (depth == 0) return;
    scale_a += t.scale_a_group_stride;
    scale_b += octavo::cpu::kRowSums;
  }
}

template <class Source, int rows>
OCTAVO_KERNEL void plain_columns(const octavo::cpu::PlainTile& p) noexcept {
  for (std::int64_t j = 0; j < p.columns; j += kSquareColumns) {
    const std::int64_t left = p.columns - j;
    plain_block<Source, rows>(p, j, left < kSquareColumns ? left : kSquareColumns,
                              std::make_index_sequence<rows>());
  }
}

// Groups that end inside a square would stage all of it.
template <class Source>
octavo::cpu::PlainKernel find_plain_columns(const octavo::cpu::PlainWanted& wanted) noexcept {
  const std::int64_t rows = wanted.rows;
  if (wanted.group % (kSquareBytes * Source::kSteps) != 0) return nullptr;
  static constexpr std::array kKernels{&plain_columns<Source, 1>, &plain_columns<Source, 2>,
                                       &plain_columns<Source, 3>, &plain_columns<Source, 4>};
  return rows < 1 || rows > 4 ? nullptr : kKernels[static_cast<std::size_t>(rows - 1)];
}
