// SPDX-License-Identifier: Apache-2.0
// Tiles of sums: for each step, each of `rows` rows and each of `vectors` vectors
//
//   sum[r][v] = add(sum[r][v], broadcast(A[r][step]), B[step][v])       16 columns a register
//
//              v0   v1   v2   v3     <- loaded once a step
//   a[0] ->   s00  s01  s02  s03
//   a[1] ->   s10  s11  s12  s13     accumulators, all in registers
//    ..
//
// Scales along K: after each group total[r][v] += (sum[r][v] * sa[r]) * sb[v], and sums begin anew.
//
// A `Dot` says how four bytes of A meet a step of B. It has
//   kExact           whether sums may be taken in any order
//   kLoadVectors     vectors of 16 columns that 64 bytes of B hold in a step
//   kSteps           fours of bytes of A that meet a step of B: 1, 2 or 4
//   Loaded, Right    such 64 bytes on their way, and one vector of them as add() wants it
//   Part             where kSteps is more, what part<step>() makes of Loaded, and right<vector>()
//                    of it
//   Sum              an accumulator; zero(), read(), write() and floats() of it
//   left(a)          four bytes of a row in every lane as add() wants them
//   add(sum, a, b)
// and is made from the tile, so that it can hold what it decodes with.
//
// One flat loop along K a function, accumulators named by constants only, no clones: else g++ 12
// keeps them on the stack.
//
// Needs: Dot, kMaxRows, kWidth, Vec
// Gives: dot_tile, kGrain, kHalfLines

#include "backends/cpu/kernels/tile/dot_sums-inl.hpp"
#include "backends/cpu/kernels/vec/prefetch-inl.hpp"

// 64 bytes of B. g++ 12 would load them once more for every row of a low tile, and the loads would
// be what such a tile waits for; in a high one the register is not to be spared.
template <bool low>
OCTAVO_INLINE Vec::Ints load_right(const char* p) {
  Vec::Ints b = Vec::load_ints(p);
  if constexpr (low) Vec::keep(b);
  return b;
}

// The last `left` bytes of a row, and zeros; nothing more is read.
template <int steps>
OCTAVO_INLINE void tail_words(const char* a, std::int64_t left, std::int32_t* words) {
  for (int step = 0; step < steps; ++step) {
    std::uint32_t word = 0;
    for (int i = 0; i < octavo::cpu::kStepBytes && left > 0; ++i, --left) {
      word |= std::uint32_t{static_cast<std::uint8_t>(*a++)} << 8 * i;
    }
    words[step] = static_cast<std::int32_t>(word);
  }
}

// What a tile widens itself where sixteen columns are several registers: 64 bytes of B at a time,
// step by step, so that little of it is in registers at once. Accumulator i belongs to row
// i / vectors and vector i % vectors.
template <int rows, int vectors, int vector, int step, class Widening, class Load, std::size_t... r>
OCTAVO_INLINE void dot_column(const Widening& dot, Dot::Sum (&sums)[rows * vectors],
                              const typename Widening::Part& part, const Load& load,
                              std::index_sequence<r...>) {
  const Dot::Right right = dot.template right<vector % Dot::kLoadVectors>(part);
  ((sums[r * vectors + vector] =
        Dot::add(sums[r * vectors + vector], dot.left(load(r, step)), right)),
   ...);
}
template <int rows, int vectors, int first, int step, class Widening, class Load, std::size_t... v>
OCTAVO_INLINE void dot_widened(const Widening& dot, Dot::Sum (&sums)[rows * vectors],
                               const Dot::Loaded& loaded, const Load& load,
                               std::index_sequence<v...>) {
  constexpr std::make_index_sequence<rows> kRows;
  const auto part = dot.template part<step>(loaded);
  (dot_column<rows, vectors, first + static_cast<int>(v), step>(dot, sums, part, load, kRows), ...);
}
template <int rows, int vectors, int first, class Widening, class Load, std::size_t... step>
OCTAVO_INLINE void dot_load(const Widening& dot, Dot::Sum (&sums)[rows * vectors], const char* b,
                            const Load& load, std::index_sequence<step...>) {
  constexpr std::make_index_sequence<Dot::kLoadVectors> kVectors;
  const Dot::Loaded loaded = dot.load(load_right<false>(b));
  (dot_widened<rows, vectors, first, static_cast<int>(step)>(dot, sums, loaded, load, kVectors),
   ...);
}

// The same where they are one: all of a step's vectors, so that few bytes of A are in registers.
template <int rows, int vectors, int step, class Widening, class Load, std::size_t... i,
          std::size_t... v>
OCTAVO_INLINE void dot_held_step(const Widening& dot, Dot::Sum (&sums)[rows * vectors],
                                 const Dot::Loaded* loaded, const Load& load,
                                 std::index_sequence<i...>, std::index_sequence<v...>) {
  constexpr int kEach = Dot::kLoadVectors;
  const Dot::Right right[] = {
      dot.template right<v % kEach>(dot.template part<step>(loaded[v / kEach]))...};
  ((sums[i] = Dot::add(sums[i], dot.left(load(i / vectors, step)), right[i % vectors])), ...);
}
template <int rows, int vectors, class Widening, class Load, std::size_t... i, std::size_t... v,
          std::size_t... step>
OCTAVO_INLINE void dot_held(const Widening& dot, Dot::Sum (&sums)[rows * vectors],
                            const Dot::Loaded* loaded, const Load& load,
                            std::index_sequence<i...> all, std::index_sequence<v...> columns,
                            std::index_sequence<step...>) {
  (dot_held_step<rows, vectors, static_cast<int>(step)>(dot, sums, loaded, load, all, columns),
   ...);
}

// One step of B, or the first `steps` of A beside it.
template <int rows, int vectors, int steps = Dot::kSteps, std::size_t... i, std::size_t... v,
          std::size_t... l, class Load>
OCTAVO_INLINE void dot_step(const Dot& dot, Dot::Sum (&sums)[rows * vectors], const char* b,
                            const Load& load, [[maybe_unused]] std::index_sequence<i...> all,
                            [[maybe_unused]] std::index_sequence<v...> columns,
                            std::index_sequence<l...>) {
  constexpr int kEach = Dot::kLoadVectors;
  [[maybe_unused]] constexpr std::make_index_sequence<static_cast<std::size_t>(steps)> kAll;
  if constexpr (Dot::kSteps == 1) {
    constexpr bool kLow = rows > 1 && rows * vectors * Vec::kRegisters <= 12;
    const Dot::Loaded loaded[] = {dot.load(load_right<kLow>(b + l * 64))...};
    const Dot::Right right[] = {dot.template right<v % kEach>(loaded[v / kEach])...};
    ((sums[i] = Dot::add(sums[i], dot.left(load(i / vectors, 0)), right[i % vectors])), ...);
  } else if constexpr (Vec::kRegisters == 1) {
    const Dot::Loaded loaded[] = {dot.load(load_right<false>(b + l * 64))...};
    dot_held<rows, vectors>(dot, sums, loaded, load, all, columns, kAll);
  } else {
    (dot_load<rows, vectors, static_cast<int>(l) * kEach>(dot, sums, b + l * 64, load, kAll), ...);
  }
}

// The step of B that `left` bytes of A meet, fewer than it has.
template <int rows, int vectors, int steps = 1, class Load, std::size_t... i>
OCTAVO_INLINE void dot_tail(const Dot& dot, Dot::Sum (&sums)[rows * vectors], const char* b,
                            const Load& load, std::int64_t left, std::index_sequence<i...> all) {
  constexpr std::make_index_sequence<vectors> kVectors;
  constexpr std::make_index_sequence<vectors / Dot::kLoadVectors> kLoads;
  if constexpr (steps < Dot::kSteps) {
    if (left > steps * octavo::cpu::kStepBytes) {
      return dot_tail<rows, vectors, steps + 1>(dot, sums, b, load, left, all);
    }
  }
  dot_step<rows, vectors, steps>(dot, sums, b, load, all, kVectors, kLoads);
}

// Bytes of a row of A beside a step of B.
constexpr std::int64_t kDotBytes = Dot::kSteps * octavo::cpu::kStepBytes;

// Places along K in A and B, and what is prefetched.
struct DotCursor {
  const char *a, *b, *ahead;
  std::int64_t ahead_step;
};

// `steps` steps from the cursor on, which fetch into the cache of a level.
template <int rows, int vectors, int lines, int level, std::size_t... i>
OCTAVO_INLINE void dot_steps(const Dot& dot, Dot::Sum (&sums)[rows * vectors], DotCursor& at,
                             std::int64_t lda, std::int64_t ldb, std::int64_t steps,
                             std::index_sequence<i...> all) {
  constexpr std::make_index_sequence<vectors> kVectors;
  constexpr std::make_index_sequence<vectors / Dot::kLoadVectors> kLoads;
  const char* a = at.a;
  const char* b = at.b;
  const char* ahead = at.ahead;
  const auto row = [&](std::size_t r, std::int64_t step) {
    return broadcast_step(a + static_cast<std::int64_t>(r) * lda + step * octavo::cpu::kStepBytes);
  };
  // Few accumulators wait for each other: where order is free, a second set takes every other step.
  if constexpr (Dot::kExact && rows * vectors <= Vec::kSpareSums) {
    Dot::Sum odd[] = {((void)i, Dot::zero())...};
    OCTAVO_FLAT_LOOP
    for (; steps >= 2; steps -= 2) {
      dot_step<rows, vectors>(dot, sums, b, row, all, kVectors, kLoads);
      a += kDotBytes;
      b += ldb;
      prefetch<lines, level>(ahead, at.ahead_step);
      dot_step<rows, vectors>(dot, odd, b, row, all, kVectors, kLoads);
      a += kDotBytes;
      b += ldb;
      prefetch<lines, level>(ahead, at.ahead_step);
    }
    ((sums[i] = Vec::add(sums[i], odd[i])), ...);
  }
  OCTAVO_FLAT_LOOP
  for (; steps > 0; --steps) {
    dot_step<rows, vectors>(dot, sums, b, row, all, kVectors, kLoads);
    a += kDotBytes;
    b += ldb;
    prefetch<lines, level>(ahead, at.ahead_step);
  }
  at = {a, b, ahead, at.ahead_step};
}

template <int rows, int vectors, int lines, std::size_t... i>
OCTAVO_INLINE void dot_rows(const octavo::cpu::DotTile& t, std::index_sequence<i...> all) {
  constexpr std::make_index_sequence<vectors> kVectors;
  const std::int64_t lda = t.lda;
  const auto place = [&](std::size_t n) {
    constexpr std::size_t kBytes = 4;
    return static_cast<char*>(t.c) +
           (n / vectors * octavo::cpu::kRowSums + n % vectors * 16) * kBytes;
  };
  // All of a panel's lines in its one call of a few rows.
  constexpr bool kStreams =
      rows <= 4 && vectors == octavo::cpu::kPanelVectors && lines == vectors / Dot::kLoadVectors;
  Dot::Sum sums[] = {((void)i, Dot::zero())...};
  if (t.add) ((sums[i] = Dot::read(place(i))), ...);
  const Dot dot(t);
  DotCursor at{static_cast<const char*>(t.a), static_cast<const char*>(t.b), t.ahead, t.ahead_step};
  const float* scale_a = t.scale_a;
  const float* scale_b = t.scale_b;
  const std::int32_t* column_sums = t.column_sums;
  for (std::int64_t depth = t.depth;;) {
    const bool last = t.total == nullptr || depth <= t.group;
    const std::int64_t part = last ? depth : t.group;
    if constexpr (Dot::kExact) {
      if (column_sums != nullptr) take_away<rows, vectors>(sums, t, column_sums, all, kVectors);
    }
    const std::int64_t steps = part / kDotBytes;
    if (kStreams || lines == 0 || (octavo::cpu::kAsksForFirstLevel && t.first_level)) {
      dot_steps<rows, vectors, lines, 1>(dot, sums, at, lda, t.ldb, steps, all);
    } else {
      dot_steps<rows, vectors, lines, 2>(dot, sums, at, lda, t.ldb, steps, all);
    }
    if (last) break;
    add_scaled<rows, vectors>(sums, t, scale_a, scale_b, all, kVectors);
    ((sums[i] = Dot::zero()), ...);
    depth -= part;
    scale_a += t.scale_a_group_stride;
    scale_b += octavo::cpu::kRowSums;
    if constexpr (Dot::kExact) {
      if (column_sums != nullptr) column_sums += octavo::cpu::kRowSums;
    }
  }
  if (const std::int64_t left = t.depth % kDotBytes; left != 0) {
    std::int32_t words[rows * Dot::kSteps];
    for (std::int64_t r = 0; r < rows; ++r) {
      tail_words<Dot::kSteps>(at.a + r * lda, left, words + r * Dot::kSteps);
    }
    const auto tail = [&](std::size_t r, std::int64_t step) {
      return Vec::broadcast(words[static_cast<std::int64_t>(r) * Dot::kSteps + step]);
    };
    dot_tail<rows, vectors>(dot, sums, at.b, tail, left, all);
  }
  if (t.total != nullptr) {
    return add_scaled<rows, vectors>(sums, t, scale_a, scale_b, all, kVectors);
  }
  (Dot::write(place(i), sums[i]), ...);
}

template <int rows, int vectors, int lines>
OCTAVO_KERNEL void dot_tile(const octavo::cpu::DotTile& tile) noexcept {
  dot_rows<rows, vectors, lines>(tile, std::make_index_sequence<rows * vectors>());
}

constexpr int kGrain = Dot::kLoadVectors;
constexpr int kHalfLines = 2 / Dot::kLoadVectors;
#include "backends/cpu/kernels/tile/tile_table-inl.hpp"
