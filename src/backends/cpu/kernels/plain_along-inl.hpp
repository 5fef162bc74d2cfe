// SPDX-License-Identifier: Apache-2.0
// int8: a few rows by a weight [N, K], along K. Sums are exact, so that a lane may be a place along
// K and need not be a column; nothing is turned:
//
//   row r       [a0 a1 .. a63]       sum[r], lanes of int32  +=  a few products each
//   column j    [b0 b1 .. b63]       sums of lanes are added up at the end of a stretch of K
//
// One column at a time, so that a weight passes in one stream, and beside it the rows of a stretch
// of K, flipped and copied line by line as they meet the column:
//
//   [k 0 .. 63: row 0, row 1, ..][k 64 .. 127: row 0, row 1, ..] ..      in the first-level cache
//
// More rows than these are faster packed: every line of theirs is loaded for every line of a
// column.
//
// Included inside an instruction-set region after plain_columns-inl.hpp and an `Along`, which says
// what one register does; every including file gets its own copy. An `Along` has
//   kBytes, kRowBytes  what a register takes of the weight, and of a row of A beside it
//   Sum, kLanes        int32 lanes; zero(), plus(sum, sum), store(p, sum)
//   load(dot, b)       a register of the weight, at any address; left(a): of a flipped row, aligned
//   one(dot)           what left() makes of ones that are flipped
//   add(sum, a, b)
//   totals<count>(lanes, out)  out[i]: the sum of kLanes lanes from lanes + i * kLanes on; `lanes`
//                      has room for 16 of them, and out, too

constexpr int kAlongRows = 8;                  // at most
constexpr std::int64_t kAlongCopy = 16 << 10;  // bytes of rows in a stretch of K
// Of the weight. Where a line takes few instructions, the loads of as many lines as memory has on
// their way are under way themselves, and prefetches that go far beyond them only wait with them.
template <int rows>
constexpr std::int64_t kAlongAhead = rows == 1 && Along::kBytes == kSquareBytes ? 2 << 10 : 8 << 10;
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

// `ones`: beside the sums of rows that of the column itself, the last one.
template <int rows, bool ones, std::size_t... r>
OCTAVO_INLINE void along_piece(const Dot& dot, Along::Sum* sums, const char* a, const char* b,
                               std::index_sequence<r...>) {
  const auto piece = Along::load(dot, b);
  ((sums[r] = Along::add(sums[r], Along::left(a + r * kAlongLine), piece)), ...);
  if constexpr (ones) sums[rows] = Along::add(sums[rows], Along::one(dot), piece);
}

// The lanes of all sums.
template <int rows, bool ones, std::size_t... i, std::size_t... s, std::size_t... piece>
OCTAVO_INLINE void along_column(const Dot& dot, const AlongColumn& t, std::int32_t* lanes,
                                std::index_sequence<i...>, std::index_sequence<s...>,
                                std::index_sequence<piece...>) {
  constexpr std::size_t kSums = sizeof...(i), kSets = sizeof...(s) / kSums;
  constexpr std::make_index_sequence<rows> kRows;
  Along::Sum sums[] = {((void)s, Along::zero())...};
  const char* a = t.rows;
  OCTAVO_FLAT_LOOP
  for (std::int64_t k = 0; k < t.depth; k += kSquareBytes, a += rows * kAlongLine) {
    const char* b = t.b + k;
    __builtin_prefetch(b + t.ahead + (k < t.whole ? 0 : t.wrapped), 0, 2);
    (along_piece<rows, ones>(dot, sums + piece % kSets * kSums, a + piece * Along::kRowBytes,
                             b + piece * Along::kBytes, kRows),
     ...);
  }
  if constexpr (kSets > 1) {
    ((s >= kSums ? void(sums[s % kSums] = Along::plus(sums[s % kSums], sums[s])) : void()), ...);
  }
  (Along::store(lanes + i * Along::kLanes, sums[i]), ...);
}

// The sums of one column.
template <int rows, bool ones>
OCTAVO_KERNEL void along_sums(const Dot& dot, const AlongColumn& t, std::int32_t* sums) noexcept {
  constexpr int kSums = rows + (ones ? 1 : 0);
  alignas(64) std::int32_t lanes[16 * Along::kLanes];  // some are left as they are
  along_column<rows, ones>(dot, t, lanes, std::make_index_sequence<kSums>(),
                           std::make_index_sequence<kSums * kAlongSets<kSums>>(),
                           std::make_index_sequence<kAlongPieces>());
  Along::totals<kSums>(lanes, sums);
}

// A stretch of K: adds to, or begins, the sums of rows and of columns.
template <int rows, bool ones>
OCTAVO_INLINE void along_stretch(const Dot& dot, const octavo::cpu::PlainTile& p, AlongColumn t,
                                 std::int64_t ldb, bool add) {
  auto* c = static_cast<std::uint32_t*>(p.tile.c);
  for (std::int64_t j = 0; j < p.columns; ++j, t.b += ldb) {
    alignas(64) std::int32_t sums[16];
    along_sums<rows, ones>(dot, t, sums);
    for (int r = 0; r < rows; ++r) {
      std::uint32_t& sum = c[r * octavo::cpu::kRowSums + j];
      sum = static_cast<std::uint32_t>(sums[r]) + (add ? sum : 0);
    }
    if constexpr (ones) p.sums_out[j] = sums[rows] + (add ? p.sums_out[j] : 0);
  }
}

// Bytes [0, depth) of rows, flipped, line by line, a last one with zeros behind it.
template <int rows>
void copy_lines(const Dot& dot, const char* a, std::int64_t lda, std::int64_t depth,
                char* out) noexcept {
  for (std::int64_t k = 0; k < depth; k += kAlongLine) {
    for (int r = 0; r < rows; ++r) {
      for (std::int64_t part = k; part < k + kAlongLine; part += 64, out += 64) {
        const Vec::Ints bytes =
            part < depth ? Vec::load_part(a + r * lda + part, depth - part) : Vec::zero_ints();
        Vec::store(out, dot.flipped(bytes));
      }
    }
  }
}

template <int rows, bool ones>
OCTAVO_INLINE void along(const octavo::cpu::PlainTile& p) {
  constexpr std::int64_t kStretch = kAlongCopy / rows / kAlongLine * kSquareBytes;
  const octavo::cpu::DotTile& t = p.tile;
  const Dot dot(t);
  alignas(64) char lines[kStretch * kAlongWidth * rows];
  const auto* a = static_cast<const char*>(t.a);
  const auto* b = static_cast<const char*>(t.b);
  const std::int64_t all = t.depth / kAlongWidth;
  const std::int64_t tail = all % kSquareBytes;
  std::int64_t k = 0;
  while (k < all - tail) {
    const std::int64_t left = all - tail - k;
    const std::int64_t depth = left < kStretch ? left : kStretch;
    copy_lines<rows>(dot, a + k * kAlongWidth, t.lda, depth * kAlongWidth, lines);
    const std::int64_t beyond = kAlongAhead<rows> % depth;
    along_stretch<rows, ones>(dot, p,
                              {.b = b + k,
                               .rows = lines,
                               .depth = depth,
                               .ahead = kAlongAhead<rows> / depth * t.ldb + beyond,
                               .whole = depth - beyond,
                               .wrapped = t.ldb - depth},
                              t.ldb, k > 0);
    k += depth;
  }
  if (tail > 0 || all == 0) {
    alignas(64) char columns[octavo::cpu::kRowSums * kSquareBytes];
    for (std::int64_t j = 0; j < p.columns; ++j) {
      Vec::store(columns + j * kSquareBytes, Vec::load_part(b + k + j * t.ldb, tail));
    }
    copy_lines<rows>(dot, a + k * kAlongWidth, t.lda, tail * kAlongWidth, lines);
    along_stretch<rows, ones>(dot, p, {columns, lines, tail > 0 ? kSquareBytes : 0, 0, 0, 0},
                              kSquareBytes, k > 0);
  }
  if constexpr (!ones) return;
  for (int r = 0; r < rows; ++r) {
    auto* c = static_cast<std::uint32_t*>(t.c) + r * octavo::cpu::kRowSums;
    const auto shift = static_cast<std::uint32_t>(t.shift[r * t.shift_stride]);
    for (std::int64_t j = 0; j < p.columns; ++j) {
      c[j] -= shift * static_cast<std::uint32_t>(p.sums_out[j]);
    }
  }
}
template <int rows>
OCTAVO_KERNEL void plain_along(const octavo::cpu::PlainTile& p) noexcept {
  p.sums_out != nullptr ? along<rows, true>(p) : along<rows, false>(p);
}

template <std::size_t... row>
constexpr auto along_kernels(std::index_sequence<row...>) {
  return std::array<octavo::cpu::PlainKernel, sizeof...(row)>{
      &plain_along<static_cast<int>(row) + 1>...};
}
octavo::cpu::PlainKernel find_plain_along(std::int64_t rows) noexcept {
  static constexpr auto kKernels = along_kernels(std::make_index_sequence<kAlongRows>());
  return rows < 1 || rows > kAlongRows ? nullptr : kKernels[static_cast<std::size_t>(rows - 1)];
}
