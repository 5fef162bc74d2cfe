// SPDX-License-Identifier: Apache-2.0
// A few rows by a weight [K, N], whose rows lie along N, interleaved in registers:
//
//                64 bytes along N
//   row k      [b0 b1 b2 ..]                 q0       q1   ..       what columns have in a step:
//   row k + 1  [b0 b1 b2 ..]  -- join -->  [b0 b1]  ..              vector i, lane l of 4 columns:
//     ..                                                            columns 4 (l * vectors + i) on
//
// A strip of columns goes through some rows of K, then through the next ones, which are fetched
// meanwhile. The sums of the strip wait in the first-level cache, in the order that joining leaves.
// They are put in theirs at the end of K, or of a group. More rows of A than registers hold sums of
// go through a line in parts: the first one adds up the columns and keeps the steps that it joins
// in the first-level cache for the others (kKeeps), or all go through what the second-level cache
// holds. They fetch in turns. Lines of fewer than 64 bytes are copied into the first-level cache,
// 64 bytes of a row at a time, and all parts that keep and take steps go through the copy.
//
// A `Lines` says what rows of the weight become:
//   kRows       rows of K in a step
//   kVectors    of 16 columns that are joined at a time: a line
//   kBytes      of a row in them
//   kOrdered    they are in the order of columns already
//   Look, Other Look sees lines that are copied and says whether they are usual(); an `Other`, if
//               there is one, takes what is not
//   load(dot, b, ldb)    what the vectors of a step share; step<v>(dot, that): the step of
//                        vector v, as Dot::add takes it
// and a `LinesOf` which of them as many rows of A take, as many as registers hold the sums of:
//   Of<rows>    for up to kTogether, and one row more where columns are added up
//   kTogether   rows of A that go through a line at once
//   kKeeps      the steps of the first ones are kept for the others
//   kMostRows   of A; for more of them a packed panel is faster
//
// Needs: add_scaled, broadcast_step, Dot, from_row, kSquareBytes, Undo, unpacked_beginning,
//        unpacked_ones, unpacked_take_away, unpacked_undoing, Vec
// Gives: AnyRows, FewerVectors, find_unpacked_rows

// The sum and the products of a step and of what it meets of A, which is flipped if the step is
// not.
template <Undo undo, class AnyDot>
OCTAVO_INLINE typename AnyDot::Sum line_add(const AnyDot& dot, const typename AnyDot::Sum& sum,
                                            const char* a, const typename AnyDot::Right& step) {
  if constexpr (undo == Undo::row_sums) return AnyDot::add(sum, step, broadcast_step(a));
  return AnyDot::add(sum, dot.left(broadcast_step(a)), step);
}

// The lines of one step beside the rows of A.
struct LineCursor {
  const char* b;
  std::int64_t ldb;
  const char* a;
  std::int64_t lda;
};

// Vectors whose steps are kept beside each other: those of 64 bytes of a row.
template <class Lines>
constexpr int kKeptVectors =
    (Lines::kBytes < kSquareBytes ? kSquareBytes / Lines::kBytes : 1) * Lines::kVectors;

// A step is kept, and taken again. A vector of several registers goes one by one: g++ 12 would copy
// their structure by way of the stack.
template <class Right>
OCTAVO_INLINE void keep_step(Right* kept, const Right& step) {
  *kept = step;
}
OCTAVO_INLINE void keep_step(Vec::Ints* kept, const Vec::Ints& step) { Vec::store(kept, step); }
OCTAVO_INLINE void keep_step(Vec::Floats* kept, const Vec::Floats& step) { Vec::store(kept, step); }
template <class Right>
OCTAVO_INLINE Right kept_step(const Right* kept) {
  return *kept;
}
OCTAVO_INLINE Vec::Ints kept_step(const Vec::Ints* kept) { return Vec::load_ints(kept); }
OCTAVO_INLINE Vec::Floats kept_step(const Vec::Floats* kept) { return Vec::load_floats(kept); }

template <class Lines, int rows, Undo undo, bool keeps, int v, class Interleaved, std::size_t... r>
OCTAVO_INLINE void line_vector(const Dot& dot, Dot::Sum (&sums)[rows * Lines::kVectors],
                               [[maybe_unused]] Dot::Sum (&b_sums)[Lines::kVectors],
                               const LineCursor& at, const Interleaved& interleaved,
                               [[maybe_unused]] Dot::Right* kept, std::index_sequence<r...>) {
  const typename Dot::Right step = Lines::template step<v>(dot, interleaved);
  if constexpr (keeps) keep_step(kept + v, step);
  ((sums[r * Lines::kVectors + v] = line_add<undo>(
        dot, sums[r * Lines::kVectors + v], at.a + static_cast<std::int64_t>(r) * at.lda, step)),
   ...);
  if constexpr (undo == Undo::column_sums) b_sums[v] = unpacked_ones(dot, b_sums[v], step);
}

// `steps` steps of a line's columns; sums lie kRowSums apart, those of columns beside them.
template <class Lines, int rows, int fetched, Undo undo, bool keeps, std::size_t... i,
          std::size_t... v>
OCTAVO_INLINE void line_steps(const Dot& dot, LineCursor at, std::int64_t steps,
                              octavo::cpu::RowsAhead& fetches, float* c,
                              [[maybe_unused]] std::int32_t* sums_out,
                              [[maybe_unused]] Dot::Right* kept, std::index_sequence<i...>,
                              std::index_sequence<v...>) {
  constexpr std::make_index_sequence<rows> kRows;
  constexpr std::size_t kVectors = Lines::kVectors;
  constexpr bool kSums = undo == Undo::column_sums;
  Dot::Sum sums[] = {Dot::read(c + i / kVectors * octavo::cpu::kRowSums + i % kVectors * 16)...};
  Dot::Sum b_sums[] = {((void)v, Dot::zero())...};
  if constexpr (kSums) ((b_sums[v] = Dot::read(sums_out + v * 16)), ...);
  octavo::cpu::RowsAhead ahead = fetches;
  OCTAVO_FLAT_LOOP
  for (; steps > 0; --steps) {
    if constexpr (fetched > 0) ahead.fetch<fetched>();
    const auto interleaved = Lines::load(dot, at.b, at.ldb);
    (line_vector<Lines, rows, undo, keeps, static_cast<int>(v)>(dot, sums, b_sums, at, interleaved,
                                                                kept, kRows),
     ...);
    if constexpr (keeps) kept += kKeptVectors<Lines>;
    at.b += Lines::kRows * at.ldb;
    at.a += octavo::cpu::kStepBytes;
  }
  if constexpr (fetched > 0) fetches = ahead;
  (Dot::write(c + i / kVectors * octavo::cpu::kRowSums + i % kVectors * 16, sums[i]), ...);
  if constexpr (kSums) (Dot::write(sums_out + v * 16, b_sums[v]), ...);
}

// The columns of a line, from column `column` of the strip on.
template <class Lines, int rows, int fetched, Undo undo>
struct LineSums {
  static constexpr std::int64_t kColumns = Lines::kVectors * 16;
  const octavo::cpu::UnpackedTile& p;
  float* c;  // or int32
  std::int32_t* sums_out;

  LineSums(const octavo::cpu::UnpackedTile& tile, std::int64_t column, std::int64_t row = 0)
      : p(tile),
        c(static_cast<float*>(tile.tile.c) + column / octavo::cpu::kRowSums * tile.panel_sums +
          row * octavo::cpu::kRowSums + column % octavo::cpu::kRowSums),
        sums_out(undo == Undo::column_sums ? tile.sums_out + column : nullptr) {}

  // Whole steps, which may be kept, kKeptVectors<Lines> apart.
  template <bool keeps = false>
  void add(const Dot& dot, const LineCursor& at, std::int64_t steps, octavo::cpu::RowsAhead& ahead,
           Dot::Right* kept = nullptr) const {
    line_steps<Lines, rows, fetched, undo, keeps>(
        dot, at, steps, ahead, c, sums_out, kept,
        std::make_index_sequence<rows * Lines::kVectors>(),
        std::make_index_sequence<Lines::kVectors>());
  }
  // Fewer columns, or rows of K, than a step has: with zeros.
  void add_part(const Dot& dot, const LineCursor& at, std::int64_t depth,
                std::int64_t line_bytes) const {
    constexpr std::int64_t kRowBytes = octavo::cpu::kStepBytes / Lines::kRows;  // of A, for one k
    for (std::int64_t k = 0; k < depth; k += Lines::kRows) {
      alignas(64) char lines[Lines::kRows * kSquareBytes] = {};
      alignas(64) char a[rows * octavo::cpu::kStepBytes] = {};
      const std::int64_t some = depth - k < Lines::kRows ? depth - k : Lines::kRows;
      for (std::int64_t i = 0; i < some; ++i) {
        Vec::store(lines + i * kSquareBytes, Vec::load_part(at.b + (k + i) * at.ldb, line_bytes));
      }
      for (std::int64_t r = 0; r < rows; ++r) {
        std::memcpy(a + r * octavo::cpu::kStepBytes, at.a + r * at.lda + k * kRowBytes,
                    static_cast<std::size_t>(some * kRowBytes));
      }
      auto none = octavo::cpu::RowsAhead::of(lines, kSquareBytes, 0, false);
      add(dot, {lines, kSquareBytes, a, octavo::cpu::kStepBytes}, 1, none);
    }
  }
};

template <class Lines>
struct AnyLines {
  using Type = Lines;
};
template <class Lines>
requires requires { typename Lines::Other; }
struct AnyLines<Lines> {
  using Type = typename Lines::Other;
};
// Lines of fewer than 64 bytes are copied, so that all are read once in place, and those that
// have to be looked at first.
template <class Lines>
constexpr bool kStagedLines =
    Lines::kBytes < kSquareBytes || !std::is_same_v<typename AnyLines<Lines>::Type, Lines>;

// Copies 64 bytes of each of `depth` rows of K, or those that are left and zeros, and sees them.
template <bool fetches, class Look>
OCTAVO_INLINE void copy_line(const LineCursor& at, std::int64_t bytes, std::int64_t depth,
                             octavo::cpu::RowsAhead& ahead, Look& seen, char* lines) {
  for (std::int64_t k = 0; k < depth; ++k) {
    if constexpr (fetches) ahead.fetch<kSquareBytes>();
    const Vec::Ints line = bytes < kSquareBytes ? Vec::load_part(at.b + k * at.ldb, bytes)
                                                : Vec::load_unaligned_ints(at.b + k * at.ldb);
    seen.look(line);
    Vec::store(lines + k * kSquareBytes, line);
  }
}

// A line of 64 bytes through `depth` rows of K, column `column` of the strip its first one: copied,
// and then taken by as many vectors as `Lines` have.
template <class Lines, int rows, bool fetches, Undo undo>
OCTAVO_INLINE void staged_line(const Dot& dot, const octavo::cpu::UnpackedTile& p,
                               std::int64_t column, const LineCursor& at, std::int64_t depth,
                               octavo::cpu::RowsAhead& ahead) {
  constexpr std::int64_t kRowBytes = octavo::cpu::kStepBytes / Lines::kRows;
  alignas(64) char lines[octavo::cpu::kMostTogether * kSquareBytes];
  typename Lines::Look seen(dot);
  copy_line<fetches>(at, kSquareBytes, depth, ahead, seen, lines);
  const std::int64_t whole = depth / Lines::kRows * Lines::kRows;
  const auto take = [&]<class Taken>() {
    for (std::int64_t v = 0; v < kSquareBytes; v += Lines::kBytes) {
      const LineSums<Taken, rows, 0, undo> sums(p,
                                                column + v / Lines::kBytes * Lines::kVectors * 16);
      const LineCursor from{lines + v, kSquareBytes, at.a, at.lda};
      sums.add(dot, from, whole / Lines::kRows, ahead);
      if (whole == depth) continue;
      sums.add_part(dot,
                    {from.b + whole * kSquareBytes, kSquareBytes, at.a + whole * kRowBytes, at.lda},
                    depth - whole, Lines::kBytes);
    }
  };
  if (seen.usual()) return take.template operator()<Lines>();
  take.template operator()<typename AnyLines<Lines>::Type>();
}

// All columns through `depth` rows of K, while those from `next` on are fetched.
template <class Lines, int rows, bool fetches, Undo undo>
OCTAVO_KERNEL void unpacked_lines(const Dot& dot, const octavo::cpu::UnpackedTile& p, LineCursor at,
                                  std::int64_t depth, const char* next) noexcept {
  using Any = typename AnyLines<Lines>::Type;
  using Sums = LineSums<Any, rows, fetches ? Any::kRows * Any::kBytes : 0, undo>;
  constexpr std::int64_t kColumns = Sums::kColumns;
  constexpr std::int64_t kElement = Lines::kBytes / kColumns;
  constexpr std::int64_t kRowBytes = octavo::cpu::kStepBytes / Lines::kRows;
  const std::int64_t whole = depth / Lines::kRows * Lines::kRows;
  LineCursor end = at;
  end.b += whole * at.ldb;
  end.a += whole * kRowBytes;
  const std::int64_t strip = p.columns * kElement;
  auto ahead = octavo::cpu::RowsAhead::of(next, strip, at.ldb, p.tile.first_level);
  std::int64_t j = 0;
  if constexpr (kStagedLines<Lines>) {
    constexpr std::int64_t kStaged = kSquareBytes / kElement;
    for (; p.columns - j >= kStaged; j += kStaged, at.b += kSquareBytes, end.b += kSquareBytes) {
      staged_line<Lines, rows, fetches, undo>(dot, p, j, at, depth, ahead);
    }
  }
  for (; j < p.columns; j += kColumns) {
    const Sums sums(p, j);
    const std::int64_t left = p.columns - j;
    if (left < kColumns) return sums.add_part(dot, at, depth, left * kElement);
    sums.add(dot, at, whole / Lines::kRows, ahead);
    if (whole < depth) sums.add_part(dot, end, depth - whole, Lines::kBytes);
    at.b += Lines::kBytes;
    end.b += Lines::kBytes;
  }
}

// Steps that were kept, of `vectors` of the columns that were kept beside each other.
template <class Lines, int vectors>
struct KeptLines {
  static constexpr int kRows = Lines::kRows, kVectors = vectors;
  static constexpr std::int64_t kRowBytes =
      kKeptVectors<Lines> * static_cast<int>(sizeof(Dot::Right)) / kRows;
  static OCTAVO_INLINE const Dot::Right* load(const Dot&, const char* b, std::int64_t) {
    return reinterpret_cast<const Dot::Right*>(b);
  }
  template <int v>
  static OCTAVO_INLINE Dot::Right step(const Dot&, const Dot::Right* kept) {
    return kept_step(kept + v);
  }
};

// The columns from `column` on whose steps are kept beside each other, through `depth` rows of K:
// some rows of A, whose sums are those from `row` on. The first ones keep the steps, for which
// there is room, the others take them, `vectors` at a time. Lines that are copied are whole.
template <class Lines, int rows, int vectors, int fetched, Undo undo, bool first>
OCTAVO_KERNEL void line_part(const Dot& dot, const octavo::cpu::UnpackedTile& p,
                             std::int64_t column, std::int64_t row, const LineCursor& at,
                             std::int64_t depth, octavo::cpu::RowsAhead& ahead,
                             Dot::Right* kept) noexcept {
  using Given = LineSums<Lines, rows, fetched, undo>;
  constexpr std::int64_t kElement = Lines::kBytes / Given::kColumns;
  constexpr std::int64_t kRowBytes = octavo::cpu::kStepBytes / Lines::kRows;
  const std::int64_t left = p.columns - column;
  if (!kStagedLines<Lines> && left < Given::kColumns) {
    return Given(p, column, row).add_part(dot, at, depth, left * kElement);
  }
  const std::int64_t whole = depth / Lines::kRows * Lines::kRows;
  constexpr int kStep = first ? Lines::kVectors : vectors;
  for (int v = 0; v < kKeptVectors<Lines>; v += kStep) {
    if constexpr (first) {
      const LineCursor from{at.b + 16 * v * kElement, at.ldb, at.a, at.lda};
      Given(p, column + 16 * v, row)
          .template add<true>(dot, from, whole / Lines::kRows, ahead, kept + v);
    } else {
      using Kept = KeptLines<Lines, vectors>;
      const LineCursor from{reinterpret_cast<const char*>(kept + v), Kept::kRowBytes, at.a, at.lda};
      LineSums<Kept, rows, fetched, undo>(p, column + 16 * v, row)
          .add(dot, from, whole / Lines::kRows, ahead);
    }
  }
  if (whole == depth) return;
  for (int v = 0; v < kKeptVectors<Lines>; v += Lines::kVectors) {
    const LineCursor rest{at.b + whole * at.ldb + 16 * v * kElement, at.ldb,
                          at.a + whole * kRowBytes, at.lda};
    Given(p, column + 16 * v, row).add_part(dot, rest, depth - whole, Lines::kBytes);
  }
}

// As many parts as a step has lines to fetch, evenly among them, fetch equal shares.
template <class Lines>
constexpr int fetched_by(int part, int parts) {
  constexpr int kLines = Lines::kRows * Lines::kBytes / kSquareBytes;
  int fetching = parts < kLines ? parts : kLines;
  while (kLines % fetching != 0) --fetching;
  const bool fetches = part == 0 || part * fetching / parts != (part - 1) * fetching / parts;
  return fetches ? kLines / fetching * kSquareBytes : 0;
}

// Puts the sums of each line in the order of columns.
template <class Lines>
OCTAVO_INLINE void order_sums(float* sums) {
  if constexpr (!Lines::kOrdered) {
    for (int i = 0; i < 4; i += Lines::kVectors) Vec::order<Lines::kVectors>(sums + i * 16);
  }
}

// What a group, or all of K, summed up goes where it belongs.
template <class Lines, int rows, bool first, Undo undo, std::size_t... r>
OCTAVO_KERNEL void finish_lines(const octavo::cpu::UnpackedTile& p, std::int64_t group,
                                std::index_sequence<r...>) noexcept {
  for (std::int64_t j = 0, panel = 0; j < p.columns; j += octavo::cpu::kRowSums, ++panel) {
    octavo::cpu::DotTile t = p.tile;
    auto* c = static_cast<float*>(t.c) + panel * p.panel_sums;
    if constexpr (undo == Undo::column_sums && first)
      order_sums<Lines>(reinterpret_cast<float*>(p.sums_out + j));
    (order_sums<Lines>(c + r * octavo::cpu::kRowSums), ...);
    if (t.total != nullptr) {
      t.total += panel * p.panel_sums;
      t.scale_b += panel * p.panel_scales + group * octavo::cpu::kRowSums;
    }
    for (std::int64_t v = 0; v < octavo::cpu::kRowSums; v += 16) {
      Dot::Sum sums[] = {Dot::read(c + r * octavo::cpu::kRowSums + v)...};
      if constexpr (undo == Undo::column_sums) {
        unpacked_take_away<rows>(sums, Dot::read(p.sums_out + j + v), t,
                                 std::make_index_sequence<rows>());
      }
      if (t.total == nullptr) {
        (Dot::write(c + r * octavo::cpu::kRowSums + v, sums[r]), ...);
        continue;
      }
      add_scaled<rows, 1>(sums, t, t.scale_a + group * t.scale_a_group_stride, t.scale_b,
                          std::make_index_sequence<rows>(), std::index_sequence<0>());
      t.total += 16;
      t.scale_b += 16;
    }
  }
}

// each<rows, row>() for `together` rows after the other, and for those that are left.
template <int together, int rows, int row = 0, class Each>
OCTAVO_INLINE void by_parts(const Each& each) {
  if constexpr (row < rows) {
    each.template operator()<(rows - row < together ? rows - row : together), row>();
    by_parts<together, rows, row + together>(each);
  }
}

// Columns are summed up once.
constexpr Undo undo_part(Undo undo, bool first) {
  return undo == Undo::column_sums && !first ? Undo::nothing : undo;
}

// All sums begin, which `bytes` of A from byte `first` on meet.
template <int rows, Undo undo, class AnyDot>
OCTAVO_INLINE void begin_lines(const AnyDot& dot, const octavo::cpu::UnpackedTile& p,
                               std::int64_t panels, std::int64_t first, std::int64_t bytes) {
  auto* c = static_cast<float*>(p.tile.c);  // or int32
  if constexpr (undo == Undo::row_sums) {
    const auto* a = static_cast<const char*>(p.tile.a) + first;
    for (std::int64_t r = 0; r < rows; ++r, a += p.tile.lda) {
      const typename AnyDot::Sum beginning = Vec::broadcast(unpacked_beginning(dot, a, bytes));
      for (std::int64_t i = 0; i < panels; ++i) {
        float* row = c + i * p.panel_sums + r * octavo::cpu::kRowSums;
        for (std::int64_t v = 0; v < octavo::cpu::kRowSums; v += 16)
          AnyDot::write(row + v, beginning);
      }
    }
    return;
  }
  for (std::int64_t i = 0; i < panels; ++i) {
    std::memset(c + i * p.panel_sums, 0, rows * octavo::cpu::kRowSums * sizeof(float));
  }
}

// Lines whose steps are flipped, and those that so many rows take.
template <class Lines>
struct FlippedLines : Lines {
  template <int v, class Integers, class Interleaved>
  static OCTAVO_INLINE typename Integers::Right step(const Integers& dot,
                                                     const Interleaved& interleaved) {
    return dot.flipped(Lines::template step<v>(dot, interleaved));
  }
};
template <class Lines, Undo undo>
using TakenLines = std::conditional_t<undo == Undo::row_sums, FlippedLines<Lines>, Lines>;
template <class LinesOf, int rows, Undo undo>
using LinesFor =
    TakenLines<typename LinesOf::template Of<rows + (undo == Undo::column_sums ? 1 : 0)>, undo>;

// Whether there are others than the first rows of A, which take what those keep; and the lines that
// all of them take then.
template <class LinesOf, int rows>
constexpr bool kTakesKept = (rows > LinesOf::kTogether) && LinesOf::kKeeps;
template <class LinesOf, Undo undo>
using FirstLines = LinesFor<LinesOf, LinesOf::kTogether, undo>;

// Rows of A, in parts, by the columns from `column` on whose steps are kept.
template <class Lines, class LinesOf, int rows, Undo undo>
OCTAVO_INLINE void line_parts(const Dot& dot, const octavo::cpu::UnpackedTile& p,
                              std::int64_t column, const LineCursor& at, std::int64_t depth,
                              octavo::cpu::RowsAhead& ahead, Dot::Right* kept) {
  constexpr int kTogether = LinesOf::kTogether;
  constexpr int kParts = (rows + kTogether - 1) / kTogether;
  by_parts<kTogether, rows>([&]<int some, int row>() {
    constexpr int kAlone = LinesOf::template Of<some>::kVectors;
    constexpr int kVectors = kAlone < kKeptVectors<Lines> ? kAlone : kKeptVectors<Lines>;
    constexpr int kFetched = kStagedLines<Lines> ? 0 : fetched_by<Lines>(row / kTogether, kParts);
    const LineCursor from{at.b, at.ldb, at.a + row * at.lda, at.lda};
    line_part<Lines, some, kVectors, kFetched, undo_part(undo, row == 0), row == 0>(
        dot, p, column, row, from, depth, ahead, kept);
  });
}

// All columns and rows of A through `depth` rows of K, while those ahead are fetched.
template <class LinesOf, int rows, Undo undo>
OCTAVO_INLINE void kept_lines(const Dot& dot, const octavo::cpu::UnpackedTile& p, LineCursor at,
                              std::int64_t depth, octavo::cpu::RowsAhead ahead) {
  using Lines = FirstLines<LinesOf, undo>;
  constexpr std::int64_t kColumns = kKeptVectors<Lines> * 16;
  constexpr std::int64_t kElement = Lines::kBytes / (Lines::kVectors * 16);
  typename Dot::Right kept[octavo::cpu::kMostTogether / Lines::kRows * kKeptVectors<Lines>];
  for (std::int64_t j = 0; j < p.columns; j += kColumns, at.b += kColumns * kElement) {
    if constexpr (kStagedLines<Lines>) {
      alignas(64) char lines[octavo::cpu::kMostTogether * kSquareBytes];
      typename Lines::Look seen(dot);
      copy_line<true>(at, (p.columns - j) * kElement, depth, ahead, seen, lines);
      const LineCursor from{lines, kSquareBytes, at.a, at.lda};
      if (seen.usual()) {
        line_parts<Lines, LinesOf, rows, undo>(dot, p, j, from, depth, ahead, kept);
      } else {
        line_parts<typename AnyLines<Lines>::Type, LinesOf, rows, undo>(dot, p, j, from, depth,
                                                                        ahead, kept);
      }
    } else {
      line_parts<Lines, LinesOf, rows, undo>(dot, p, j, at, depth, ahead, kept);
    }
  }
}

template <class LinesOf, int rows, Undo undo>
OCTAVO_INLINE void unpacked_strip(const octavo::cpu::UnpackedTile& p) {
  using One = typename LinesOf::template Of<1>;
  constexpr std::int64_t kRowBytes = octavo::cpu::kStepBytes / One::kRows;
  constexpr std::int64_t kElement = One::kBytes / (One::kVectors * 16);
  const octavo::cpu::DotTile& t = p.tile;
  const Dot dot(t);
  constexpr bool kSums = undo == Undo::column_sums;
  const std::int64_t depth = t.depth / kRowBytes;
  const std::int64_t panels = (p.columns + octavo::cpu::kRowSums - 1) / octavo::cpu::kRowSums;
  const std::int64_t group_depth = t.total == nullptr ? depth : t.group / kRowBytes;
  const std::int64_t strip = p.columns * kElement;
  const std::int64_t together = octavo::cpu::rows_together(strip, rows, t.first_level);
  for (std::int64_t begin = 0, group = 0; begin < depth || group == 0; ++group) {
    const std::int64_t end = depth - begin < group_depth ? depth : begin + group_depth;
    begin_lines<rows, undo>(dot, p, panels, begin * kRowBytes, (end - begin) * kRowBytes);
    if constexpr (kSums) {
      std::memset(p.sums_out, 0,
                  static_cast<std::size_t>(panels * octavo::cpu::kRowSums) * sizeof(std::int32_t));
    }
    while (begin < end) {
      const std::int64_t some = end - begin < together ? end - begin : together;
      const LineCursor at{static_cast<const char*>(t.b) + begin * t.ldb, t.ldb,
                          static_cast<const char*>(t.a) + begin * kRowBytes, t.lda};
      begin += some;
      // After K, the next strip.
      const char* next =
          begin < depth ? at.b + some * t.ldb : static_cast<const char*>(t.b) + strip;
      if constexpr (kTakesKept<LinesOf, rows>) {
        kept_lines<LinesOf, rows, undo>(
            dot, p, at, some, octavo::cpu::RowsAhead::of(next, strip, t.ldb, p.tile.first_level));
      } else {
        by_parts<LinesOf::kTogether, rows>([&]<int some_rows, int row>() {
          constexpr bool kFirst = row == 0;
          constexpr Undo kUndo = undo_part(undo, kFirst);
          using Lines = LinesFor<LinesOf, some_rows, kUndo>;
          LineCursor rows_at = at;
          rows_at.a += row * at.lda;
          unpacked_lines<Lines, some_rows, kFirst, kUndo>(dot, from_row(p, row), rows_at, some,
                                                          next);
        });
      }
    }
    by_parts<LinesOf::kTogether, rows>([&]<int some_rows, int row>() {
      using Lines = std::conditional_t<kTakesKept<LinesOf, rows>, FirstLines<LinesOf, undo>,
                                       LinesFor<LinesOf, some_rows, undo_part(undo, row == 0)>>;
      finish_lines<Lines, some_rows, row == 0, undo>(from_row(p, row), group,
                                                     std::make_index_sequence<some_rows>());
    });
  }
}
template <class LinesOf, int rows>
OCTAVO_KERNEL void unpacked_rows(const octavo::cpu::UnpackedTile& p) noexcept {
  unpacked_undoing(
      p, [&]<Undo undo>() OCTAVO_KERNEL_LAMBDA { unpacked_strip<LinesOf, rows, undo>(p); });
}

// Lines of as many vectors as leave registers for two: fewer for more rows.
template <template <int> class Lines, int most_vectors, int most_rows>
struct FewerVectors {
  static constexpr int kMostRows = most_rows, kTogether = 4;
  static constexpr bool kKeeps = true;
  template <int rows>
  using Of = Lines<(rows > 2                        ? 1
                    : rows == 2 && most_vectors > 2 ? 2
                                                    : most_vectors)>;
};

// The same Lines for all numbers of rows. Lines that are copied, AVX-512's codes, are copied by
// each part: no CPU that takes them has been timed with steps that are kept.
template <class Lines, int most_rows, int together = 4>
struct AnyRows {
  static constexpr int kMostRows = most_rows, kTogether = together;
  static constexpr bool kKeeps = !kStagedLines<Lines>;
  template <int>
  using Of = Lines;
};

template <class LinesOf, std::size_t... i>
octavo::cpu::UnpackedKernel unpacked_rows_of(std::int64_t rows,
                                             std::index_sequence<i...>) noexcept {
  static constexpr std::array kKernels{&unpacked_rows<LinesOf, static_cast<int>(i) + 1>...};
  constexpr auto kMost = static_cast<std::int64_t>(sizeof...(i));
  return rows < 1 || rows > kMost ? nullptr : kKernels[static_cast<std::size_t>(rows - 1)];
}
template <class LinesOf>
octavo::cpu::UnpackedKernel find_unpacked_rows(std::int64_t rows) noexcept {
  return unpacked_rows_of<LinesOf>(rows, std::make_index_sequence<LinesOf::kMostRows>());
}
