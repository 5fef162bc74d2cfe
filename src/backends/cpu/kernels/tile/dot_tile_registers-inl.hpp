// SPDX-License-Identifier: Apache-2.0
// Tiles of sums where both sides lie in registers: instructions of Arm take four bytes of A from a
// lane of a register, or multiply two rows by two columns, so A is loaded some steps at a time.
//
//              B of 16 columns: b0  b1  ..         <- one register after the other
//   row 0  [k0 .. k15] ->       s00 s01 ..
//   row 1  [k0 .. k15] ->       s10 s11 ..         accumulators, all in registers
//    ..
//
// Scales along K: after each group total[r][v] += (sum[r][v] * sa[r]) * sb[v], and sums begin anew.
//
// A `Dot` says how A meets B. It has
//   kExact        whether sums may be taken in any order
//   kFlips        whether bytes of A may have to be flipped
//   kTogether     rows of A that one of its registers holds: 1, or 2
//   kLeftBytes    bytes of each of these rows in it
//   kStep         bytes of a row that meet a step of B
//   kWidened      steps of four of these bytes, for each of which the tile widens a step of B: 2 or
//                 4; 1: it takes B as it lies
//   kLoads        registers of kLoadBytes that a step of B has for 16 columns
//   kSums         registers of sums of 16 columns and `kTogether` rows
//   kMostVectors  vectors of which registers hold the sums of a row; more take turns
//   Left, Right   registers of A and B; right(b) loads one
//   Sum, Row      such a register; 16 columns of a row of sums
//   left<flips, both>(a, other)    rows `a` and `other`, or zeros in the place of one that is not
//                                  there
//   add<step, part>(sum, left, b)    a step of `left` meets a register of B; the part'th of the
//                                    kSums / kLoads registers of sums that it has
//   widened<step, part>(b)    where kWidened is more: what add<.., part>() takes as B there
//   put<both>(sums, c, other), row<r>(sums)    from sums in memory; to a row of them
//   floats(row)
//
// Accumulators are named by constants only, and nothing is cloned: else g++ 12 keeps them on the
// stack.
//
// Needs: Dot, kMaxRows, kWidth, Vec
// Gives: dot_tile, kGrain, kHalfLines

#include "backends/cpu/kernels/vec/prefetch-inl.hpp"

constexpr int kDotSteps = Dot::kLeftBytes / Dot::kStep;

constexpr int groups_of(int rows) { return (rows + Dot::kTogether - 1) / Dot::kTogether; }
// Where rows of a group, and columns of a vector, begin among the sums.
template <int vectors>
constexpr std::size_t sums_at(std::size_t group, std::size_t vector) {
  return (group * vectors + vector) * Dot::kSums;
}

// Places along K in A and B, and what is prefetched.
struct DotCursor {
  const char *a, *b, *ahead;
};

// A group of rows, the last of them perhaps without its second one.
template <int rows, bool flips, std::size_t group>
OCTAVO_INLINE Dot::Left left_of(const char* a, std::int64_t lda) {
  constexpr std::int64_t kFirst = group * Dot::kTogether;
  constexpr bool kBoth = kFirst + 1 < rows && Dot::kTogether == 2;
  return Dot::left<flips, kBoth>(a + kFirst * lda, a + (kBoth ? kFirst + 1 : kFirst) * lda);
}

// What a register of B becomes beside one step of A, the first-th of `left`, meets all rows before
// more is made of it: little of it is in registers at once.
template <class Widening, int vectors, int first, int step, int groups, std::size_t... part>
OCTAVO_INLINE void dot_widened(Dot::Sum* sums, const Dot::Left (&left)[groups],
                               const typename Widening::Right& right,
                               std::index_sequence<part...>) {
  const auto meet = [&]<std::size_t p>(std::integral_constant<std::size_t, p>) OCTAVO_LAMBDA {
    constexpr int kPart = static_cast<int>(p);
    const auto wide = Widening::template widened<step, kPart>(right);
    [&]<std::size_t... g>(std::index_sequence<g...>) OCTAVO_LAMBDA {
      ((sums[sums_at<vectors>(g, 0) + p] = Widening::template add<first + step, kPart>(
            sums[sums_at<vectors>(g, 0) + p], left[g], wide)),
       ...);
    }
    (std::make_index_sequence<groups>());
  };
  (meet(std::integral_constant<std::size_t, part>()), ...);
}

template <int vectors, int step, std::size_t load, int groups, std::size_t... part>
OCTAVO_INLINE void dot_load(Dot::Sum* sums, const Dot::Left (&left)[groups], const char* b,
                            std::index_sequence<part...>) {
  constexpr std::size_t kEach = Dot::kSums / Dot::kLoads;
  const Dot::Right right = Dot::right(b + Dot::kLoadBytes * load);
  const auto meet = [&]<std::size_t g>(std::integral_constant<std::size_t, g>) OCTAVO_LAMBDA {
    Dot::Sum* at = sums + sums_at<vectors>(g, 0) + load * kEach;
    ((at[part] = Dot::add<step, static_cast<int>(part)>(at[part], left[g], right)), ...);
  };
  [&]<std::size_t... g>(std::index_sequence<g...>) OCTAVO_LAMBDA {
    (meet(std::integral_constant<std::size_t, g>()), ...);
  }
  (std::make_index_sequence<groups>());
}

// The same where the tile widens it, for `steps` of the steps of A beside it.
template <class Widening, int vectors, int first, std::size_t load, int groups, std::size_t... step>
OCTAVO_INLINE void dot_wide_load(Dot::Sum* sums, const Dot::Left (&left)[groups], const char* b,
                                 std::index_sequence<step...>) {
  constexpr std::size_t kEach = Dot::kSums / Dot::kLoads;
  const auto right = Widening::right(b + Dot::kLoadBytes * load);
  (dot_widened<Widening, vectors, first, static_cast<int>(step)>(sums + load * kEach, left, right,
                                                                 std::make_index_sequence<kEach>()),
   ...);
}

// One step of B, or what `bytes` of a row have of it.
template <int vectors, int step, int steps = Dot::kWidened, int groups, std::size_t... load>
OCTAVO_INLINE void dot_step(Dot::Sum* sums, const Dot::Left (&left)[groups], const char* b,
                            std::int64_t bytes, std::index_sequence<load...> loads) {
  if constexpr (steps > 1) {
    if (bytes <= (steps - 1) * octavo::cpu::kStepBytes) {
      return dot_step<vectors, step, steps - 1>(sums, left, b, bytes, loads);
    }
  }
  if constexpr (Dot::kWidened > 1) {
    (dot_wide_load<Dot, vectors, step * Dot::kWidened, load>(sums, left, b,
                                                             std::make_index_sequence<steps>()),
     ...);
  } else {
    constexpr std::make_index_sequence<Dot::kSums / Dot::kLoads> kParts;
    (dot_load<vectors, step, load>(sums, left, b, kParts), ...);
  }
}

// The steps of a register of A, those that begin before `bytes`.
template <int vectors, int lines, int groups, std::size_t... step>
OCTAVO_INLINE void dot_left(Dot::Sum* sums, const Dot::Left (&left)[groups], DotCursor& at,
                            const octavo::cpu::DotTile& t, std::int64_t bytes,
                            std::index_sequence<step...>) {
  constexpr std::make_index_sequence<vectors * Dot::kLoads> kLoads;
  const auto one = [&]<std::size_t s>(std::integral_constant<std::size_t, s>) OCTAVO_LAMBDA {
    const std::int64_t rest = bytes - static_cast<std::int64_t>(s) * Dot::kStep;
    if (rest <= 0) return;
    dot_step<vectors, static_cast<int>(s)>(sums, left, at.b, rest, kLoads);
    at.b += t.ldb;
    prefetch<lines>(at.ahead, t.ahead_step);
  };
  (one(std::integral_constant<std::size_t, step>()), ...);
}

// `depth` bytes of the rows of A from the cursor on. What is left of a register's is copied, zeros
// behind it: nothing past it is read.
template <int rows, int vectors, int lines, bool flips, std::size_t... group>
OCTAVO_INLINE void dot_depth(Dot::Sum* sums, DotCursor& at, const octavo::cpu::DotTile& t,
                             std::int64_t depth, std::index_sequence<group...>) {
  constexpr std::make_index_sequence<kDotSteps> kSteps;
  OCTAVO_FLAT_LOOP
  for (; depth >= Dot::kLeftBytes; depth -= Dot::kLeftBytes) {
    const Dot::Left left[] = {left_of<rows, flips, group>(at.a, t.lda)...};
    dot_left<vectors, lines>(sums, left, at, t, Dot::kLeftBytes, kSteps);
    at.a += Dot::kLeftBytes;
  }
  if (depth == 0) return;
  alignas(16) char rest[rows * Dot::kLeftBytes] = {};
  for (std::int64_t r = 0; r < rows; ++r) {
    std::memcpy(rest + r * Dot::kLeftBytes, at.a + r * t.lda, static_cast<std::size_t>(depth));
  }
  const Dot::Left left[] = {left_of<rows, flips, group>(rest, Dot::kLeftBytes)...};
  dot_left<vectors, lines>(sums, left, at, t, depth, kSteps);
  at.a += depth;
}

// Where the scales, and the columns' sums, of the group at hand are.
struct DotScales {
  const float *a, *b;
  const std::int32_t* column_sums;
};

// Sums of one row and vector leave: what is taken away, then to c or, scaled, to total.
template <class Row>
OCTAVO_INLINE void dot_put(const octavo::cpu::DotTile& t, const DotScales& at, Row sums,
                           std::int64_t row, std::int64_t vector) {
  if constexpr (std::is_same_v<Row, Vec::Ints>) {
    if (at.column_sums != nullptr) {
      const Vec::Ints columns = Vec::load_unaligned_ints(at.column_sums + vector * 16);
      sums = Vec::subtract(sums,
                           Vec::multiply(columns, Vec::broadcast(t.shift[row * t.shift_stride])));
    }
  }
  const std::int64_t place = row * octavo::cpu::kRowSums + vector * 16;
  if (t.total == nullptr) return Vec::store(static_cast<float*>(t.c) + place, sums);
  const Vec::Floats scaled =
      Vec::multiply(Vec::multiply(Dot::floats(sums), Vec::broadcast(at.a[row * t.scale_a_stride])),
                    Vec::load_unaligned_floats(at.b + vector * 16));
  Vec::store(t.total + place, Vec::add(Vec::load_floats(t.total + place), scaled));
}

template <int rows, int vectors, std::size_t... i>
OCTAVO_INLINE void dot_put_all(const octavo::cpu::DotTile& t, const DotScales& at,
                               const Dot::Sum* sums, std::index_sequence<i...>) {
  constexpr std::size_t kTogether = Dot::kTogether;
  (dot_put(t, at,
           Dot::row<i / vectors % kTogether>(
               sums + sums_at<vectors>(i / vectors / kTogether, i % vectors)),
           i / vectors, i % vectors),
   ...);
}

template <int rows, int vectors, std::size_t... i>
OCTAVO_INLINE void dot_read_all(const octavo::cpu::DotTile& t, Dot::Sum* sums,
                                std::index_sequence<i...>) {
  constexpr std::size_t kTogether = Dot::kTogether;
  const auto place = [&](std::size_t row, std::size_t vector) OCTAVO_LAMBDA {
    return static_cast<const float*>(t.c) + row * octavo::cpu::kRowSums + vector * 16;  // or int32
  };
  (Dot::put<(i / vectors * kTogether + 1 < rows)>(sums + i * Dot::kSums,
                                                  place(i / vectors * kTogether, i % vectors),
                                                  place(i / vectors * kTogether + 1, i % vectors)),
   ...);
}

template <int rows, int vectors, int lines, bool flips>
OCTAVO_INLINE void dot_rows(const octavo::cpu::DotTile& t) {
  constexpr int kGroups = groups_of(rows);
  constexpr std::make_index_sequence<kGroups> kAllGroups;
  constexpr std::make_index_sequence<rows * vectors> kAll;
  constexpr std::make_index_sequence<kGroups * vectors> kBlocks;
  Dot::Sum sums[kGroups * vectors * Dot::kSums];
  const auto clear = [&]<std::size_t... i>(std::index_sequence<i...>) OCTAVO_LAMBDA {
    ((sums[i] = Dot::zero()), ...);
  };
  constexpr std::make_index_sequence<kGroups * vectors * Dot::kSums> kEverySum;
  clear(kEverySum);
  if (t.add) dot_read_all<rows, vectors>(t, sums, kBlocks);
  DotCursor at{static_cast<const char*>(t.a), static_cast<const char*>(t.b), t.ahead};
  DotScales scales{t.scale_a, t.scale_b, t.column_sums};
  for (std::int64_t depth = t.depth;;) {
    const bool last = t.total == nullptr || depth <= t.group;
    const std::int64_t part = last ? depth : t.group;
    dot_depth<rows, vectors, lines, flips>(sums, at, t, part, kAllGroups);
    dot_put_all<rows, vectors>(t, scales, sums, kAll);
    if (last) return;
    clear(kEverySum);
    depth -= part;
    scales.a += t.scale_a_group_stride;
    scales.b += octavo::cpu::kRowSums;
    if constexpr (Dot::kExact) {
      if (scales.column_sums != nullptr) scales.column_sums += octavo::cpu::kRowSums;
    }
  }
}

template <int rows, int vectors, int lines>
OCTAVO_INLINE void dot_flips(const octavo::cpu::DotTile& tile) {
  if constexpr (Dot::kFlips) {
    if (tile.flip != 0) return dot_rows<rows, vectors, lines, true>(tile);
  }
  dot_rows<rows, vectors, lines, false>(tile);
}

// One vector of a tile of several.
OCTAVO_INLINE octavo::cpu::DotTile dot_vector(octavo::cpu::DotTile t, std::int64_t vector) {
  t.b = static_cast<const char*>(t.b) + vector * Dot::kLoadBytes * Dot::kLoads;
  t.c = static_cast<float*>(t.c) + vector * 16;  // or int32
  if (t.total != nullptr) {
    t.total += vector * 16;
    t.scale_b += vector * 16;
  }
  if (t.column_sums != nullptr) t.column_sums += vector * 16;
  return t;
}

template <int rows, int vectors, int lines>
OCTAVO_KERNEL void dot_tile(const octavo::cpu::DotTile& tile) noexcept {
  if constexpr (vectors <= Dot::kMostVectors) {
    dot_flips<rows, vectors, lines>(tile);
  } else {
    dot_flips<rows, 1, lines>(dot_vector(tile, 0));
    for (std::int64_t v = 1; v < vectors; ++v) dot_flips<rows, 1, 0>(dot_vector(tile, v));
  }
}

constexpr int kGrain = 1;
constexpr int kHalfLines = 2 * Dot::kLoads * Dot::kLoadBytes / 64;
#include "backends/cpu/kernels/tile/tile_table-inl.hpp"
