// SPDX-License-Identifier: Apache-2.0
// int8: some rows by a weight [N, K], along K (unpacked/along-inl.hpp), two columns at a time, so
// that a line of a row is loaded once for both:
//
//   rows 0 .. 7      [a0 .. a63] ..  x  column j, j + 1   [b0 .. b63] [b0 .. b63]     16 sums
//   rows 8 .. 15     the same once more, with columns that are in the first-level cache by now
//
// Rows lie in that cache as they do for one column at a time, those of each part by themselves.
// What is fetched into the first level lies some columns ahead, in the order in which it is read.
// Into the second it is all of the next panel, where that is one stream: stretches of K would enter
// a page of every column at once, and memory waits for addresses then. Where A has zero points,
// kernels of one column or of transposed squares take the product.
//
// A line of `Along` is a register.
//
// Needs: Along, copy_lines, Dot, kAlongRows, kSquareBytes, Undo, undone_by_rows,
//        unpacked_beginning, Vec
// Gives: kPairRows, pays_in_pairs, unpacked_pairs

constexpr int kPairRows = 16;  // at most
// Fewer have time for a column alone, in one stream; a little more than one part takes are sooner
// done with squares.
constexpr bool pays_in_pairs(int rows) { return rows >= 11 || (rows >= 5 && rows <= kAlongRows); }
// The same where columns come from the second-level cache: five rows leave it time, and more than
// one part takes go through tiles (unpacked/along_tiles-inl.hpp).
constexpr bool pays_from_second_level(int rows) { return rows >= 6 && rows <= kAlongRows; }
// Bytes of each row in a stretch of K: columns are to stay beside them for a second part.
constexpr std::int64_t longest_stretch(int rows) {
  const std::int64_t lines = (rows > kAlongRows ? 16 << 10 : 24 << 10) / rows / kSquareBytes;
  return lines * kSquareBytes;
}
template <int rows>
constexpr std::int64_t kPairStretch = longest_stretch(rows);
constexpr std::int64_t kPairAhead = 8 << 10;  // of the weight, at least

// Two columns over a stretch of K, and what is fetched beside them: as many bytes, the first half
// of them in lines from `next` on, the others `gap` bytes behind those.
struct PairColumns {
  const char* b;
  std::int64_t second;  // bytes to the second one
  std::int64_t depth;   // a multiple of 64
  const char* next;
  std::int64_t gap;
};

// Sums [column][row].
template <int rows, int level, class AnyAlong, std::size_t... r>
OCTAVO_INLINE void pair_lines(const Dot& dot, const PairColumns& t, const char* a,
                              std::int32_t* lanes, std::index_sequence<r...>) {
  const typename AnyAlong::Flip flip(dot);
  Along::Sum first[] = {((void)r, Along::zero())...};
  Along::Sum second[] = {((void)r, Along::zero())...};
  // Of an odd number of lines the first half fetches one more, and the gap begins a line later.
  const std::int64_t half = (t.depth / kSquareBytes + 1) / 2 * kSquareBytes;
  if constexpr (level > 0) __builtin_prefetch(t.next + t.depth + t.gap, 0, 4 - level);
  std::int64_t k = 0;
  for (std::int64_t end = half, column = 0; column < 2; end = t.depth, ++column) {
    [[maybe_unused]] const char* next = t.next + column * (2 * half + t.gap);
    OCTAVO_FLAT_LOOP
    for (; k < end; k += kSquareBytes, a += rows * kSquareBytes) {
      const char* b = t.b + k;
      if constexpr (level > 0) {
        __builtin_prefetch(next, 0, 4 - level);
        __builtin_prefetch(next + kSquareBytes, 0, 4 - level);
        next += 2 * kSquareBytes;
      }
      const auto one = flip.flipped(Along::load(dot, b));
      const auto other = flip.flipped(Along::load(dot, b + t.second));
      const auto row = [&](std::size_t i) OCTAVO_LAMBDA {
        return flip.kept(Along::left(a + static_cast<std::int64_t>(i) * kSquareBytes));
      };
      ((first[r] = Along::add(first[r], one, row(r))), ...);
      ((second[r] = Along::add(second[r], other, row(r))), ...);
    }
  }
  (Along::store(lanes + r * Along::kLanes, first[r]), ...);
  (Along::store(lanes + (rows + r) * Along::kLanes, second[r]), ...);
}

// A stretch of K: adds to the sums of some rows, which begin at `beginnings`. A call for each pair
// would cost an eighth of the time.
template <int rows, int level>
OCTAVO_INLINE void pair_part(const Dot& dot, const PairColumns& t, const char* a, std::uint32_t* c,
                             std::int64_t columns, bool add, const std::uint32_t* beginnings) {
  alignas(64) std::int32_t lanes[16 * Along::kLanes];  // some are left as they are
  alignas(64) std::int32_t sums[16];
  pair_lines<rows, level, Along>(dot, t, a, lanes, std::make_index_sequence<rows>());
  Along::totals<2 * rows>(lanes, sums);
  for (std::int64_t column = 0; column < columns; ++column, ++c) {
    for (int r = 0; r < rows; ++r) {
      std::uint32_t& sum = c[r * octavo::cpu::kRowSums];
      sum = static_cast<std::uint32_t>(sums[column * rows + r]) + (add ? sum : beginnings[r]);
    }
  }
}

// Rows of A beside `bytes` bytes of K from byte k on, by the columns at `b`, which lie `ldb` bytes
// apart. The only copy of the loops: what is staged takes it, too.
template <int rows, int level>
OCTAVO_KERNEL void pair_stretch(const Dot& dot, const octavo::cpu::UnpackedTile& p, const char* b,
                                std::int64_t ldb, std::int64_t k, std::int64_t bytes,
                                const std::uint32_t (&beginnings)[rows]) noexcept {
  constexpr int kFirst = rows > kAlongRows ? (rows + 1) / 2 : rows, kSecond = rows - kFirst;
  const octavo::cpu::DotTile& t = p.tile;
  alignas(64) char lines[kPairStretch<rows> * rows];
  char* second_lines = lines + kPairStretch<rows> * kFirst;
  const char* a = static_cast<const char*>(t.a) + k;
  copy_lines<kFirst, Undo::row_sums>(dot, a, t.lda, bytes, lines);
  if constexpr (kSecond > 0) {
    copy_lines<kSecond, Undo::row_sums>(dot, a + kFirst * t.lda, t.lda, bytes, second_lines);
  }
  const std::int64_t depth = (bytes + kSquareBytes - 1) / kSquareBytes * kSquareBytes;
  const std::int64_t pairs = depth == 0 ? 1 : (kPairAhead / 2 + depth - 1) / depth;
  for (std::int64_t j = 0; j < p.columns; j += 2) {
    const std::int64_t columns = p.columns - j < 2 ? 1 : 2;
    const char* at = b + j * ldb;
    const std::int64_t second = (columns - 1) * ldb;
    PairColumns pair{at, second, depth, at + 2 * pairs * ldb, second - depth};
    if (level == 2 && t.ahead != nullptr) {
      pair.next = t.ahead + p.columns * k + j * depth;
      pair.gap = 0;
    }
    auto* c = static_cast<std::uint32_t*>(t.c) + j;
    pair_part<kFirst, level>(dot, pair, lines, c, columns, k > 0, beginnings);
    if constexpr (kSecond > 0) {
      pair_part<kSecond, 0>(dot, pair, second_lines, c + kFirst * octavo::cpu::kRowSums, columns,
                            k > 0, beginnings + kFirst);
    }
  }
}

template <int rows, int level>
OCTAVO_INLINE void along_pairs(const octavo::cpu::UnpackedTile& p) {
  const octavo::cpu::DotTile& t = p.tile;
  const Dot dot(t);
  const auto* a = static_cast<const char*>(t.a);
  std::uint32_t beginnings[rows];
  for (int r = 0; r < rows; ++r) {
    beginnings[r] = static_cast<std::uint32_t>(unpacked_beginning(dot, a + r * t.lda, t.depth));
  }
  const auto* b = static_cast<const char*>(t.b);
  const std::int64_t tail = t.depth % kSquareBytes;
  const std::int64_t whole = (t.depth - tail) / kSquareBytes;
  const std::int64_t stretches = (t.depth - tail + kPairStretch<rows> - 1) / kPairStretch<rows>;
  std::int64_t k = 0;
  for (std::int64_t i = 0; i < stretches; ++i) {  // of equal lengths, or a line more
    const std::int64_t end = (i + 1) * whole / stretches * kSquareBytes;
    pair_stretch<rows, level>(dot, p, b + k, t.ldb, k, end - k, beginnings);
    k = end;
  }
  if (tail == 0 && t.depth > 0) return;
  alignas(64) char columns[octavo::cpu::kRowSums * kSquareBytes];
  for (std::int64_t j = 0; j < p.columns; ++j) {
    Vec::store(columns + j * kSquareBytes, Vec::load_part(b + k + j * t.ldb, tail));
  }
  pair_stretch<rows, level>(dot, p, columns, kSquareBytes, k, tail, beginnings);
}

// In pairs where they pay for the level of cache that this CPU wants lines in. `otherwise` takes
// other numbers of rows, and rows of A with zero points.
template <int rows, octavo::cpu::UnpackedKernel otherwise>
OCTAVO_KERNEL void unpacked_pairs(const octavo::cpu::UnpackedTile& p) noexcept {
  if (!undone_by_rows(p.tile)) return otherwise(p);
  if (octavo::cpu::kAsksForFirstLevel && p.tile.first_level) return along_pairs<rows, 1>(p);
  if constexpr (pays_from_second_level(rows)) return along_pairs<rows, 2>(p);
  otherwise(p);
}
