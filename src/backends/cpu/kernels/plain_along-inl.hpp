// SPDX-License-Identifier: Apache-2.0
// int8: a few rows by a weight [N, K], along K. Sums are exact, so that a lane may be a place along
// K and need not be a column; nothing is turned:
//
//   row r       [a0 a1 .. a63]       sum[r], 16 lanes  +=  four products each
//   column j    [b0 b1 .. b63]       sums of lanes are added up at the end of a stretch of K
//
// One column at a time, so that a weight passes in one stream, and beside it the rows of a stretch
// of K, copied line by line as they meet the column:
//
//   [k 0 .. 63: row 0, row 1, ..][k 64 .. 127: row 0, row 1, ..] ..      in the first-level cache
//
// More rows than these are faster packed: every line of theirs is loaded for every line of a
// column.
//
// Included inside an instruction-set region after plain_columns-inl.hpp; every including file gets
// its own copy.

constexpr int kAlongRows = 8;                  // at most
constexpr std::int64_t kAlongCopy = 16 << 10;  // bytes of rows in a stretch of K
constexpr std::int64_t kAlongAhead = 8 << 10;  // of the weight

// A column over a stretch of K beside the rows' lines, and what is fetched: `ahead` bytes further
// on, from where `wrapped` bytes are to be added.
struct AlongColumn {
  const char* b;
  const char* rows;
  std::int64_t depth;  // a multiple of 64
  std::int64_t ahead, whole, wrapped;
};

template <int rows, std::size_t... r>
OCTAVO_INLINE void along_line(const Dot& dot, Dot::Sum (&sums)[rows + 1], const char* a,
                              const Vec::Ints& line, std::index_sequence<r...>) {
  const typename Dot::Loaded loaded = dot.load(line);
  const typename Dot::Right b = Dot::template right<0>(loaded);
  ((sums[r] = Dot::add(sums[r], dot.left(Vec::load_ints(a + r * kSquareBytes)), b)), ...);
  sums[rows] = Dot::add(sums[rows], dot.left(dot.one()), b);
}

// The lanes of rows + 1 sums, the last one that of the column itself.
template <int rows, std::size_t... i>
OCTAVO_INLINE void along_column(const Dot& dot, const AlongColumn& t, std::int32_t* lanes,
                                std::index_sequence<i...>) {
  constexpr std::make_index_sequence<rows> kRows;
  Dot::Sum sums[] = {((void)i, Dot::zero())...};
  const char* a = t.rows;
  OCTAVO_FLAT_LOOP
  for (std::int64_t k = 0; k < t.depth; k += kSquareBytes, a += rows * kSquareBytes) {
    const char* b = t.b + k;
    __builtin_prefetch(b + t.ahead + (k < t.whole ? 0 : t.wrapped), 0, 2);
    along_line<rows>(dot, sums, a, Vec::load_unaligned_ints(b), kRows);
  }
  (Vec::store(lanes + i * 16, sums[i]), ...);
}

// [rows + 1] sums of one column.
template <int rows>
OCTAVO_KERNEL void along_sums(const Dot& dot, const AlongColumn& t, std::int32_t* sums) noexcept {
  alignas(64) std::int32_t lanes[256];  // those of sums that are not there are left as they are
  along_column<rows>(dot, t, lanes, std::make_index_sequence<rows + 1>());
  Vec::store(sums, Vec::totals<rows + 1>(lanes));
}

// A stretch of K: adds to, or begins, the sums of rows and of columns.
template <int rows>
OCTAVO_INLINE void along_stretch(const Dot& dot, const octavo::cpu::PlainTile& p, AlongColumn t,
                                 std::int64_t ldb, bool add, std::int32_t* ones) {
  auto* c = static_cast<std::uint32_t*>(p.tile.c);
  for (std::int64_t j = 0; j < p.columns; ++j, t.b += ldb) {
    alignas(64) std::int32_t sums[16];
    along_sums<rows>(dot, t, sums);
    for (int r = 0; r < rows; ++r) {
      std::uint32_t& sum = c[r * octavo::cpu::kRowSums + j];
      sum = static_cast<std::uint32_t>(sums[r]) + (add ? sum : 0);
    }
    ones[j] = sums[rows] + (add ? ones[j] : 0);
  }
}

// Bytes [0, depth) of rows, line by line, a last one with zeros behind it.
template <int rows>
void copy_lines(const char* a, std::int64_t lda, std::int64_t depth, char* out) noexcept {
  for (std::int64_t k = 0; k < depth; k += kSquareBytes) {
    for (int r = 0; r < rows; ++r, out += kSquareBytes) {
      const char* line = a + r * lda + k;
      Vec::store(out, Vec::load_part(line, depth - k));
    }
  }
}

template <int rows>
OCTAVO_KERNEL void plain_along(const octavo::cpu::PlainTile& p) noexcept {
  constexpr std::int64_t kStretch = kAlongCopy / rows / kSquareBytes * kSquareBytes;
  const octavo::cpu::DotTile& t = p.tile;
  const Dot dot(t);
  alignas(64) char lines[kStretch * rows];
  std::int32_t own[octavo::cpu::kRowSums];
  std::int32_t* const ones = p.sums_out != nullptr ? p.sums_out : own;
  const auto* a = static_cast<const char*>(t.a);
  const auto* b = static_cast<const char*>(t.b);
  const std::int64_t tail = t.depth % kSquareBytes;
  std::int64_t k = 0;
  while (k < t.depth - tail) {
    const std::int64_t left = t.depth - tail - k;
    const std::int64_t depth = left < kStretch ? left : kStretch;
    copy_lines<rows>(a + k, t.lda, depth, lines);
    const std::int64_t beyond = kAlongAhead % depth;
    along_stretch<rows>(dot, p,
                        {.b = b + k,
                         .rows = lines,
                         .depth = depth,
                         .ahead = kAlongAhead / depth * t.ldb + beyond,
                         .whole = depth - beyond,
                         .wrapped = t.ldb - depth},
                        t.ldb, k > 0, ones);
    k += depth;
  }
  if (tail > 0 || t.depth == 0) {
    alignas(64) char columns[octavo::cpu::kRowSums * kSquareBytes];
    for (std::int64_t j = 0; j < p.columns; ++j) {
      Vec::store(columns + j * kSquareBytes, Vec::load_part(b + k + j * t.ldb, tail));
    }
    copy_lines<rows>(a + k, t.lda, tail, lines);
    along_stretch<rows>(dot, p, {columns, lines, tail > 0 ? kSquareBytes : 0, 0, 0, 0},
                        kSquareBytes, k > 0, ones);
  }
  for (int r = 0; r < rows; ++r) {
    auto* c = static_cast<std::uint32_t*>(t.c) + r * octavo::cpu::kRowSums;
    const auto shift = static_cast<std::uint32_t>(t.shift[r * t.shift_stride]);
    for (std::int64_t j = 0; j < p.columns; ++j)
      c[j] -= shift * static_cast<std::uint32_t>(ones[j]);
  }
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
