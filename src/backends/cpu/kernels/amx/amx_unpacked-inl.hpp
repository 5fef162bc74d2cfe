// SPDX-License-Identifier: Apache-2.0
// A few rows by a weight of floats that is not packed, on AMX's registers, with the bits of tiles
// (amx_tile-inl.hpp): the same products of every 32 along K, added up in the same order.
//
// [N, K]: columns of the weight lie in registers as they lie in memory, and the rows of A are
// transposed, which are fewer:
//
//   c[j][r] += sum over the 64 bytes of b's column j and of a's row r       16 columns x 16 rows
//
//   b4: 16 columns x 64 bytes     a6: 16 steps of every row     c0 .. c3: of 64 columns
//
// [K, N]: some rows of the weight become steps in the first-level cache, 64 columns at a time, and
// the sums of a strip of columns wait for the next ones, which are fetched meanwhile. Of very few
// rows vectors add up the same (amx_few_rows-inl.hpp).
//
// Codes become bfloat16 on their way to either, unless the instruction takes them. A `Kind` has
// beside what amx_tile-inl.hpp asks for
//   kWeight             a type that it is for
//   pack(piece)         rows of it for the Kind that Packed<> says
//   numbers(codes)      64 of them in their order, unless columns lie in place
//
// Needs: add_scaled, Ahead, begin_sums, Bfloat16, E4m3Fours, end_sums, Float8, Int8Pairs,
// kRegisterBytes,
//        kRegisterRows, kRegisterSteps, kStagedBytes, kStagedStep, NumberLines, Operands, Product,
//        Registers, shape_tiles, shaped_for, Shapes, turn, Vec
// Gives: add_columns, find_amx_unpacked, find_amx_unpacked_e4m3, kWidening, put_columns, put_line,
//        shape_transposed, transpose_rows

#include "backends/cpu/kernels/amx/amx_few_rows-inl.hpp"

constexpr std::int64_t kUnpackedRows = 16;  // the most
// Bytes of a column, ahead of what is read, on their way into the first-level cache: loads of
// registers wait for each line that is farther away, most of all where threads share a core.
constexpr std::int64_t kColumnAhead = 512;
constexpr std::int64_t kTransposedBytes = 1024;  // 16 steps of 16 rows

/// What multiplies steps that were packed in place.
template <class Kind>
using Packed = std::conditional_t<Kind::kInPlace, Kind, Bfloat16>;

inline void shape_transposed(std::int64_t rows) {
  if (shaped_for == -rows) return;
  Shapes shapes;
  for (const std::size_t tile : {0U, 1U, 2U, 3U, 6U, 7U}) {
    set_shape(shapes, tile, kRegisterRows, rows * octavo::cpu::kStepBytes);
  }
  for (const std::size_t tile : {4U, 5U}) set_shape(shapes, tile, kRegisterRows, kRegisterBytes);
  Registers::configure(&shapes);
  shaped_for = -rows;
}

// `depth` bytes of rows `lda` apart, and zeros behind them, as 16 steps for every 64.
inline void transpose_rows(const char* a, std::int64_t lda, std::int64_t rows, std::int64_t depth,
                           char* out, std::int64_t step_bytes) {
  for (std::int64_t k = 0; k < depth; k += kRegisterBytes, out += kRegisterSteps * step_bytes) {
    __m512i m[kRegisterRows];
    for (std::int64_t r = 0; r < kRegisterRows; ++r) {
      m[r] = Vec::load_part(a + r * lda + k, r < rows ? depth - k : 0);
    }
    turn(m);
    for (std::int64_t i = 0; i < kRegisterSteps; ++i) Vec::store(out + i * step_bytes, m[i]);
  }
}

// Steps of A's rows, side by side: transposed, or of one row as they lie in memory.
struct TransposedRows {
  const char* at;
  std::int64_t step_bytes = kRegisterBytes, register_bytes = kTransposedBytes;
};

// Columns of a weight, and how many of 16 there are.
struct Columns {
  const char* b;
  std::int64_t ldb;
  std::int64_t count;
};

/// Bytes of A beside a byte of a column.
template <class Kind>
constexpr std::int64_t kWidening = Kind::kSize / octavo::element_bytes(Kind::kWeight);

// 64 bytes of a column as the instruction takes them: numbers of codes are two registers deep,
// whose places are `apart`.
template <class Kind>
OCTAVO_INLINE void put_line(const Kind& kind, __m512i line, char* to, std::int64_t apart) {
  if constexpr (Kind::kInPlace) {
    Vec::store(to, line);
  } else {
    const NumberLines numbers = kind.numbers(line);
    Vec::store(to, numbers.front);
    Vec::store(to + apart, numbers.back);
  }
}

// `depth` bytes of A's K of 16 columns, kStagedBytes apart, with zeros behind what there is.
template <class Kind>
void stage_columns(const Kind& kind, const Columns& columns, std::int64_t depth, char* staged) {
  for (std::int64_t j = 0; j < kRegisterRows; ++j, staged += kStagedBytes) {
    const char* b = columns.b + j * columns.ldb;
    std::int64_t left = j < columns.count ? depth / kWidening<Kind> : 0;
    for (std::int64_t k = 0; k < depth; k += kWidening<Kind> * kRegisterBytes) {
      put_line(kind, Vec::load_part(b, std::max<std::int64_t>(left, 0)), staged + k,
               kRegisterBytes);
      b += kRegisterBytes;
      left -= kRegisterBytes;
    }
  }
}

// Adds `depth` bytes of K, up to kStagedBytes, to the sums of register v.
template <class Kind, int v>
OCTAVO_INLINE void add_columns(const Kind& kind, const Columns& columns, std::int64_t depth,
                               TransposedRows transposed) {
  alignas(64) char staged[kRegisterRows * kStagedBytes];
  const char* b = columns.b;
  std::int64_t ldb = columns.ldb;
  if (!Kind::kInPlace || columns.count < kRegisterRows || depth % kRegisterBytes != 0) {
    stage_columns(kind, columns, depth, staged);
    b = staged;
    ldb = kStagedBytes;
  }
  OCTAVO_FLAT_LOOP
  for (std::int64_t k = 0; k < depth;
       k += kRegisterBytes, transposed.at += transposed.register_bytes) {
    Registers::template load<4>(b + k, ldb);
    Registers::template load<6>(transposed.at, transposed.step_bytes);
    Kind::template add<v, 4, 6>();
  }
}

// The sums of register v, turned back, to rows kRowSums apart.
template <int v, class Sum>
OCTAVO_INLINE void put_columns(std::int64_t rows, Sum* c) {
  alignas(64) char sums[kTransposedBytes];
  if (rows < kRegisterRows) std::memset(sums, 0, sizeof(sums));
  Registers::template store<v>(sums, kRegisterBytes);
  __m512i m[kRegisterRows];
  for (std::int64_t j = 0; j < kRegisterRows; ++j) m[j] = Vec::load_ints(sums + j * kRegisterBytes);
  turn(m);
  for (std::int64_t r = 0; r < kRegisterRows && r < rows; ++r) {
    Vec::store(c + r * octavo::cpu::kRowSums, m[r]);
  }
}

// What is read next of 64 columns: behind the end of K, the columns after them.
struct NextColumns {
  const char* end;    // of the first column
  std::int64_t wrap;  // from the end of a column to the beginning of the one that follows it
  OCTAVO_INLINE void fetch(const Columns& columns, const char* first, std::int64_t bytes) const {
    const char* next = columns.b + kColumnAhead;
    if (first + kColumnAhead >= end) next += wrap;
    for (std::int64_t j = 0; j < columns.count; ++j, next += columns.ldb) {
      OCTAVO_FLAT_LOOP
      for (std::int64_t k = 0; k < bytes; k += kRegisterBytes) __builtin_prefetch(next + k);
    }
  }
};

// The sums of `depth` bytes of K of 16 columns for every v, as many as there are.
template <class Kind, std::size_t... v>
OCTAVO_INLINE void column_sums(const Kind& kind, const Product& p, const Operands& o,
                               std::int64_t columns, std::int64_t depth, const NextColumns& ahead,
                               float* c, std::index_sequence<v...>) {
  (Registers::template zero<static_cast<int>(v)>(), ...);
  alignas(64) char transposed[kStagedBytes / kRegisterBytes * kTransposedBytes];
  const char* b = o.b;
  const auto add = [&]<std::size_t i>(std::int64_t part, const TransposedRows& rows) OCTAVO_LAMBDA {
    constexpr std::int64_t kFirst = static_cast<std::int64_t>(i) * kRegisterRows;
    if (columns <= kFirst) return;
    const Columns some{b + kFirst * o.ldb, o.ldb, std::min(kRegisterRows, columns - kFirst)};
    ahead.fetch(some, b, part / kWidening<Kind>);
    add_columns<Kind, static_cast<int>(i)>(kind, some, part, rows);
  };
  for (std::int64_t k = 0; k < depth; k += kStagedBytes) {
    const std::int64_t part = std::min(kStagedBytes, depth - k);
    TransposedRows rows{transposed};
    if (p.rows == 1 && part % kRegisterBytes == 0) {
      rows = {o.a + k, octavo::cpu::kStepBytes, kRegisterBytes};
    } else {
      transpose_rows(o.a + k, o.lda, p.rows, part, transposed, kRegisterBytes);
    }
    (add.template operator()<v>(part, rows), ...);
    b += part / kWidening<Kind>;
  }
  (put_columns<static_cast<int>(v)>(p.rows, c + v * octavo::cpu::kVectorCols), ...);
}

// [N, K], up to 64 columns.
template <class Kind>
OCTAVO_KERNEL void unpacked_columns(const octavo::cpu::UnpackedTile& unpacked,
                                    std::int64_t rows) noexcept {
  constexpr std::make_index_sequence<octavo::cpu::kPanelVectors> kAll;
  const octavo::cpu::DotTile& t = unpacked.tile;
  const std::int64_t vectors = (unpacked.columns + kRegisterRows - 1) / kRegisterRows;
  const Product p{t, static_cast<int>(rows), static_cast<int>(vectors), 0};
  const Kind kind(t);
  Operands o{static_cast<const char*>(t.a), t.lda, static_cast<const char*>(t.b), t.ldb};
  const std::int64_t bytes = t.depth / kWidening<Kind>;
  const NextColumns ahead{o.b + bytes, octavo::cpu::kRowSums * t.ldb - bytes};
  shape_transposed(rows);
  if (t.total == nullptr) {
    return column_sums(kind, p, o, unpacked.columns, t.depth, ahead, static_cast<float*>(t.c),
                       kAll);
  }
  alignas(64) float sums[kUnpackedRows * octavo::cpu::kRowSums];
  const float* scale_a = t.scale_a;
  const float* scale_b = t.scale_b;
  for (std::int64_t depth = t.depth; depth > 0; depth -= t.group) {
    const std::int64_t part = std::min(depth, t.group);
    column_sums(kind, p, o, unpacked.columns, part, ahead, sums, kAll);
    add_scaled<Kind>(p, sums, scale_a, scale_b);
    o.a += part;
    o.b += part / kWidening<Kind>;
    scale_a += t.scale_a_group_stride;
    scale_b += octavo::cpu::kRowSums;
  }
}

// [K, N], a strip: `some` rows of K from `begin` on, added to what c holds, or stored there. A
// block, 64 columns as deep as a register, is packed while the one before it is multiplied.
template <class Kind>
void add_strip_tiles(const octavo::cpu::UnpackedTile& unpacked, std::int64_t rows,
                     std::int64_t begin, std::int64_t some, bool add,
                     octavo::cpu::RowsAhead ahead) {
  constexpr std::int64_t kWeightSize = octavo::element_bytes(Kind::kWeight);
  constexpr std::int64_t kRows = kRegisterBytes / Kind::kSize;
  const octavo::cpu::DotTile& t = unpacked.tile;
  const Packed<Kind> packed(t);
  alignas(64) char panels[2][kRegisterSteps * kStagedStep];
  struct Block {
    std::int64_t column, k;
  };
  const auto columns_at = [&](std::int64_t column) {
    return std::min(octavo::cpu::kRowSums, unpacked.columns - column);
  };
  const auto vectors_at = [&](std::int64_t column) {
    return (columns_at(column) + kRegisterRows - 1) / kRegisterRows;
  };
  const auto pack = [&](const Block& block, char* panel) {
    Kind::pack({.dtype = Kind::kWeight,
                .b = static_cast<const char*>(t.b) + block.k * t.ldb + block.column * kWeightSize,
                .stride_k = t.ldb / kWeightSize,
                .stride_n = 1,
                .depth = std::min(kRows, begin + some - block.k),
                .columns = columns_at(block.column),
                .panel = panel,
                .table = t.table,
                .ahead = &ahead});
  };
  Ahead none{nullptr, 0};
  Block block{0, begin};
  pack(block, panels[0]);
  for (std::int64_t turn = 0; block.column < unpacked.columns; ++turn) {
    Block next{block.column, block.k + kRows};
    const bool last = next.k >= begin + some;
    if (last) next = {block.column + octavo::cpu::kRowSums, begin};
    if (next.column < unpacked.columns) pack(next, panels[(turn + 1) % 2]);
    const std::int64_t vectors = vectors_at(block.column);
    float* c =
        static_cast<float*>(t.c) + block.column / octavo::cpu::kRowSums * unpacked.panel_sums;
    if (block.k == begin) begin_sums(rows, vectors, add ? c : nullptr);
    const std::int64_t depth = std::min(kRows, begin + some - block.k);
    add_depth(Product{t, static_cast<int>(rows), static_cast<int>(vectors), 0}, packed,
              Operands{static_cast<const char*>(t.a) + block.k * Kind::kSize, t.lda,
                       panels[turn % 2], vectors * kRegisterBytes},
              vectors, depth * Kind::kSize, none);
    if (last) end_sums(rows, vectors, c);
    block = next;
  }
}

// Rows of K that a strip goes through at a time, whole blocks of 32 products, of codes 64:
// registers keep sums of a panel along as many as the second-level cache holds beside those that
// are fetched.
inline std::int64_t vector_rows(std::int64_t strip_bytes, std::int64_t rows, bool first_level) {
  const std::int64_t together = octavo::cpu::rows_together(strip_bytes, rows, first_level);
  return std::max(together / kChainsDepth * kChainsDepth, kChainsDepth);
}
inline std::int64_t tile_rows(std::int64_t strip_bytes) {
  constexpr std::int64_t kStripBytes = std::int64_t{128} << 10;
  return kStripBytes / strip_bytes >= 2 * octavo::cpu::kMostTogether
             ? 2 * octavo::cpu::kMostTogether
             : octavo::cpu::kMostTogether;
}

template <class Kind, int rows>
void unpacked_rows(const octavo::cpu::UnpackedTile& unpacked) noexcept {
  constexpr bool kByVectors = Kind::kSize == 2 && rows <= kVectorRows<Kind>;
  const octavo::cpu::DotTile& t = unpacked.tile;
  const std::int64_t depth = t.depth / Kind::kSize;
  const std::int64_t group_depth = t.total == nullptr ? depth : t.group / Kind::kSize;
  const std::int64_t strip = unpacked.columns * octavo::element_bytes(Kind::kWeight);
  const std::int64_t together =
      kByVectors ? vector_rows(strip, rows, t.first_level) : tile_rows(strip);
  if constexpr (!kByVectors) shape_tiles(rows);
  for (std::int64_t begin = 0, group = 0; begin < depth || group == 0; ++group) {
    const std::int64_t first = begin, end = std::min(depth, begin + group_depth);
    do {
      const std::int64_t some = std::min(together, end - begin);
      const auto* b = static_cast<const char*>(t.b);
      const char* next = begin + some < depth ? b + (begin + some) * t.ldb : b + strip;
      const auto ahead = octavo::cpu::RowsAhead::of(next, strip, t.ldb, t.first_level);
      if constexpr (kByVectors) {
        const FlushesSubnormals flushes;
        add_strip_vectors<Kind, rows>(unpacked, begin, some, begin != first, ahead);
      } else {
        add_strip_tiles<Kind>(unpacked, rows, begin, some, begin != first, ahead);
      }
      begin += some;
    } while (begin < end);
    if (t.total == nullptr) return;
    for (std::int64_t j = 0, panel = 0; j < unpacked.columns; j += octavo::cpu::kRowSums, ++panel) {
      octavo::cpu::DotTile of = t;
      of.total += panel * unpacked.panel_sums;
      const float* sums = static_cast<const float*>(t.c) + panel * unpacked.panel_sums;
      add_scaled<Kind>(Product{of, rows, octavo::cpu::kPanelVectors, 0}, sums,
                       t.scale_a + group * t.scale_a_group_stride,
                       t.scale_b + panel * unpacked.panel_scales + group * octavo::cpu::kRowSums);
    }
  }
}

template <class Kind, octavo::cpu::UnpackedOrder order, int rows>
void amx_unpacked(const octavo::cpu::UnpackedTile& unpacked) noexcept {
  if constexpr (order == octavo::cpu::UnpackedOrder::along_k) {
    unpacked_columns<Kind>(unpacked, rows);
  } else {
    unpacked_rows<Kind, rows>(unpacked);
  }
}
template <class Kind, octavo::cpu::UnpackedOrder order, std::size_t... row>
constexpr std::array<octavo::cpu::UnpackedKernel, sizeof...(row)> amx_unpacked_kernels(
    std::index_sequence<row...>) {
  return {&amx_unpacked<Kind, order, static_cast<int>(row) + 1>...};
}
template <class Kind>
octavo::cpu::UnpackedKernel amx_unpacked_of(const octavo::cpu::UnpackedWanted& wanted) noexcept {
  using octavo::cpu::UnpackedOrder;
  constexpr std::make_index_sequence<static_cast<std::size_t>(kUnpackedRows)> kRows;
  static constexpr auto kByColumns = amx_unpacked_kernels<Kind, UnpackedOrder::along_k>(kRows);
  static constexpr auto kByStrips = amx_unpacked_kernels<Kind, UnpackedOrder::along_n>(kRows);
  const auto row = static_cast<std::size_t>(wanted.rows - 1);
  return wanted.order == UnpackedOrder::along_k ? kByColumns[row] : kByStrips[row];
}

// Groups that end inside a register would be copied for the most part.
bool has_amx_unpacked(const octavo::cpu::UnpackedWanted& wanted) noexcept {
  return wanted.rows >= 1 && wanted.rows <= kUnpackedRows && wanted.group % kRegisterBytes == 0;
}
octavo::cpu::UnpackedKernel find_amx_unpacked(const octavo::cpu::UnpackedWanted& wanted) noexcept {
  if (!has_amx_unpacked(wanted)) return nullptr;
  if (wanted.weight == octavo::DType::bfloat16) return amx_unpacked_of<Bfloat16>(wanted);
  if (wanted.weight == octavo::DType::int8) return amx_unpacked_of<Int8Pairs>(wanted);
  return octavo::is_float8(wanted.weight) ? amx_unpacked_of<Float8>(wanted) : nullptr;
}
octavo::cpu::UnpackedKernel find_amx_unpacked_e4m3(
    const octavo::cpu::UnpackedWanted& wanted) noexcept {
  return has_amx_unpacked(wanted) ? amx_unpacked_of<E4m3Fours>(wanted) : nullptr;
}
