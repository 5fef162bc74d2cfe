// SPDX-License-Identifier: Apache-2.0
// int8: many rows by a weight [N, K] in place, along K (unpacked/along-inl.hpp), in tiles of
// six rows by four columns, so that 24 sums share ten loads and nothing is transposed or packed:
//
//                  column j   column j + 1   j + 2   j + 3        k: 64 bytes of each
//   row r          sum        sum            sum     sum          lanes: 16 places along K
//   ..
//   row r + 5      sum        sum            sum     sum
//
//   part 0         rows 0 .. 5     a stretch of K of four columns; the first parts fetch four
//   part 1         rows 6 .. 11    others, a few columns later, into the second-level cache
//   ..                             the columns are in the first-level cache by now
//
// Sums of lanes wait for the next stretch, and are added up after the last one. Rows come from the
// second-level cache, six lines for each 24 products; rows that it does not hold beside a panel go
// through the panel in turns.
//
// A line of `Along` is a register, and the `Dot` is EitherUnsigned.
//
// Needs: Along, Dot, FlipOf, kSquareBytes, take_shifts, Undo, undone_by_rows, unpacked_beginning,
//        Vec
// Gives: find_along_tiles

constexpr int kAlongTileRows = 6, kAlongTileColumns = 4;
constexpr std::int64_t kAlongTileSums = kAlongTileRows * kAlongTileColumns * Along::kLanes;
// Fewer rows are faster by pairs of columns, more packed; threads that share rows take any number.
// Of CPUs that take lines into the first level, none was timed.
constexpr std::int64_t kTurnParts = 8, kFewestInTiles = 9,
                       kMostInTiles = kTurnParts * kAlongTileRows;
// Bytes of the rows of a turn, and of a column in a stretch of K: four of them stay in the
// first-level cache beside the rows that pass through it.
constexpr std::int64_t kTurnBytes = 640 << 10, kTileStretch = 2 << 10;
// Of a part: two vectors of sums' beginnings, and the ends of rows.
constexpr std::int64_t kPartBeginnings = 32, kPartEnds = kAlongTileRows * kSquareBytes;
constexpr std::int64_t kMostFetched = 2;           // columns, of those that a part fetches
constexpr std::int64_t kAlongTileAhead = 8 << 10;  // of the weight, and two tiles, at least

// A part over a stretch of K.
struct AlongTile {
  const char* a;
  std::int64_t lda;
  std::array<const char*, kAlongTileColumns> columns;
  std::int64_t depth;        // a multiple of 64
  const char* next;          // what is fetched: some columns,
  std::int64_t next_stride;  // so far apart
  const std::int32_t* from;  // [sums][lanes], as `to`
  std::int32_t* to;          // null: all of K is done, and the sums go to
  std::uint32_t* c;
  const std::int32_t* beginnings;  // [rows, by fours][columns]
};

// Four sums of each row, which begin at `beginnings`.
template <int rows, std::size_t... r>
OCTAVO_INLINE void write_tile(const AlongTile& t, const Along::Sum* sums,
                              std::index_sequence<r...>) {
  const auto four = [&](std::size_t first) OCTAVO_LAMBDA {
    const auto row = [&](std::size_t i) OCTAVO_LAMBDA {
      const Along::Sum* s = sums + (i < rows ? i : first) * kAlongTileColumns;
      return Vec::quad_totals(s[0], s[1], s[2], s[3]);
    };
    const auto low = Vec::add_lanes(row(first), row(first + 1));
    const auto high = first + 2 < rows ? Vec::add_lanes(row(first + 2), row(first + 3)) : low;
    return Vec::add(Vec::add_lanes(low, high),
                    Vec::load_ints(t.beginnings + first * kAlongTileColumns));
  };
  const Vec::Ints fours[] = {four(0), four(rows > 4 ? 4 : 0)};
  (Vec::store_quarter<static_cast<int>(r % 4)>(t.c + r * octavo::cpu::kRowSums, fours[r / 4]), ...);
}

template <int rows, bool flips, int fetched, std::size_t... s, std::size_t... r, std::size_t... j>
OCTAVO_INLINE void tile_lines(const Dot& dot, const AlongTile& t, std::index_sequence<s...>,
                              std::index_sequence<r...> all, std::index_sequence<j...>) {
  const typename FlipOf<Along, flips ? Undo::row_sums : Undo::nothing>::Type flip(dot);
  Along::Sum sums[] = {Vec::load_ints(t.from + s * Along::kLanes)...};
  const char* a = t.a;
  const char* third = a + 3 * t.lda;  // and two rows from it on: addresses of a pointer and lda
  [[maybe_unused]] const char* next = t.next;
  [[maybe_unused]] const std::int64_t half = (t.depth / kSquareBytes + 1) / 2 * kSquareBytes;
  OCTAVO_FLAT_LOOP
  for (std::int64_t k = 0; k < t.depth; k += kSquareBytes, a += kSquareBytes) {
    if constexpr (fetched == 1) __builtin_prefetch(next + k, 0, 2);
    if constexpr (fetched == 2) {  // one column after the other
      const char* line = next + 2 * k + (k < half ? 0 : t.next_stride - 2 * half);
      __builtin_prefetch(line, 0, 2);
      __builtin_prefetch(line + kSquareBytes, 0, 2);
    }
    const auto column = [&](const char* b) OCTAVO_LAMBDA {
      Vec::Ints piece = Vec::load_unaligned_ints(b + k);
      if constexpr (flips) piece = flip.flipped(piece);
      return piece;
    };
    const Vec::Ints columns[] = {column(t.columns[j])...};
    const auto row = [&](std::size_t i) OCTAVO_LAMBDA {
      const Vec::Ints line =
          Vec::load_unaligned_ints(i < 3 ? a + static_cast<std::int64_t>(i) * t.lda
                                         : third + static_cast<std::int64_t>(i - 3) * t.lda);
      Along::Sum* sum = sums + i * kAlongTileColumns;
      if constexpr (flips) {
        ((sum[j] = Along::add(sum[j], columns[j], line)), ...);
      } else {
        ((sum[j] = Along::add(sum[j], line, columns[j])), ...);
      }
    };
    (row(r), ...);
    third += kSquareBytes;
  }
  if (t.to == nullptr) return write_tile<rows>(t, sums, all);
  (Along::store(t.to + s * Along::kLanes, sums[s]), ...);
}
template <int rows, bool flips, int fetched>
OCTAVO_KERNEL void along_tile(const Dot& dot, const AlongTile& t) noexcept {
  tile_lines<rows, flips, fetched>(dot, t, std::make_index_sequence<rows * kAlongTileColumns>(),
                                   std::make_index_sequence<rows>(),
                                   std::make_index_sequence<kAlongTileColumns>());
}

// [rows - 1][fetched columns]
using AlongTileKernel = void (*)(const Dot&, const AlongTile&) noexcept;
template <bool flips, std::size_t... row>
constexpr auto along_tile_kernels(std::index_sequence<row...>) {
  return std::array<std::array<AlongTileKernel, 3>, sizeof...(row)>{
      {{&along_tile<static_cast<int>(row) + 1, flips, 0>,
        &along_tile<static_cast<int>(row) + 1, flips, 1>,
        &along_tile<static_cast<int>(row) + 1, flips, 2>}...}};
}

// Sums of a panel's columns, whatever the flip.
OCTAVO_KERNEL void add_up_columns(const octavo::cpu::UnpackedTile& p, std::int32_t* sums) noexcept {
  const octavo::cpu::DotTile& t = p.tile;
  const Vec::Ints ones = Vec::broadcast_byte(1);
  for (std::int64_t j = 0; j < p.columns; ++j) {
    const char* b = static_cast<const char*>(t.b) + j * t.ldb;
    Along::Sum sum = Along::zero();
    for (std::int64_t k = 0; k < t.depth; k += kSquareBytes) {
      const std::int64_t left = t.depth - k;
      sum = Dot::add(
          sum, ones,
          left < kSquareBytes ? Vec::load_part(b + k, left) : Vec::load_unaligned_ints(b + k));
    }
    alignas(64) std::int32_t lanes[16 * Along::kLanes];
    alignas(64) std::int32_t total[16];
    Along::store(lanes, sum);
    Along::totals<1>(lanes, total);
    sums[j] = total[0];
  }
}

// Some rows of A beside four columns.
struct AlongPart {
  std::int64_t row, rows;
  std::int64_t fetched, before;  // of the next columns: how many, and how many other parts fetch
};

// Rows of A that meet a panel one after the other, in parts as even as may be, and what is kept of
// them from one tile to the next.
struct AlongTurn {
  std::int64_t parts;
  std::array<AlongPart, kTurnParts> part;
  alignas(64) std::array<std::int32_t, kTurnParts * kPartBeginnings> beginnings;
  alignas(64) std::array<char, kTurnParts * kPartEnds> ends;
  alignas(64) std::array<std::int32_t, kTurnParts * kAlongTileSums> sums;
};

// Rows [begin, end). Taller parts come first, which have more time for what they fetch.
OCTAVO_KERNEL void begin_turn(const octavo::cpu::DotTile& t, std::int64_t begin, std::int64_t end,
                              AlongTurn& turn) noexcept {
  const Dot dot(t);
  const auto* a = static_cast<const char*>(t.a);
  const std::int64_t tail = t.depth % kSquareBytes, count = turn.parts;
  std::int64_t before = 0, row = begin;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t left = count - i;
    const std::int64_t rows = (end - row + left - 1) / left;
    const std::int64_t share = (kAlongTileColumns - before + left - 1) / left;
    const std::int64_t fetched = share < kMostFetched ? share : kMostFetched;
    turn.part[static_cast<std::size_t>(i)] = {row, rows, fetched, before};
    for (std::int64_t r = 0; r < rows; ++r, ++row) {
      const std::int32_t sum = t.flip != 0 ? unpacked_beginning(dot, a + row * t.lda, t.depth) : 0;
      std::int32_t* sums = turn.beginnings.data() + i * kPartBeginnings + r * kAlongTileColumns;
      for (std::int64_t j = 0; j < kAlongTileColumns; ++j) sums[j] = sum;
      if (tail == 0) continue;
      Vec::store(turn.ends.data() + i * kPartEnds + r * kSquareBytes,
                 Vec::load_part(a + row * t.lda + t.depth - tail, tail));
    }
    before += fetched;
  }
}

// Four columns, and the stretches of K that they are read in; what is left behind whole lines is
// staged, the last one.
struct AlongColumns {
  std::array<const char*, kAlongTileColumns> at;
  alignas(64) std::array<char, kAlongTileColumns * kSquareBytes> ends;
  const char* next;  // the first of those that are fetched
};

// All parts of a turn by four columns; `c`: of the first row of A.
template <bool flips>
OCTAVO_INLINE void tile_columns(const Dot& dot, const octavo::cpu::DotTile& t, AlongTurn& turn,
                                const AlongColumns& columns, std::uint32_t* c) {
  static constexpr auto kKernels =
      along_tile_kernels<flips>(std::make_index_sequence<kAlongTileRows>());
  alignas(64) static constexpr std::array<std::int32_t, kAlongTileSums> kZeros{};
  const auto* a = static_cast<const char*>(t.a);
  const std::int64_t lines = t.depth / kSquareBytes;
  const bool ends = t.depth % kSquareBytes > 0;
  constexpr std::int64_t kLongest = kTileStretch / kSquareBytes;
  const std::int64_t stretches = lines == 0 && !ends ? 1 : (lines + kLongest - 1) / kLongest;
  const std::int64_t pieces = stretches + (ends ? 1 : 0);
  std::int64_t k = 0;
  for (std::int64_t piece = 0; piece < pieces; ++piece) {
    const bool staged = piece == stretches;
    const std::int64_t end = staged ? k : (piece + 1) * lines / stretches * kSquareBytes;
    std::array<const char*, kAlongTileColumns> at{};
    for (std::size_t j = 0; j < at.size(); ++j) {
      at[j] = staged ? columns.ends.data() + j * kSquareBytes : columns.at[j] + k;
    }
    for (std::int64_t i = 0; i < turn.parts; ++i) {
      const AlongPart& part = turn.part[static_cast<std::size_t>(i)];
      std::int32_t* sums = turn.sums.data() + i * kAlongTileSums;
      kKernels[static_cast<std::size_t>(part.rows - 1)]
              [static_cast<std::size_t>(staged ? 0 : part.fetched)](
                  dot, {.a = staged ? turn.ends.data() + i * kPartEnds : a + part.row * t.lda + k,
                        .lda = staged ? kSquareBytes : t.lda,
                        .columns = at,
                        .depth = staged ? kSquareBytes : end - k,
                        .next = columns.next + part.before * t.ldb + k,
                        .next_stride = t.ldb,
                        .from = piece > 0 ? sums : kZeros.data(),
                        .to = piece + 1 < pieces ? sums : nullptr,
                        .c = c + part.row * octavo::cpu::kRowSums,
                        .beginnings = turn.beginnings.data() + i * kPartBeginnings});
    }
    k = end;
  }
}

// All rows of a turn by a panel, the last turn or one before it.
template <bool flips>
OCTAVO_KERNEL void along_turn(const Dot& dot, const octavo::cpu::UnpackedTile& p, AlongTurn& turn,
                              bool last) noexcept {
  const octavo::cpu::DotTile& t = p.tile;
  const auto* b = static_cast<const char*>(t.b);
  const std::int64_t tail = t.depth % kSquareBytes;
  const std::int64_t tile = kAlongTileColumns * t.ldb;  // bytes from one to the next
  const std::int64_t tiles = (p.columns + kAlongTileColumns - 1) / kAlongTileColumns;
  const std::int64_t bytes = kAlongTileColumns * t.depth;
  const std::int64_t far = bytes == 0 ? 0 : (kAlongTileAhead + bytes - 1) / bytes;
  const char* beyond = b + p.columns * t.ldb;
  if (t.ahead != nullptr) beyond = t.ahead;
  if (!last) beyond = b;
  AlongColumns columns;
  for (std::int64_t i = 0; i < tiles; ++i) {
    const std::int64_t ahead = i + (far < 2 ? 2 : far);
    columns.next = ahead < tiles ? b + ahead * tile : beyond + (ahead - tiles) * tile;
    for (std::int64_t v = 0; v < kAlongTileColumns; ++v) {
      const std::int64_t wanted = i * kAlongTileColumns + v;
      const char* column = b + (wanted < p.columns ? wanted : p.columns - 1) * t.ldb;
      columns.at[static_cast<std::size_t>(v)] = column;
      if (tail == 0) continue;
      Vec::store(columns.ends.data() + v * kSquareBytes,
                 Vec::load_part(column + t.depth - tail, tail));
    }
    tile_columns<flips>(dot, t, turn, columns,
                        static_cast<std::uint32_t*>(t.c) + i * kAlongTileColumns);
  }
}

template <bool flips>
OCTAVO_INLINE void along_tiles(const octavo::cpu::UnpackedTile& p) {
  const octavo::cpu::DotTile& t = p.tile;
  const Dot dot(t);
  const std::int64_t parts = (p.rows + kAlongTileRows - 1) / kAlongTileRows;
  const std::int64_t bytes = p.rows * t.depth;
  const std::int64_t wanted = bytes == 0 ? 1 : (bytes + kTurnBytes - 1) / kTurnBytes;
  const std::int64_t turns = wanted < parts ? wanted : parts;
  AlongTurn turn;
  for (std::int64_t i = 0; i < turns; ++i) {
    const std::int64_t first = i * parts / turns, end = (i + 1) * parts / turns;
    turn.parts = end - first;
    begin_turn(t, first * p.rows / parts, end * p.rows / parts, turn);
    along_turn<flips>(dot, p, turn, i + 1 == turns);
  }
}

OCTAVO_KERNEL void unpacked_along_tiles(const octavo::cpu::UnpackedTile& p) noexcept {
  if (p.tile.flip != 0) {
    along_tiles<true>(p);
  } else {
    along_tiles<false>(p);
  }
  const bool shifted = p.tile.flip != 0 || p.sums_out != nullptr;
  if (!shifted || undone_by_rows(p.tile)) return;
  alignas(64) std::int32_t own[octavo::cpu::kRowSums];
  std::int32_t* sums = p.sums_out != nullptr ? p.sums_out : own;
  add_up_columns(p, sums);
  // Tiles of flipped columns have undone the flip of rows.
  take_shifts(p, p.rows, sums, p.tile.flip != 0 ? 128 : 0);
}

// Null: others are faster.
octavo::cpu::UnpackedKernel find_along_tiles(const octavo::cpu::UnpackedWanted& wanted) noexcept {
  const bool along_k = wanted.order == octavo::cpu::UnpackedOrder::along_k && wanted.group == 0;
  const bool pays = wanted.rows >= kFewestInTiles && wanted.rows <= kMostInTiles;
  return along_k && pays && !wanted.first_level ? &unpacked_along_tiles : nullptr;
}
