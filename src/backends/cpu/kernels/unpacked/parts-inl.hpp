// SPDX-License-Identifier: Apache-2.0
// Floats: more rows than registers hold sums of, by a weight [N, K] that is transposed in place
// (unpacked/columns-inl.hpp):
//
//   transposed squares  -- make -->  step 0  [16 columns]     row 0 .. 5    sums in registers, and
//   in c
//                                step 1  [16 columns]     row 6 .. 10   while other rows have them
//                                  ..                       ..
//
//   c[r] = add(c[r], A[r][step], step), ascending, as in a packed panel
//
// What takes long to make of a word is made once, in the first-level cache, and not again for every
// part of the rows.
//
// Squares are transposed ahead (Transposed::Strip) and have words(). A Source has besides
//   kLightRows         up to so many rows make steps as they need them, in registers
//
// Needs: add_scaled, broadcast_step, Dot, FetchedColumns, find_unpacked_columns, groups_end_inside,
//        kSquareBytes, kSquareColumns, kTransposingRows, NothingFetched, Square, StagedSquares,
//        TransposingOf, Vec
// Gives: find_unpacked_transposed

// At once: their sums, a step and an element of A fit the registers; or what a step is made of,
// too.
constexpr int kPartRows = 6, kLightPartRows = 5;
constexpr int kLeastPartRows = 3;  // of five rows or more, in as few parts as there can be
constexpr int kPartsRows = 16;     // for more of them a packed panel is faster

// Words, and the rows beside them.
struct PartWords {
  const char* words;
  std::int64_t count;
  const char* a;
  std::int64_t lda;
  float* c;  // kRowSums from one row to the next
};

// Words that are steps.
struct StepSource {
  static constexpr int kSteps = 1;
  static OCTAVO_INLINE Vec::Ints load(const Dot&, const Vec::Ints& word) { return word; }
  template <int>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const Vec::Ints& word) {
    return word;
  }
};
OCTAVO_INLINE Vec::Floats float_step(const Vec::Floats& step) { return step; }
OCTAVO_INLINE Vec::Floats float_step(const Vec::Ints& step) { return Vec::as_floats(step); }

template <std::size_t... r>
OCTAVO_INLINE void part_step(Vec::Floats (&sums)[sizeof...(r)], const Vec::Floats& step,
                             const char* a, std::int64_t lda, std::index_sequence<r...>) {
  ((sums[r] = Vec::fused(Vec::as_floats(broadcast_step(a + static_cast<std::int64_t>(r) * lda)),
                         step, sums[r])),
   ...);
}
template <class Source, std::size_t... r, std::size_t... s>
OCTAVO_INLINE void add_part(const Dot& dot, const PartWords& t, std::index_sequence<r...> rows,
                            std::index_sequence<s...>) {
  constexpr auto kNext = octavo::cpu::kRowSums;
  Vec::Floats sums[] = {Vec::load_floats(t.c + static_cast<std::int64_t>(r) * kNext)...};
  const char* a = t.a;
  const char* words = t.words;
  OCTAVO_FLAT_LOOP
  for (std::int64_t i = t.count; i > 0; --i, words += 64) {
    const auto loaded = Source::load(dot, Vec::load_ints(words));
    (part_step(sums, float_step(Source::template step<static_cast<int>(s)>(dot, loaded)),
               a + s * octavo::cpu::kStepBytes, t.lda, rows),
     ...);
    a += Source::kSteps * octavo::cpu::kStepBytes;
  }
  (Vec::store(t.c + static_cast<std::int64_t>(r) * kNext, sums[r]), ...);
}
template <class Source, int rows>
OCTAVO_KERNEL void add_rows(const Dot& dot, const PartWords& t) noexcept {
  add_part<Source>(dot, t, std::make_index_sequence<rows>(),
                   std::make_index_sequence<Source::kSteps>());
}

// All rows, in as few parts as they need, which differ by one row at most.
template <class Source>
OCTAVO_INLINE void add_all(const Dot& dot, PartWords t, int rows) {
  constexpr int kMost = Source::kSteps == 1 ? kPartRows : kLightPartRows;
  static constexpr std::array kKernels{&add_rows<Source, 3>, &add_rows<Source, 4>,
                                       &add_rows<Source, 5>, &add_rows<Source, kMost>};
  static_assert(kLeastPartRows == 3 && kPartRows == 6 && kLightPartRows == 5);
  for (int parts = (rows + kMost - 1) / kMost; parts > 0; --parts) {
    const int some = (rows + parts - 1) / parts;
    kKernels[static_cast<std::size_t>(some - kLeastPartRows)](dot, t);
    rows -= some;
    t.a += some * t.lda;
    t.c += some * octavo::cpu::kRowSums;
  }
}

// A transposed square as steps.
template <class Source, std::size_t... s>
OCTAVO_INLINE void make_steps(const Dot& dot, const char* words, char* out,
                              std::index_sequence<s...>) {
  OCTAVO_FLAT_LOOP
  for (int w = 0; w < 16; ++w, words += 64, out += Source::kSteps * 64) {
    const auto loaded = Source::load(dot, Vec::load_ints(words));
    (Vec::store(out + s * 64, Source::template step<static_cast<int>(s)>(dot, loaded)), ...);
  }
}

// A square by all rows.
template <class Source>
OCTAVO_INLINE void parts_square(const Dot& dot, const typename Source::Transposed& square,
                                const char* a, std::int64_t lda, float* c, int rows) {
  constexpr std::make_index_sequence<Source::kSteps> kSteps;
  if constexpr (Source::kLightRows > 0) {
    if (rows <= Source::kLightRows) {
      using Taken = std::conditional_t<Source::kSteps == 1, StepSource, Source>;
      return add_all<Taken>(dot, {square.words(), 16, a, lda, c}, rows);
    }
  }
  if constexpr (Source::kLightRows < kPartsRows) {
    alignas(64) char steps[16 * Source::kSteps * 64];
    if constexpr (requires { typename Source::Other; }) {
      if (square.usual())
        make_steps<Source>(dot, square.words(), steps, kSteps);
      else
        make_steps<typename Source::Other>(dot, square.words(), steps, kSteps);
    } else {
      make_steps<Source>(dot, square.words(), steps, kSteps);
    }
    add_all<StepSource>(dot, {steps, 16 * Source::kSteps, a, lda, c}, rows);
  }
}

// `depth` bytes of the rows by up to 16 columns; goes on behind them.
template <class Source>
OCTAVO_INLINE void parts_depth(const Dot& dot, Square& at, TransposingOf<Source>& transposing,
                               FetchedColumns<Source, 1>& fetched, int rows, std::int64_t columns,
                               std::int64_t depth, float* c) {
  constexpr std::int64_t kRowBytes = kSquareBytes * Source::kSteps;  // of A beside a square
  NothingFetched nothing;
  if (columns == kSquareColumns) {
    for (; depth >= kRowBytes; depth -= kRowBytes, at.b += kSquareBytes, at.a += kRowBytes) {
      const std::int64_t left = fetched.left(at.b);
      fetched.begin(left);
      fetched.lines();
      const auto square = transposing.template turn<0>(dot, at.b, at.ldb, left, nothing);
      parts_square<Source>(dot, square, at.a, at.lda, c, rows);
    }
  }
  for (; depth > 0; depth -= kRowBytes) {
    const std::int64_t a_size = depth < kRowBytes ? depth : kRowBytes;
    StagedSquares<kPartsRows, 1, kRowBytes> staged;
    const Square square = staged.of(at, columns, a_size / Source::kSteps, a_size, rows);
    TransposingOf<Source> staged_transposing(square.b, square.ldb);
    const auto transposed =
        staged_transposing.template turn<0>(dot, square.b, square.ldb, kSquareBytes, nothing);
    parts_square<Source>(dot, transposed, square.a, square.lda, c, rows);
    at.b += a_size / Source::kSteps;
    at.a += a_size;
  }
}

// Up to 16 columns from column `first` of a panel on.
template <class Source>
OCTAVO_KERNEL void parts_block(const octavo::cpu::UnpackedTile& p, int rows, std::int64_t first,
                               std::int64_t columns) noexcept {
  octavo::cpu::DotTile t = p.tile;
  const char* b = static_cast<const char*>(t.b) + first * t.ldb;
  float* c = static_cast<float*>(t.c) + first;
  const Dot dot(t);
  Square at{b, t.ldb, static_cast<const char*>(t.a), t.lda};
  FetchedColumns<Source, 1> fetched(b, t.ldb, t.depth / Source::kSteps, t.first_level);
  TransposingOf<Source> transposing(b, t.ldb);
  for (std::int64_t depth = t.depth, group = 0;; ++group) {
    const std::int64_t part = t.total == nullptr || depth <= t.group ? depth : t.group;
    for (int r = 0; r < rows; ++r) Vec::store(c + r * octavo::cpu::kRowSums, Vec::zero_floats());
    parts_depth<Source>(dot, at, transposing, fetched, rows, columns, part, c);
    depth -= part;
    for (int r = 0; r < rows && t.total != nullptr; ++r) {
      const Dot::Sum sums[] = {Dot::read(c + r * octavo::cpu::kRowSums)};
      octavo::cpu::DotTile row = t;
      row.total += first + r * octavo::cpu::kRowSums;
      add_scaled<1, 1>(sums, row, t.scale_a + group * t.scale_a_group_stride + r * t.scale_a_stride,
                       t.scale_b + first + group * octavo::cpu::kRowSums, std::index_sequence<0>(),
                       std::index_sequence<0>());
    }
    if (depth == 0) return;
  }
}

template <class Source, int rows>
OCTAVO_KERNEL void unpacked_parts(const octavo::cpu::UnpackedTile& p) noexcept {
  for (std::int64_t j = 0; j < p.columns; j += kSquareColumns) {
    const std::int64_t left = p.columns - j;
    parts_block<Source>(p, rows, j, left < kSquareColumns ? left : kSquareColumns);
  }
}

template <class Source, std::size_t... i>
octavo::cpu::UnpackedKernel unpacked_parts_of(std::int64_t rows,
                                              std::index_sequence<i...>) noexcept {
  constexpr int kFirst = kTransposingRows<Source> + 1;
  static constexpr std::array kKernels{&unpacked_parts<Source, static_cast<int>(i) + kFirst>...};
  return rows < kFirst || rows > kPartsRows ? nullptr
                                            : kKernels[static_cast<std::size_t>(rows - kFirst)];
}
// Whatever number of rows there is.
template <class Source>
octavo::cpu::UnpackedKernel find_unpacked_transposed(
    const octavo::cpu::UnpackedWanted& wanted) noexcept {
  if (wanted.rows <= kTransposingRows<Source>) return find_unpacked_columns<Source>(wanted);
  if (groups_end_inside<Source>(wanted)) return nullptr;
  return unpacked_parts_of<Source>(
      wanted.rows, std::make_index_sequence<kPartsRows - kTransposingRows<Source>>());
}
