// SPDX-License-Identifier: Apache-2.0
// Many rows by a weight [N, K] that is not packed, on AMX's registers, with the bits of tiles
// (amx_tile-inl.hpp). Columns of the weight lie in registers as they lie in memory; the rows of A
// were transposed, once for all columns (tile_contract.hpp, TransposedUnpacked):
//
//   c[j][r] += sum over the 64 bytes of b's column j and of a's row r       16 columns x 16 rows
//
//                    32 rows of A, 16 steps
//                         a6   a7
//   32 columns,     b4    c0   c1
//   64 bytes each   b5    c2   c3
//
//   for each chunk of K, whose transposed rows a second-level cache keeps
//     for each 32 columns
//       for each 32 rows: all of the chunk, and an equal part of the next 32 columns fetched
//
// Codes of a column become what the instruction takes as they are gathered, once for all rows.
//
// Between chunks sums lie in c as in registers, columns in rows: 16 x 16 of them at a time are
// transposed where they are, with the last chunk.
//
// Kinds are those of amx_unpacked-inl.hpp. Depths and chunks count bytes of A.
//
// Needs: fetch_register, kRegisterBytes, kRegisterRows, kRegisterSteps, kWidening, put_columns,
//        put_line, Registers, shape_transposed, transpose_rows, turn, Vec
// Gives: Square, transposed_of

constexpr std::int64_t kSquare = 2 * kRegisterRows;
// Turns, before the products that meet it, in which a register's depth is gathered and fetched.
constexpr std::int64_t kGatheredAhead = 2;
constexpr std::int64_t kGatheredStep = kSquare * kRegisterBytes;
constexpr std::int64_t kMostChunk = octavo::cpu::kGatheredBytes / kSquare;  // of a column
// Bytes of transposed rows that stay in a second-level cache of 2 MB beside the columns; of a
// chunk, if they are more.
constexpr std::int64_t kKeptRows = std::int64_t{1} << 20;
constexpr std::int64_t kRowsOfChunk = std::int64_t{512} << 10;

/// Up to 32 columns of the weight by up to 32 rows of A, along a part of K.
struct Square {
  const char* b;
  std::int64_t ldb, columns;
  const char* a;
  std::int64_t step_bytes;
  bool two_rows;       // registers of them
  std::int64_t depth;  // bytes of A
  bool two_columns() const { return columns > kRegisterRows; }
};

/// Columns that are read next, some of them, 64 bytes for each 64 that are read.
struct SquareAhead {
  const char* at;
  std::int64_t ldb, columns;
  OCTAVO_INLINE void go() {
    for (std::int64_t j = 0; j < columns; ++j) __builtin_prefetch(at + j * ldb, 0, 2);
    at += kRegisterBytes;
  }
};

// 64 bytes of each column, from what meets some byte of A's K on, one behind the other: columns
// often lie a multiple of 4096 bytes apart, which is one set of the first-level cache.
template <class Kind>
OCTAVO_INLINE void gather_columns(const Kind& kind, const Square& s, std::int64_t k, char* to) {
  const char* from = s.b + k / kWidening<Kind>;
  const std::int64_t left = (s.depth - k) / kWidening<Kind>;
  if (s.columns == kSquare && left >= kRegisterBytes) {
    OCTAVO_FLAT_LOOP
    for (std::int64_t j = 0; j < kSquare; ++j) {
      put_line(kind, Vec::load_unaligned_ints(from + j * s.ldb), to + j * kRegisterBytes,
               kGatheredStep);
    }
    return;
  }
  for (std::int64_t j = 0; j < kSquare; ++j) {
    put_line(kind, Vec::load_part(from + j * s.ldb, j < s.columns ? left : 0),
             to + j * kRegisterBytes, kGatheredStep);
  }
}

// The first rows gather the columns, 2048 bytes for each register's depth, the others find them; if
// there are no others, the first-level cache keeps the few that wait.
template <class Kind, bool gathers>
OCTAVO_KERNEL void multiply_square(const Kind& kind, const Square& s, char* gathered, bool keeps,
                                   const SquareAhead& next) noexcept {
  constexpr std::int64_t kWaiting = 4, kTurnsOfLine = kWidening<Kind>;
  static_assert(kGatheredAhead < kWaiting && kGatheredAhead % kTurnsOfLine == 0);
  const std::int64_t kept = keeps ? ~std::int64_t{0} : kWaiting - 1;
  const auto gather_turn = [&](std::int64_t turn) OCTAVO_LAMBDA {
    if (turn % kTurnsOfLine != 0 || turn * kRegisterBytes >= s.depth) return;
    gather_columns(kind, s, turn * kRegisterBytes, gathered + (turn & kept) * kGatheredStep);
  };
  for (std::int64_t turn = 0; gathers && turn < kGatheredAhead; ++turn) gather_turn(turn);
  // One by one: a copy of two words that were stored a moment ago, loaded as one vector, would wait
  // for all stores of sums before it.
  SquareAhead ahead{next.at, next.ldb, next.columns};
  const char* a = s.a;
  const std::int64_t step = s.step_bytes;
  const bool two_columns = s.two_columns(), two_rows = s.two_rows;
  const std::int64_t turns = (s.depth + kRegisterBytes - 1) / kRegisterBytes;
  for (std::int64_t turn = 0; turn < turns; ++turn, a += kRegisterSteps * step) {
    const char* b = gathered + (gathers ? turn & kept : turn) * kGatheredStep;
    const char* later_a = a + kGatheredAhead * kRegisterSteps * step;
    const char* later_b = b + kGatheredAhead * kGatheredStep;
    Registers::template load<6>(a, step);
    Registers::template load<4>(b, kRegisterBytes);
    fetch_register(later_a, step);
    Kind::template add<0, 4, 6>();
    if (two_rows) {
      Registers::template load<7>(a + kRegisterBytes, step);
      fetch_register(later_a + kRegisterBytes, step);
      Kind::template add<1, 4, 7>();
    }
    if constexpr (gathers) {
      gather_turn(turn + kGatheredAhead);
    } else {
      fetch_register(later_b, kRegisterBytes);
    }
    if (two_columns) {
      Registers::template load<5>(b + kRegisterRows * kRegisterBytes, kRegisterBytes);
      Kind::template add<2, 5, 6>();
      if constexpr (!gathers) {
        fetch_register(later_b + kRegisterRows * kRegisterBytes, kRegisterBytes);
      }
      if (two_rows) Kind::template add<3, 5, 7>();
    }
    if (turn % kTurnsOfLine == 0) ahead.go();
  }
}

// Calls visit<register>(place) for the registers of sums that a square has, and where those lie in
// c, rows of kRowSums.
template <class Sum, class Visit>
OCTAVO_INLINE void for_each_register(const Square& s, Sum* c, const Visit& visit) {
  Sum* lower = c + kRegisterRows * octavo::cpu::kRowSums;
  visit.template operator()<0>(c);
  if (s.two_rows) visit.template operator()<1>(lower);
  if (!s.two_columns()) return;
  visit.template operator()<2>(c + octavo::cpu::kVectorCols);
  if (s.two_rows) visit.template operator()<3>(lower + octavo::cpu::kVectorCols);
}

// Bytes of K at a time.
inline std::int64_t transposed_chunk(std::int64_t rows, std::int64_t depth) {
  const bool kept = depth <= kKeptRows / rows;
  const std::int64_t most =
      kept ? kMostChunk : std::clamp(kRowsOfChunk / rows, kRegisterBytes, kMostChunk);
  const std::int64_t chunks = std::max<std::int64_t>((depth + most - 1) / most, 1);
  return ((depth + chunks - 1) / chunks + kRegisterBytes - 1) / kRegisterBytes * kRegisterBytes;
}

template <class Kind>
OCTAVO_KERNEL void transposed_unpacked(const octavo::cpu::UnpackedTile& unpacked) noexcept {
  using Sum = std::conditional_t<Kind::kExact, std::int32_t, float>;
  constexpr std::int64_t kStride = octavo::cpu::kRowSums * 4;
  const octavo::cpu::DotTile& t = unpacked.tile;
  const Kind kind(t);
  const auto* weight = static_cast<const char*>(t.b);
  const auto* rows = static_cast<const char*>(t.a);
  auto* c = static_cast<Sum*>(t.c);
  const std::int64_t chunk = transposed_chunk(unpacked.rows, t.depth);
  const std::int64_t squares = (unpacked.rows + kSquare - 1) / kSquare;
  const std::int64_t fetched = (kSquare + squares - 1) / squares;  // columns, by each square
  shape_transposed(kRegisterRows);
  std::int64_t k = 0;
  do {
    const std::int64_t depth = std::min(chunk, t.depth - k);
    const bool first = k == 0, last = k + depth == t.depth;
    for (std::int64_t j = 0; j < unpacked.columns; j += kSquare) {
      const std::int64_t columns = std::min(kSquare, unpacked.columns - j);
      // Behind the last columns the first ones' next chunk, or what follows them in the weight.
      const bool goes_on = j + kSquare < unpacked.columns || last;
      const char* next = weight + (goes_on ? (j + kSquare) * t.ldb : 0) +
                         (j + kSquare < unpacked.columns ? k
                          : last                         ? 0
                                                         : k + depth) /
                             kWidening<Kind>;
      Sum* sums = c + j / octavo::cpu::kRowSums * unpacked.panel_sums + j % octavo::cpu::kRowSums;
      for (std::int64_t r = 0; r < unpacked.rows; r += kSquare, next += fetched * t.ldb) {
        const Square s{weight + j * t.ldb + k / kWidening<Kind>,
                       t.ldb,
                       columns,
                       rows + k / octavo::cpu::kStepBytes * t.lda + r * octavo::cpu::kStepBytes,
                       t.lda,
                       unpacked.rows - r > kRegisterRows,
                       depth};
        Sum* to = sums + r * octavo::cpu::kRowSums;
        for_each_register(s, to, [&]<int v>(Sum* place) OCTAVO_LAMBDA {
          if (first) {
            Registers::template zero<v>();
          } else {
            Registers::template load<v>(place, kStride);
          }
        });
        const SquareAhead ahead{next, t.ldb, fetched};
        if (r == 0) {
          multiply_square<Kind, true>(kind, s, unpacked.gathered, squares > 1, ahead);
        } else {
          multiply_square<Kind, false>(kind, s, unpacked.gathered, true, ahead);
        }
        for_each_register(s, to, [&]<int v>(Sum* place) OCTAVO_LAMBDA {
          if (last) {
            put_columns<v>(kRegisterRows, place);
          } else {
            Registers::template store<v>(place, kStride);
          }
        });
      }
    }
    k += depth;
  } while (k < t.depth);
}

void turn_sixteen(const void* a, std::int64_t lda, std::int64_t rows, std::int64_t depth, void* out,
                  std::int64_t step_bytes) noexcept {
  transpose_rows(static_cast<const char*>(a), lda, rows, depth, static_cast<char*>(out),
                 step_bytes);
}

template <class Kind>
constexpr octavo::cpu::TransposedUnpacked transposed_of(const char* how) {
  return {how, octavo::cpu::kMostUnpackedRows, &transposed_unpacked<Kind>, &turn_sixteen};
}
