// SPDX-License-Identifier: Apache-2.0
// A few rows by a weight [N, K], whose columns lie along K, transposed in registers:
//
//                 64 bytes along K                       word 0   word 1  ..  word 15
//   column 0    [w0 w1 w2 .. w15]                          w0       w1          w15
//   column 1    [w0 w1 w2 .. w15]      -- turn -->         w0       w1          w15
//     ..                                                   ..
//   column 15   [w0 w1 w2 .. w15]                          w0       w1          w15
//
// A transposed word is one step of 16 columns, or a few (`Source`), which meets the same four bytes
// of every row as in a packed panel: sum[r] = add(sum[r], A[r][step], step), ascending. What a
// square lacks at the ends of N and K is staged with zeros; so are the rows of A beside it.
//
// A `Source` says what a word of the weight becomes; kPairedRows of the instruction set, to how
// many rows two squares stand side by side where a Source does not say it:
//   kSteps             steps of the `Dot` in a word
//   Transposed         sixteen columns of 64 bytes, transposed, made of the `Dot` and their place:
//                      word<w>(); usual(), whether this Source may take its words, else `Other`
//                      takes them all. Transposed::Ahead<squares>, if it is there, makes them, a
//                      part of each while the one before it meets the rows. Or step(i), where they
//                      lie in memory as steps; these go through a loop, and the following is not
//                      asked for
//   kPairedRows        where words become steps slower than memory brings them: up to so many rows
//                      meet two squares side by side
//   kMostInParts       up to so many rows go in parts (unpacked_in_parts)
//   load(dot, word)    what the steps of a word share; step<i>(dot, that): a step as Dot::add takes
//                      it
//
// Needs: add_scaled, broadcast_step, Dot, kPairedRows, times, TransposedSquare, Vec
// Gives: find_unpacked_columns, from_row, groups_end_inside, kMostInParts, kSquareBytes,
//        kSquareColumns, kTransposingRows, Square, StagedSquares, TransposingOf, unpacked_columns,
//        unpacked_ones, unpacked_take_away, WordSource

#include "backends/cpu/kernels/unpacked/undo-inl.hpp"

constexpr std::int64_t kSquareColumns = 16;
constexpr std::int64_t kSquareBytes = 64;  // of a column

#include "backends/cpu/kernels/unpacked/columns_ahead-inl.hpp"

// Words that the `Dot` loads itself.
struct WordSource {
  static constexpr int kSteps = Dot::kLoadVectors;
  using Transposed = TransposedSquare<32 / kSteps>;
  static Dot::Loaded load(const Dot& dot, const Vec::Ints& word) { return dot.load(word); }
  template <int i>
  static Dot::Right step(const Dot& dot, const Dot::Loaded& word) {
    return dot.right<i>(word);
  }
};

// Adds the bytes of a step, each once.
template <class Integers>
OCTAVO_INLINE typename Integers::Sum unpacked_ones(const Integers& dot, typename Integers::Sum sum,
                                                   const typename Integers::Right& step) {
  return Integers::add(sum, dot.left(dot.one()), step);
}

// Makes squares one after the other: of the first ones, then turn<square>(dot, b, ldb, left,
// fetched) the one at b, of those side by side the square-th, behind whose beginning its columns go
// on for `left` bytes. A Strip makes several at a time, beside which it calls fetched.line() for
// half of the lines.
template <class Transposed, int squares>
struct Transposing {
  static constexpr int kMostRows = 4;
  struct Type {
    Type(const char*, std::int64_t) {}
    template <int, class AnyDot, class Fetched>
    OCTAVO_INLINE Transposed turn(const AnyDot& dot, const char* b, std::int64_t ldb, std::int64_t,
                                  Fetched&) const {
      return Transposed(dot, b, ldb);
    }
  };
};
template <class Transposed, int squares>
requires requires { typename Transposed::template Ahead<squares>; }
struct Transposing<Transposed, squares> {
  using Type = typename Transposed::template Ahead<squares>;
  static constexpr int kMostRows = 16;
};
template <class Transposed, int squares>
requires requires { typename Transposed::template Strip<squares>; }
struct Transposing<Transposed, squares> {
  using Type = typename Transposed::template Strip<squares>;
  static constexpr int kMostRows = Type::kMostRows;
};
template <class Source, int squares = 1>
using TransposingOf = typename Transposing<typename Source::Transposed, squares>::Type;

// Squares that have steps and not words.
template <class Transposed>
concept SquareOfSteps = requires(const Transposed& transposed, std::int64_t i) {
  transposed.step(i);
};

// Whether half of what is fetched beside a strip is fetched while it is transposed: where words
// become steps by little (Source::kLightRows) and products take less time than memory takes for a
// square, so that memory would wait for the turning.
template <class Source, int rows>
constexpr bool kFetchedTransposing = false;
template <class Source, int rows>
requires requires {
  typename Source::Transposed::template Strip<1>;
  Source::kLightRows;
}
constexpr bool kFetchedTransposing<Source, rows> =
    (Source::kLightRows > 0) && (rows * Source::kSteps <= 4);

// Where a square of a weight and the rows beside it lie.
struct Square {
  const char* b;
  std::int64_t ldb;
  const char* a;
  std::int64_t lda;
};

// Squares side by side: sums of floats wait for each other, and few rows have few of them.
template <class Source>
constexpr int kPairedRowsOf = kPairedRows;
template <class Source>
requires requires { Source::kPairedRows; }
constexpr int kPairedRowsOf<Source> = Source::kPairedRows;

// Rows of A: those of one pointer lie a multiple of `lda` behind it, which an address holds beside
// the pointer. Pointers of all rows would be more than there are registers.
template <int rows>
struct RowsBeside {
  static constexpr std::size_t kTogether = octavo::cpu::kRowsOfAnAddress;
  static constexpr std::size_t kPointers = (rows + kTogether - 1) / kTogether;
  const char* pointers[kPointers];
  std::int64_t lda;

  template <std::size_t r>
  OCTAVO_INLINE const char* row(std::int64_t bytes, std::int64_t distance) const {
    return pointers[r / kTogether] + static_cast<std::int64_t>(r % kTogether) * distance + bytes;
  }
};
template <int rows, std::size_t... i>
OCTAVO_INLINE RowsBeside<rows> rows_beside(const Square& at, std::index_sequence<i...>) {
  return {{at.a + static_cast<std::int64_t>(i * RowsBeside<rows>::kTogether) * at.lda...}, at.lda};
}
template <int rows>
OCTAVO_INLINE RowsBeside<rows> rows_beside(const Square& at) {
  return rows_beside<rows>(at, std::make_index_sequence<RowsBeside<rows>::kPointers>());
}

// The distance as a number of its own, so that the compiler does not make pointers of all rows.
template <int rows>
OCTAVO_INLINE std::int64_t distance_of(const RowsBeside<rows>& a) {
  std::int64_t distance = a.lda;
  if constexpr (RowsBeside<rows>::kTogether > 1) asm("" : "+r"(distance));
  return distance;
}

// Sum i belongs to row i / squares and square i % squares.
template <int squares, int square, std::size_t sums_count, int rows, std::size_t... r>
OCTAVO_INLINE void unpacked_step(const Dot& dot, Dot::Sum (&sums)[sums_count],
                                 const RowsBeside<rows>& a, std::int64_t bytes,
                                 const Dot::Right& step, std::index_sequence<r...>) {
  const std::int64_t distance = distance_of(a);
  ((sums[r * squares + square] =
        Dot::add(sums[r * squares + square],
                 dot.left(broadcast_step(a.template row<r>(bytes, distance))), step)),
   ...);
}

template <class Source, int rows, bool ones, int squares, int square, int word, std::size_t... s>
OCTAVO_INLINE void unpacked_word(const Dot& dot, Dot::Sum (&sums)[rows * squares],
                                 [[maybe_unused]] Dot::Sum& b_sums, const RowsBeside<rows>& a,
                                 const Vec::Ints& m, std::index_sequence<s...>) {
  const auto loaded = Source::load(dot, m);
  (unpacked_step<squares, square>(dot, sums, a, (word * Source::kSteps + static_cast<int>(s)) * 4,
                                  Source::template step<static_cast<int>(s)>(dot, loaded),
                                  std::make_index_sequence<rows>()),
   ...);
  if constexpr (ones) {
    ((b_sums = unpacked_ones(dot, b_sums, Source::template step<static_cast<int>(s)>(dot, loaded))),
     ...);
  }
}

// Word i / squares of square i % squares, and beside each, or each second one, a line of what is
// fetched.
template <class Source, int rows, bool ones, int squares, class Transposed, class Fetched,
          std::size_t... i>
OCTAVO_INLINE void unpacked_words(const Dot& dot, Dot::Sum (&sums)[rows * squares],
                                  Dot::Sum& b_sums, const Square& at,
                                  Transposed (&transposed)[squares], Fetched& fetched,
                                  std::index_sequence<i...>) {
  const auto a = rows_beside<rows>(at);
  const auto fetch = [&](std::size_t word) OCTAVO_LAMBDA {
    if (!kFetchedTransposing<Source, rows> || word % 2 == 0) fetched.line();
  };
  ((fetch(i), unpacked_word<Source, rows, ones, squares, i % squares, i / squares>(
                  dot, sums, b_sums, a, transposed[i % squares].template word<i / squares>(),
                  std::make_index_sequence<Source::kSteps>())),
   ...);
}

// The same of steps that lie in memory.
template <int rows, bool ones, int squares, class Transposed, std::size_t... i>
OCTAVO_INLINE void unpacked_some(const Dot& dot, Dot::Sum (&sums)[rows * squares],
                                 [[maybe_unused]] Dot::Sum& b_sums, const Square& at,
                                 const Transposed (&transposed)[squares], std::int64_t first,
                                 std::index_sequence<i...>) {
  constexpr std::make_index_sequence<rows> kRows;
  const auto a = rows_beside<rows>(at);
  const auto step = [&](std::size_t square, std::size_t n) OCTAVO_LAMBDA {
    return transposed[square].step(first + static_cast<std::int64_t>(n));
  };
  (unpacked_step<squares, i % squares>(dot, sums, a, i / squares * octavo::cpu::kStepBytes,
                                       step(i % squares, i / squares), kRows),
   ...);
  if constexpr (ones) ((b_sums = unpacked_ones(dot, b_sums, step(0, i))), ...);
}
template <class Source, int rows, bool ones, int squares, class Transposed>
OCTAVO_INLINE void unpacked_steps(const Dot& dot, Dot::Sum (&sums)[rows * squares],
                                  Dot::Sum& b_sums, Square at,
                                  const Transposed (&transposed)[squares]) {
  constexpr std::int64_t kTogether = 4;
  OCTAVO_FLAT_LOOP
  for (std::int64_t first = 0; first < 16 * Source::kSteps; first += kTogether) {
    unpacked_some<rows, ones, squares>(dot, sums, b_sums, at, transposed, first,
                                       std::make_index_sequence<kTogether * squares>());
    at.a += kTogether * octavo::cpu::kStepBytes;
  }
}

// Squares with unusual words. Not inlined, and sums come in memory: it is hardly ever called.
template <class Source, int rows, int squares>
OCTAVO_KERNEL void unpacked_unusual(const Dot& dot, Dot::Sum (&sums)[rows * squares],
                                    const Square& at,
                                    typename Source::Transposed (&transposed)[squares]) noexcept {
  NothingFetched nothing;
  unpacked_words<typename Source::Other, rows, false, squares>(
      dot, sums, sums[0], at, transposed, nothing, std::make_index_sequence<16 * squares>());
}

template <bool first, class First, class Second>
OCTAVO_INLINE auto& choose(First& a, Second& b) {
  if constexpr (first) {
    return a;
  } else {
    return b;
  }
}
template <class Source, int rows, bool ones, int squares, class Fetched, std::size_t... i,
          std::size_t... s>
OCTAVO_INLINE void unpacked_squares(const Dot& dot, Dot::Sum (&sums)[rows * squares],
                                    Dot::Sum& b_sums, const Square& at,
                                    TransposingOf<Source, squares>& transposing, Fetched& fetched,
                                    std::int64_t left, std::index_sequence<i...>,
                                    std::index_sequence<s...>) {
  NothingFetched nothing;
  auto& meanwhile = choose<kFetchedTransposing<Source, rows>>(fetched, nothing);
  typename Source::Transposed transposed[] = {transposing.template turn<static_cast<int>(s)>(
      dot, at.b + static_cast<std::int64_t>(s) * kSquareColumns * at.ldb, at.ldb, left,
      meanwhile)...};
  if constexpr (requires { typename Source::Other; }) {
    if (!(transposed[s].usual() && ...)) {
      Dot::Sum kept[] = {sums[i]...};
      unpacked_unusual<Source, rows, squares>(dot, kept, at, transposed);
      ((sums[i] = kept[i]), ...);
      return;
    }
  }
  if constexpr (SquareOfSteps<typename Source::Transposed>) {
    fetched.lines();
    unpacked_steps<Source, rows, ones, squares>(dot, sums, b_sums, at, transposed);
  } else {
    unpacked_words<Source, rows, ones, squares>(dot, sums, b_sums, at, transposed, fetched,
                                                std::make_index_sequence<16 * squares>());
  }
}

// What there is of squares and of the rows beside them, and zeros.
template <int most_rows, int squares, std::int64_t a_bytes>
struct StagedSquares {
  alignas(64) char b[squares * kSquareColumns * kSquareBytes] = {};
  alignas(64) char a[most_rows * a_bytes];

  Square of(const Square& from, std::int64_t columns, std::int64_t b_size, std::int64_t a_size,
            std::int64_t rows) {
    for (std::int64_t j = 0; j < columns; ++j) {
      std::memcpy(b + j * kSquareBytes, from.b + j * from.ldb, static_cast<std::size_t>(b_size));
    }
    std::memset(a, 0, static_cast<std::size_t>(rows * a_bytes));
    for (std::int64_t r = 0; r < rows; ++r) {
      std::memcpy(a + r * a_bytes, from.a + r * from.lda, static_cast<std::size_t>(a_size));
    }
    return {b, kSquareBytes, a, a_bytes};
  }
};

// What the shifts take away.
template <int rows, class Sum, std::size_t... r>
OCTAVO_INLINE void unpacked_take_away(Sum (&sums)[rows], const Sum& ones,
                                      const octavo::cpu::DotTile& t, std::index_sequence<r...>) {
  ((sums[r] = Vec::subtract(sums[r],
                            times(ones, t.shift[static_cast<std::int64_t>(r) * t.shift_stride]))),
   ...);
}

// The most rows that kernels are built for: what squares allow.
template <class Source>
constexpr int kTransposingRows = Transposing<typename Source::Transposed, 1>::kMostRows;

// Between runs of squares: sums of rows and, where they are asked for, of columns; the end of a
// group, which scales them; how far it is.
template <class Source, int squares>
struct UnpackedSums {
  static constexpr std::int64_t kEndless = INT64_MAX;  // a group that the caller ends
  Dot::Sum rows_of[kTransposingRows<Source> * squares];
  Dot::Sum columns;
  std::int32_t* columns_out;
  const octavo::cpu::DotTile& tile;
  const float* scale_a;
  const float* scale_b;
  std::int64_t group;  // squares
  std::int64_t to_go;  // of this group

  OCTAVO_INLINE void next_group() {
    scale_a += tile.scale_a_group_stride;
    scale_b += octavo::cpu::kRowSums;
    to_go = group;
  }
  OCTAVO_INLINE void begin(std::int64_t rows) {
    for (std::int64_t i = 0; i < rows * squares; ++i) rows_of[i] = Dot::zero();
    columns = Dot::zero();
  }
};

// The end of a group, or of all: sums without what the shifts add, scaled if that is asked for.
template <int rows, bool ones, class Source, int squares, std::size_t... i>
OCTAVO_INLINE void end_group(const UnpackedSums<Source, squares>& state,
                             Dot::Sum (&sums)[rows * squares], const Dot::Sum& b_sums,
                             std::index_sequence<i...> all) {
  if constexpr (ones) {
    unpacked_take_away<rows>(sums, b_sums, state.tile, all);
    Vec::store(state.columns_out, b_sums);
  }
  if (state.tile.total == nullptr) return;
  add_scaled<rows, squares>(sums, state.tile, state.scale_a, state.scale_b, all,
                            std::make_index_sequence<squares>());
}

// The same of sums in memory, which go to c where nothing is scaled.
template <bool ones, class Source, int squares, std::size_t... s>
OCTAVO_INLINE void end_rows(const UnpackedSums<Source, squares>& state, std::int64_t rows, float* c,
                            std::index_sequence<s...> all) {
  octavo::cpu::DotTile t = state.tile;
  const float* scale_a = state.scale_a;
  for (std::int64_t r = 0; r < rows; ++r) {
    Dot::Sum sums[] = {state.rows_of[r * squares + static_cast<std::int64_t>(s)]...};
    if constexpr (ones) {
      unpacked_take_away<1>(sums, state.columns, t, std::index_sequence<0>());
      t.shift += t.shift_stride;
    }
    if (t.total == nullptr) {
      (Dot::write(c + r * octavo::cpu::kRowSums + s * kSquareColumns, sums[s]), ...);
    } else {
      add_scaled<1, squares>(sums, t, scale_a, state.scale_b, all, all);
      t.total += octavo::cpu::kRowSums;
      scale_a += t.scale_a_stride;
    }
  }
  if constexpr (ones) Vec::store(state.columns_out, state.columns);
}

// Whole squares, `count` of them, behind whose beginning columns go on for `left` bytes. The only
// copy of a kernel's loop: what is staged takes it, too.
template <class Source, int rows, bool ones, int squares, std::size_t... i>
OCTAVO_INLINE void add_squares(const Dot& dot, UnpackedSums<Source, squares>& state, Square at,
                               TransposingOf<Source, squares>& transposing,
                               FetchedColumns<Source, squares>& fetches, std::int64_t left,
                               std::int64_t count, std::index_sequence<i...> all) {
  Dot::Sum sums[] = {state.rows_of[i]...};
  Dot::Sum b_sums = state.columns;
  FetchedColumns<Source, squares> fetched = fetches;
  OCTAVO_FLAT_LOOP
  do {
    std::int64_t some = count < state.to_go ? count : state.to_go;
    count -= some;
    state.to_go -= some;
    OCTAVO_FLAT_LOOP
    for (; some > 0; --some, left -= kSquareBytes) {
      fetched.begin(left);
      unpacked_squares<Source, rows, ones, squares>(dot, sums, b_sums, at, transposing, fetched,
                                                    left, all, std::make_index_sequence<squares>());
      at.b += kSquareBytes;
      at.a += kSquareBytes * Source::kSteps;
    }
    if (state.to_go > 0) continue;
    end_group<rows, ones>(state, sums, b_sums, all);
    ((sums[i] = Dot::zero()), ...);
    b_sums = Dot::zero();
    state.next_group();
  } while (count > 0);
  fetches = fetched;
  ((state.rows_of[i] = sums[i]), ...);
  state.columns = b_sums;
}
template <class Source, int rows, bool ones, int squares>
OCTAVO_KERNEL void unpacked_run(const Dot& dot, UnpackedSums<Source, squares>& state,
                                const Square& at, TransposingOf<Source, squares>& transposing,
                                FetchedColumns<Source, squares>& fetched, std::int64_t left,
                                std::int64_t count) noexcept {
  add_squares<Source, rows, ones, squares>(Dot(dot), state, at, transposing, fetched, left, count,
                                           std::make_index_sequence<rows * squares>());
}

// What is not in a run's registers is the same for any number of rows.
template <class Source, int squares>
using UnpackedRun = void (*)(const Dot&, UnpackedSums<Source, squares>&, const Square&,
                             TransposingOf<Source, squares>&, FetchedColumns<Source, squares>&,
                             std::int64_t, std::int64_t) noexcept;
template <class Source, bool ones, int squares, std::size_t... row>
UnpackedRun<Source, squares> unpacked_run_of(std::int64_t rows, std::index_sequence<row...>) {
  static constexpr UnpackedRun<Source, squares> kRuns[] = {
      &unpacked_run<Source, static_cast<int>(row) + 1, ones, squares>...};
  return kRuns[rows - 1];
}

// `depth` bytes of the rows by up to 16 columns of each square; goes on behind them.
template <class Source, int squares>
OCTAVO_INLINE void unpacked_depth(UnpackedRun<Source, squares> run, const Dot& dot,
                                  UnpackedSums<Source, squares>& state, Square& at,
                                  TransposingOf<Source, squares>& transposing,
                                  FetchedColumns<Source, squares>& fetched, std::int64_t rows,
                                  std::int64_t columns, std::int64_t depth) {
  constexpr std::int64_t kRowBytes = kSquareBytes * Source::kSteps;  // of A beside a square
  if (columns == squares * kSquareColumns) {
    const std::int64_t count = depth / kRowBytes;
    run(dot, state, at, transposing, fetched, fetched.left(at.b), count);
    at.b += count * kSquareBytes;
    at.a += count * kRowBytes;
    depth -= count * kRowBytes;
  }
  for (; depth > 0; depth -= kRowBytes) {
    const std::int64_t a_size = depth < kRowBytes ? depth : kRowBytes;
    StagedSquares<kTransposingRows<Source>, squares, kRowBytes> staged;
    const Square square = staged.of(at, columns, a_size / Source::kSteps, a_size, rows);
    TransposingOf<Source, squares> staged_transposing(square.b, square.ldb);
    run(dot, state, square, staged_transposing, fetched, kSquareBytes, 1);
    at.b += a_size / Source::kSteps;
    at.a += a_size;
  }
}

// Some rows by up to 16 columns of each square from column `first` of a panel on, and, with `ones`,
// the columns' sums: all of K at once, or, where groups of scales are no whole squares (slices
// begin inside of them), one group after the other.
template <class Source, bool ones, int squares, std::size_t... row>
OCTAVO_INLINE void unpacked_block(const octavo::cpu::UnpackedTile& p, std::int64_t rows,
                                  std::int64_t first, std::int64_t columns,
                                  std::index_sequence<row...> all) {
  constexpr std::int64_t kRowBytes = kSquareBytes * Source::kSteps;
  const UnpackedRun<Source, squares> run = unpacked_run_of<Source, ones, squares>(rows, all);
  octavo::cpu::DotTile t = p.tile;
  const char* b = static_cast<const char*>(t.b) + first * t.ldb;
  const bool scaled = t.total != nullptr;
  if (scaled) t.total += first;
  const Dot dot(t);
  Square at{b, t.ldb, static_cast<const char*>(t.a), t.lda};
  FetchedColumns<Source, squares> fetched(b, t.ldb, t.depth / Source::kSteps, t.first_level);
  const bool whole = columns == squares * kSquareColumns && fetched.left(b) >= kSquareBytes;
  alignas(64) static constexpr char kNothing[kSquareBytes] = {};
  TransposingOf<Source, squares> transposing(whole ? b : kNothing, whole ? t.ldb : 0);
  const bool at_once = !scaled || t.group % kRowBytes == 0;
  using State = UnpackedSums<Source, squares>;
  State state{{},
              Dot::zero(),
              ones ? p.sums_out + first : nullptr,
              t,
              t.scale_a,
              scaled ? t.scale_b + first : nullptr,
              State::kEndless,
              State::kEndless};
  state.begin(rows);
  if (scaled && at_once && t.group < t.depth) state.group = state.to_go = t.group / kRowBytes;
  for (std::int64_t depth = t.depth;;) {
    const std::int64_t part = at_once || depth <= t.group ? depth : t.group;
    unpacked_depth(run, dot, state, at, transposing, fetched, rows, columns, part);
    if (state.to_go == state.group && state.group != State::kEndless) return;  // with a group
    end_rows<ones>(state, rows, static_cast<float*>(t.c) + first,              // or int32
                   std::make_index_sequence<squares>());
    depth -= part;
    if (!scaled || depth == 0) return;
    state.begin(rows);
    state.next_group();
  }
}

// Rows `row` on of A.
OCTAVO_INLINE octavo::cpu::UnpackedTile from_row(octavo::cpu::UnpackedTile p, std::int64_t row) {
  octavo::cpu::DotTile& t = p.tile;
  t.a = static_cast<const char*>(t.a) + row * t.lda;
  t.c = static_cast<float*>(t.c) + row * octavo::cpu::kRowSums;
  t.shift += row * t.shift_stride;
  if (t.total == nullptr) return p;
  t.total += row * octavo::cpu::kRowSums;
  t.scale_a += row * t.scale_a_stride;
  return p;
}

// Some rows by up to 16 columns, from column `first` of a panel on; by 32.
template <class Source, bool ones>
OCTAVO_KERNEL void unpacked_square(const octavo::cpu::UnpackedTile& p, std::int64_t rows,
                                   std::int64_t first, std::int64_t columns) noexcept {
  unpacked_block<Source, ones, 1>(p, rows, first, columns,
                                  std::make_index_sequence<kTransposingRows<Source>>());
}
template <class Source>
OCTAVO_KERNEL void unpacked_two_squares(const octavo::cpu::UnpackedTile& p, std::int64_t rows,
                                        std::int64_t first) noexcept {
  unpacked_block<Source, false, 2>(p, rows, first, 2 * kSquareColumns,
                                   std::make_index_sequence<kPairedRowsOf<Source>>());
}

// each(first, columns) for the columns of a panel from column `first` on, 16 at a time.
template <class Each>
OCTAVO_INLINE void by_squares(std::int64_t first, std::int64_t columns, const Each& each) {
  for (; first < columns; first += kSquareColumns) {
    const std::int64_t left = columns - first;
    each(first, left < kSquareColumns ? left : kSquareColumns);
  }
}

template <class Source>
OCTAVO_KERNEL void unpacked_columns(const octavo::cpu::UnpackedTile& p) noexcept {
  std::int64_t j = 0;
  if constexpr (Dot::kExact) {
    if (p.sums_out != nullptr) {
      return by_squares(j, p.columns, [&](std::int64_t first, std::int64_t columns) OCTAVO_LAMBDA {
        unpacked_square<Source, true>(p, p.rows, first, columns);
      });
    }
  } else if constexpr (kPairedRowsOf<Source> > 0) {
    constexpr std::int64_t kColumns = 2 * kSquareColumns;
    for (; p.rows <= kPairedRowsOf<Source> && p.columns - j >= kColumns; j += kColumns) {
      unpacked_two_squares<Source>(p, p.rows, j);
    }
  }
  by_squares(j, p.columns, [&](std::int64_t first, std::int64_t columns) OCTAVO_LAMBDA {
    unpacked_square<Source, false>(p, p.rows, first, columns);
  });
}

// Up to how many rows go through squares in parts, where a Source says that it pays: of CPUs that
// take lines into the first level, none was timed.
template <class Source>
constexpr std::int64_t kMostInParts = 0;
template <class Source>
requires requires { Source::kMostInParts; }
constexpr std::int64_t kMostInParts<Source> = Source::kMostInParts;

// Groups that end inside a square would stage all of it.
template <class Source>
bool groups_end_inside(const octavo::cpu::UnpackedWanted& wanted) noexcept {
  return wanted.group % (kSquareBytes * Source::kSteps) != 0;
}

// More rows of floats go through sixteen columns in parts, as even as may be: the first one brings
// the columns into the second-level cache, where the others find them. Turning and decoding them
// once more has ports to spare; panels in memory would be written and read, and waited for.
constexpr std::int64_t kPartRowBytes = 1280 << 10;  // of A beside the columns
template <class Source>
OCTAVO_KERNEL void unpacked_in_parts(const octavo::cpu::UnpackedTile& p) noexcept {
  constexpr int kMost = kTransposingRows<Source>;
  const std::int64_t parts = (p.rows + kMost - 1) / kMost;
  // Rows that this cache does not hold beside the columns go through a panel in turns.
  const std::int64_t turns = (p.rows * p.tile.depth + kPartRowBytes - 1) / kPartRowBytes;
  const std::int64_t together = turns < 2 ? parts : (parts + turns - 1) / turns;
  for (std::int64_t begin = 0; begin < parts; begin += together) {
    const std::int64_t end = parts - begin < together ? parts : begin + together;
    by_squares(0, p.columns, [&](std::int64_t first, std::int64_t columns) OCTAVO_LAMBDA {
      for (std::int64_t part = begin; part < end; ++part) {
        const std::int64_t row = part * p.rows / parts;
        const std::int64_t some = (part + 1) * p.rows / parts - row;
        unpacked_square<Source, false>(from_row(p, row), some, first, columns);
      }
    });
  }
}

template <class Source>
octavo::cpu::UnpackedKernel find_unpacked_columns(
    const octavo::cpu::UnpackedWanted& wanted) noexcept {
  const std::int64_t rows = wanted.rows;
  if (groups_end_inside<Source>(wanted)) return nullptr;
  constexpr int kMost = kTransposingRows<Source>;
  constexpr std::int64_t kParted = kMostInParts<Source>;
  static_assert(kMost <= octavo::cpu::kMostUnpackedRows &&
                kParted <= octavo::cpu::kMostUnpackedRows);
  if constexpr (kParted > 0) {
    const bool in_parts = rows > kMost && rows <= kParted;
    const bool few = rows <= Transposing<typename Source::Transposed, 1>::kMostRows;
    if (in_parts && (few || !wanted.first_level)) return &unpacked_in_parts<Source>;
  }
  return rows < 1 || rows > kMost ? nullptr : &unpacked_columns<Source>;
}
