// SPDX-License-Identifier: Apache-2.0
// int8: a few rows by a weight [N, K], along K. Sums are exact, so that a lane may be a place along
// K and need not be a column; nothing is transposed:
//
//   row r       [a0 a1 .. a63]       sum[r], lanes of int32  +=  a few products each
//   column j    [b0 b1 .. b63]       sums of lanes are added up at the end of a stretch of K
//
// One column at a time, so that a weight passes in one stream, and beside it the rows of a stretch
// of K, copied line by line as they meet the column, flipped if it is not:
//
//   [k 0 .. 63: row 0, row 1, ..][k 64 .. 127: row 0, row 1, ..] ..      in the first-level cache
//
// More rows than these are faster packed: every line of theirs is loaded for every line of a
// column.
//
// An `Along` says what one register does. It has
//   kBytes, kRowBytes  what a register takes of the weight, and of a row of A beside it
//   Sum, kLanes        int32 lanes; zero(), plus(sum, sum), store(p, sum)
//   load(dot, b)       a register of the weight, at any address; left(a): of a copied row, aligned
//   one(dot)           what left() makes of ones that are flipped
//   add(sum, a, b)
//   Flip               where either may be unsigned: made of the `Dot`, flipped(piece), and what
//                      add() takes beside that, kept(left)
//   totals<count>(lanes, out)  out[i]: the sum of kLanes lanes from lanes + i * kLanes on; `lanes`
//                      has room for 16 of them, and out, too
//
// Needs: Along, Dot, kSquareBytes, Undo, unpacked_beginning, unpacked_undoing, Vec
// Gives: along, copy_lines, find_unpacked_along, FlipOf, kAlongRows, take_shifts, unpacked_along

constexpr int kAlongRows = 8;                  // at most
constexpr std::int64_t kAlongCopy = 16 << 10;  // bytes of rows in a stretch of K
// Of the weight, into the cache of a level. Where a line takes few instructions, the loads of as
// many lines as memory has on their way are under way themselves, and prefetches into the second
// level that go far beyond them only wait with them.
template <int rows, int level>
constexpr std::int64_t kAlongAhead =
    level == 2 && rows == 1 && Along::kBytes == kSquareBytes ? 2 << 10 : 8 << 10;
// What meets a line of the weight, and bytes of a row that meet one of its bytes.
constexpr int kAlongPieces = static_cast<int>(kSquareBytes / Along::kBytes);
constexpr std::int64_t kAlongWidth = Along::kRowBytes / Along::kBytes;
constexpr std::int64_t kAlongLine = kSquareBytes * kAlongWidth;
// Few sums wait for each other: every piece of a line has its own then.
template <int sums>
constexpr int kAlongSets = sums* kAlongPieces <= 4 ? kAlongPieces : 1;

// A column over a stretch of K beside the rows' lines, and what is fetched: `ahead` bytes further
// on, from where `wrapped` bytes are to be added.
struct AlongColumn {
  const char* b;
  const char* rows;
  std::int64_t depth;  // a multiple of 64
  std::int64_t ahead, whole, wrapped;
};

template <class AnyAlong, Undo undo>
struct FlipOf {
  struct Type {
    explicit Type(const Dot&) {}
  };
};
template <class AnyAlong>
struct FlipOf<AnyAlong, Undo::row_sums> {
  using Type = typename AnyAlong::Flip;
};

// By column sums: beside the sums of rows that of the column itself, the last one.
template <int rows, Undo undo, class Flip, std::size_t... r>
OCTAVO_INLINE void along_piece(const Dot& dot, [[maybe_unused]] const Flip& flip, Along::Sum* sums,
                               const char* a, const char* b, std::index_sequence<r...>) {
  const auto piece = Along::load(dot, b);
  if constexpr (undo == Undo::row_sums) {
    const auto flipped = flip.flipped(piece);
    ((sums[r] = Along::add(sums[r], flipped, flip.kept(Along::left(a + r * kAlongLine)))), ...);
  } else {
    ((sums[r] = Along::add(sums[r], Along::left(a + r * kAlongLine), piece)), ...);
  }
  if constexpr (undo == Undo::column_sums)
    sums[rows] = Along::add(sums[rows], Along::one(dot), piece);
}

// The lanes of all sums.
template <int rows, Undo undo, int level, std::size_t... i, std::size_t... s, std::size_t... piece>
OCTAVO_INLINE void along_column(const Dot& dot, const AlongColumn& t, std::int32_t* lanes,
                                std::index_sequence<i...>, std::index_sequence<s...>,
                                std::index_sequence<piece...>) {
  constexpr std::size_t kSums = sizeof...(i), kSets = sizeof...(s) / kSums;
  constexpr std::make_index_sequence<rows> kRows;
  const typename FlipOf<Along, undo>::Type flip(dot);
  Along::Sum sums[] = {((void)s, Along::zero())...};
  const char* a = t.rows;
  OCTAVO_FLAT_LOOP
  for (std::int64_t k = 0; k < t.depth; k += kSquareBytes, a += rows * kAlongLine) {
    const char* b = t.b + k;
    __builtin_prefetch(b + t.ahead + (k < t.whole ? 0 : t.wrapped), 0, 4 - level);
    (along_piece<rows, undo>(dot, flip, sums + piece % kSets * kSums, a + piece * Along::kRowBytes,
                             b + piece * Along::kBytes, kRows),
     ...);
  }
  if constexpr (kSets > 1) {
    ((s >= kSums ? void(sums[s % kSums] = Along::plus(sums[s % kSums], sums[s])) : void()), ...);
  }
  (Along::store(lanes + i * Along::kLanes, sums[i]), ...);
}

// The sums of one column.
template <int rows, Undo undo, int level>
OCTAVO_KERNEL void along_sums(const Dot& dot, const AlongColumn& t, std::int32_t* sums) noexcept {
  constexpr int kSums = rows + (undo == Undo::column_sums ? 1 : 0);
  alignas(64) std::int32_t lanes[16 * Along::kLanes];  // some are left as they are
  along_column<rows, undo, level>(dot, t, lanes, std::make_index_sequence<kSums>(),
                                  std::make_index_sequence<kSums * kAlongSets<kSums>>(),
                                  std::make_index_sequence<kAlongPieces>());
  Along::totals<kSums>(lanes, sums);
}

// A stretch of K: adds to the sums of rows and of columns; those of rows begin at `beginnings`.
template <int rows, Undo undo, int level>
OCTAVO_INLINE void along_stretch(const Dot& dot, const octavo::cpu::UnpackedTile& p, AlongColumn t,
                                 std::int64_t ldb, bool add,
                                 const std::uint32_t (&beginnings)[rows]) {
  auto* c = static_cast<std::uint32_t*>(p.tile.c);
  for (std::int64_t j = 0; j < p.columns; ++j, t.b += ldb) {
    alignas(64) std::int32_t sums[16];
    along_sums<rows, undo, level>(dot, t, sums);
    for (int r = 0; r < rows; ++r) {
      std::uint32_t& sum = c[r * octavo::cpu::kRowSums + j];
      sum = static_cast<std::uint32_t>(sums[r]) + (add ? sum : beginnings[r]);
    }
    if constexpr (undo == Undo::column_sums) p.sums_out[j] = sums[rows] + (add ? p.sums_out[j] : 0);
  }
}

// Bytes [0, depth) of rows as they meet columns, line by line, a last one with zeros behind it.
template <int rows, Undo undo>
void copy_lines(const Dot& dot, const char* a, std::int64_t lda, std::int64_t depth,
                char* out) noexcept {
  for (std::int64_t k = 0; k < depth; k += kAlongLine) {
    for (int r = 0; r < rows; ++r) {
      for (std::int64_t part = k; part < k + kAlongLine; part += 64, out += 64) {
        const Vec::Ints bytes =
            part < depth ? Vec::load_part(a + r * lda + part, depth - part) : Vec::zero_ints();
        Vec::store(out, undo == Undo::row_sums ? bytes : dot.flipped(bytes));
      }
    }
  }
}

// Shifts times columns' sums, less what of a shift is undone already; without `sums_out` all
// shifts are 0.
OCTAVO_INLINE void take_shifts(const octavo::cpu::UnpackedTile& p, std::int64_t rows,
                               const std::int32_t* sums, std::uint32_t undone) {
  const octavo::cpu::DotTile& t = p.tile;
  for (std::int64_t r = 0; r < rows; ++r) {
    auto* c = static_cast<std::uint32_t*>(t.c) + r * octavo::cpu::kRowSums;
    const std::int32_t all = p.sums_out != nullptr ? t.shift[r * t.shift_stride] : 0;
    const std::uint32_t shift = static_cast<std::uint32_t>(all) - undone;
    for (std::int64_t j = 0; j < p.columns; ++j)
      c[j] -= shift * static_cast<std::uint32_t>(sums[j]);
  }
}

template <int rows, Undo undo, int level>
OCTAVO_INLINE void along(const octavo::cpu::UnpackedTile& p) {
  constexpr std::int64_t kStretch = kAlongCopy / rows / kAlongLine * kSquareBytes;
  const octavo::cpu::DotTile& t = p.tile;
  const Dot dot(t);
  alignas(64) char lines[kStretch * kAlongWidth * rows];
  const auto* a = static_cast<const char*>(t.a);
  const auto* b = static_cast<const char*>(t.b);
  const std::int64_t all = t.depth / kAlongWidth;
  const std::int64_t tail = all % kSquareBytes;
  std::uint32_t beginnings[rows] = {};
  if constexpr (undo == Undo::row_sums) {
    for (int r = 0; r < rows; ++r) {
      beginnings[r] = static_cast<std::uint32_t>(unpacked_beginning(dot, a + r * t.lda, t.depth));
    }
  }
  std::int64_t k = 0;
  while (k < all - tail) {
    const std::int64_t left = all - tail - k;
    const std::int64_t depth = left < kStretch ? left : kStretch;
    copy_lines<rows, undo>(dot, a + k * kAlongWidth, t.lda, depth * kAlongWidth, lines);
    const std::int64_t beyond = kAlongAhead<rows, level> % depth;
    along_stretch<rows, undo, level>(dot, p,
                                     {.b = b + k,
                                      .rows = lines,
                                      .depth = depth,
                                      .ahead = kAlongAhead<rows, level> / depth * t.ldb + beyond,
                                      .whole = depth - beyond,
                                      .wrapped = t.ldb - depth},
                                     t.ldb, k > 0, beginnings);
    k += depth;
  }
  if (tail > 0 || all == 0) {
    alignas(64) char columns[octavo::cpu::kRowSums * kSquareBytes];
    for (std::int64_t j = 0; j < p.columns; ++j) {
      Vec::store(columns + j * kSquareBytes, Vec::load_part(b + k + j * t.ldb, tail));
    }
    copy_lines<rows, undo>(dot, a + k * kAlongWidth, t.lda, tail * kAlongWidth, lines);
    along_stretch<rows, undo, level>(dot, p, {columns, lines, tail > 0 ? kSquareBytes : 0, 0, 0, 0},
                                     kSquareBytes, k > 0, beginnings);
  }
  if constexpr (undo == Undo::column_sums) take_shifts(p, rows, p.sums_out, 0);
}
template <int rows>
OCTAVO_KERNEL void unpacked_along(const octavo::cpu::UnpackedTile& p) noexcept {
  unpacked_undoing(p, [&]<Undo undo>() OCTAVO_KERNEL_LAMBDA {
    if (octavo::cpu::kAsksForFirstLevel && p.tile.first_level) return along<rows, undo, 1>(p);
    along<rows, undo, 2>(p);
  });
}

template <std::size_t... row>
constexpr auto along_kernels(std::index_sequence<row...>) {
  return std::array<octavo::cpu::UnpackedKernel, sizeof...(row)>{
      &unpacked_along<static_cast<int>(row) + 1>...};
}
[[maybe_unused]] octavo::cpu::UnpackedKernel find_unpacked_along(std::int64_t rows) noexcept {
  static constexpr auto kKernels = along_kernels(std::make_index_sequence<kAlongRows>());
  return rows < 1 || rows > kAlongRows ? nullptr : kKernels[static_cast<std::size_t>(rows - 1)];
}
