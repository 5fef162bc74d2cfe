// SPDX-License-Identifier: Apache-2.0
// The contract of the dot-product kernels: tiles of sums, and what prepares their operands.
//
//   C[r][j] = sum over k of A[r][k] * B[k][j]
//
// Both sides step along K by four bytes of A: four int8, two int16 or bfloat16, or one float32;
// where the tile itself widens B, a step of B meets eight bytes of A, and two where codes of fp8
// meet codes. A lies in rows; B is packed (VNNI layout) in panels of up to 64 columns, whole
// vectors of 16:
//
//         A      step 0  step 1  ..          panel of B    v0               v1     v2     v3
//      row 0     a a a a a a a a             step 0        [0][1] .. [15]  [16] ..
//      row 1     a a a a a a a a             step 1        [0][1] .. [15]  [16] ..
//
// [j] is what column j has in a step: 4 int8, 2 bfloat16 or 1 float32, 4 bytes; of fp8 2 codes, 2
// bytes. A step of a vector is one register: every lane of it meets the same four bytes of a row.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "backends/cpu/kernels/rows_ahead.hpp"
#include "octavo/dtype.hpp"
#include "octavo/numeric.hpp"

namespace octavo::cpu {

/// Columns of one vector of sums, and of a whole panel.
inline constexpr std::int64_t kVectorCols = 16;
inline constexpr std::int64_t kPanelVectors = 4;
/// Sums from one row of a tile to the next.
inline constexpr std::int64_t kRowSums = kPanelVectors * kVectorCols;
/// Bytes of a row of A in one step.
inline constexpr std::int64_t kStepBytes = 4;

/// How many rows of A a pointer and their distance can name in an address: p, p + d, p + 2 d.
#if defined(__x86_64__)
inline constexpr std::size_t kRowsOfAnAddress = 3;
#else
inline constexpr std::size_t kRowsOfAnAddress = 1;
#endif

/// The magnitudes of the 128 codes of an fp8 type without their sign, as bfloat16: the low byte of
/// each, then the high byte of each.
struct alignas(64) Float8Table {
  std::array<std::uint8_t, 128> low, high;
  /// What code 0x80 means: NaN in the fnuz types, which a table without signs cannot say.
  bool negative_zero_is_nan;
  std::uint8_t last_finite;  ///< the largest magnitude's code
  /// The factor whose products' upper halves are codes, in the upper bytes of words, shifted down
  /// to where bfloat16 has an exponent; what is kept of them; each sixteen times.
  alignas(32) std::array<std::uint16_t, 16> down, kept;
  /// What numbers are multiplied by whose exponents are read with float32's bias, and kRowsDown
  /// times that, for rows of A that hold codes (avx2_fp8_codes.cpp); each eight times.
  alignas(32) std::array<float, 8> unit, unit_for_rows;
  static constexpr float kRowsDown = 1.0F / 512.0F;
};
/// The table of an fp8 type.
const Float8Table& float8_table(DType dtype) noexcept;

/// Sums of rows x columns. Of integers, modulo 2^32:
///
///   u[r][k] = a[r][k] XOR flip, as unsigned or signed bytes, or a word (IntegerKernels::rows)
///   c[r][j] = sum over k of u[r][k] * b[k][j]  -  shift[r] * column_sums[j]
///
/// A flip of 0x80 makes an unsigned byte of a signed one by adding 128, and a signed byte of an
/// unsigned one by taking 128; a shift of 128 or -128 undoes it, and takes a zero point with it.
/// Of floats: one float32 accumulator for each element, which takes the steps in ascending order,
/// or blocks of them (DotKernels::block), whatever the tile's size.
struct DotTile {
  std::int64_t depth;  ///< bytes of a row of A along K; nothing past them is read
  const void* a;       ///< [rows] of `depth` bytes
  std::int64_t lda;    ///< bytes from one row to the next
  const void* b;       ///< the tile's first vector in the panel, 64-byte aligned
  std::int64_t ldb;    ///< bytes from one step to the next; a multiple of 64
  void* c;             ///< int32 or float32, kRowSums from one row to the next, 64-byte aligned
  bool add;            ///< to what c holds; else c is overwritten
  /// What is read next: each step prefetches some lines of it and goes on by `ahead_step` bytes.
  /// Not null where the kernel does.
  const char* ahead;
  std::int64_t ahead_step = 0;
  /// Which cache takes lines that are read soon: the first-level one, or the second.
  bool first_level = false;

  // Scales that vary along K: the sums of each group of `group` bytes, the last one perhaps of
  // fewer, go where their scales are: total[r][j] += (sum * sa[r]) * sb[j], each step rounded. c is
  // read first where `add` says so and never written.
  float* total = nullptr;  ///< as c; null: no group ends in this tile, c takes the sums
  std::int64_t group = 0;
  const float* scale_a = nullptr;   ///< sa[r] = scale_a[r * scale_a_stride] of the first group
  std::int64_t scale_a_stride = 0;  ///< 0: one for all rows
  std::int64_t scale_a_group_stride = 0;  ///< from one group to the next
  const float* scale_b = nullptr;         ///< [vectors * 16] of the first group, then kRowSums on

  // Integers.
  /// Of B, [vectors * 16], of the first group, then kRowSums on; null: nothing is taken away.
  const std::int32_t* column_sums = nullptr;
  const std::int32_t* shift = nullptr;  ///< sum -= shift[r * shift_stride] * column_sums[j]
  std::int64_t shift_stride = 0;        ///< 0: one for all rows; 1
  std::uint8_t flip = 0;                ///< 0x80: A is int8; 0: A is uint8

  // fp8 weights.
  const Float8Table* table = nullptr;
};
using DotKernel = void (*)(const DotTile&) noexcept;

/// How many lines of `ahead` a step may prefetch.
inline constexpr std::array<int, 4> kAheadLines{0, 1, 2, 4};

/// How B lies in a panel.
struct PanelForm {
  std::int64_t step;          ///< elements along K of a step
  std::int64_t vector_bytes;  ///< of a vector in a step
  std::int64_t grain;         ///< a panel holds a multiple of so many vectors
  constexpr bool operator==(const PanelForm&) const = default;
};
/// int8: [4] for each column, or, for instructions that multiply eight at a time, [8]. bfloat16,
/// float16, and int8 as words: [2] for each column; bfloat16 multiplied four at a time: [4].
/// float32. fp8: 32 columns in 64 bytes, 16 bytes for columns 4q .. 4q + 3 (q = 0 .. 3), [2] each,
/// of the first vector, then of the second: what unpacking the halves of 128-bit lanes puts in
/// order.
inline constexpr PanelForm kInt8Form{4, 64, 1};
inline constexpr PanelForm kEightsForm{8, 128, 1};
inline constexpr PanelForm kBf16Form{2, 64, 1};
inline constexpr PanelForm kFloat16Form{2, 64, 1};
inline constexpr PanelForm kBf16FoursForm{4, 128, 1};
inline constexpr PanelForm kWordsForm{2, 64, 1};
inline constexpr PanelForm kFloat32Form{1, 64, 1};
inline constexpr PanelForm kFloat8Form{2, 32, 2};

/// A piece of B to be packed.
struct PackPiece {
  DType dtype;                         ///< of B
  const void* b;                       ///< element (0, 0)
  std::int64_t stride_k, stride_n;     ///< in elements
  std::int64_t depth;                  ///< along K; the last step is padded with zeros
  std::int64_t columns;                ///< 1 to 64; padded with zeros to whole vectors
  void* panel;                         ///< from its first step on, 64-byte aligned
  std::int32_t* sums = nullptr;        ///< int8, [vectors * 16]: the piece's sums are added to them
  const Float8Table* table = nullptr;  ///< fp8 that becomes wider
  /// fp8 in its own form: set where a code is no finite number; null: no matter.
  bool* not_finite = nullptr;
  /// Element (0, 0) of what is packed after this, a piece that lies like it; null: nothing.
  const void* next = nullptr;
  /// Where rows lie along N: what is fetched instead, a line for each one that is packed.
  RowsAhead* ahead = nullptr;
  /// The piece is in a cache: packing columns that lie along k fetches nothing of it.
  bool fetched = false;
};

/// Sums of a few rows by a weight that is not packed, read once in place: those of a DotTile
/// over all of K, with the same bits.
struct UnpackedTile {
  /// `b` is element (0, 0), at any address; `ldb`: bytes from one column to the next, or from one
  /// row of K to the next (UnpackedOrder). `add` is false, `column_sums` null. What is `ahead`, if
  /// it is not null, is as many bytes as this panel has, which are read next. `c`, `total` and
  /// `scale_b` are those of the first panel.
  DotTile tile;
  std::int64_t rows;              ///< of A
  std::int64_t columns;           ///< of all panels, 64 each but the last one
  std::int64_t panel_sums = 0;    ///< of c and total, from one panel to the next
  std::int64_t panel_scales = 0;  ///< of scale_b
  /// [panels][64]: int8 columns' sums, by which shifts are multiplied; null: all shifts are 0. Not
  /// written where one shift that undoes the flip is all rows': their own sums may do that.
  std::int32_t* sums_out = nullptr;
  char* gathered = nullptr;  ///< [kGatheredBytes], 64-byte aligned, of TransposedUnpacked's kernels
};
inline constexpr std::int64_t kGatheredBytes = std::int64_t{128} << 10;
using UnpackedKernel = void (*)(const UnpackedTile&) noexcept;
/// The most rows for which any unpacked kernel is built; of fewer rows there is one as well.
inline constexpr std::int64_t kMostUnpackedRows = 256;

/// Which elements of a weight are neighbours in memory.
enum class UnpackedOrder : std::uint8_t {
  along_k,  ///< [N, K], as linear layers keep it
  along_n,  ///< [K, N]
};

/// What an unpacked kernel is asked for.
struct UnpackedWanted {
  DType weight;
  UnpackedOrder order;
  std::int64_t rows;
  std::int64_t group;  ///< bytes of A that all groups are multiples of, but for ends; 0: no groups
  bool first_level = false;  ///< DotTile::first_level
};

/// Many rows by a weight [N, K] that is read in place, without groups and shifts. The rows of
/// A are transposed ahead, once for all columns:
///
///   step 0   row 0 row 1 .. row 15 row 16 ..     4 bytes each, to a multiple of 16 rows
///   step 1
///
/// with zeros behind K up to a multiple of 64 bytes of it.
struct TransposedUnpacked {
  const char* how;         ///< what explain says
  std::int64_t most_rows;  ///< kMostUnpackedRows at most
  /// A UnpackedTile whose `a` is transposed, `lda` the bytes from one step to the next, and whose c
  /// has room for a multiple of 16 rows, and so many from one panel to the next.
  UnpackedKernel run;
  /// Turns up to 16 rows of `depth` bytes, `lda` bytes apart; the places of 16 are written.
  void (*turn)(const void* a, std::int64_t lda, std::int64_t rows, std::int64_t depth, void* out,
               std::int64_t step_bytes) noexcept;
};
inline constexpr std::int64_t kTransposedRows = 16, kTransposedDepth = 64;

/// The least rows of a tile that fetches a part of what is next: more rows than a tile of a whole
/// panel has are shared out among tiles evenly.
constexpr int least_sharing(std::int64_t most) noexcept {
  return most < 4 ? 1 : static_cast<int>(most / 2);
}

/// The kernels of one instruction set and one type of B.
struct DotKernels {
  const char* how;                     ///< what explain says
  const char* how_unpacked = nullptr;  ///< the same, of what `plain` finds; null: nothing
  PanelForm form;
  /// The most rows that a tile of v + 1 vectors keeps in registers; 0: there is no such tile.
  std::array<std::int64_t, kPanelVectors> max_rows;
  /// Null where no such kernel is built: every tile exists without prefetching; whole panels up to
  /// max_rows[3] with as many lines a step as a step of B has; from least_sharing() rows on whole
  /// panels with 1 line, halves up to max_rows[1] with as many as half a step has, which they fetch
  /// where 1 is asked for, too, and single vectors, if that is the width, with 1 line.
  DotKernel (*tile)(std::int64_t rows, std::int64_t vectors, int ahead_lines) noexcept;
  /// Packs elements of any type that the form holds exactly: int8 into bytes; 8 bits and bfloat16
  /// into bfloat16; these, float16 and float32 into float32; fp8 into its own form. Where elements
  /// become wider, all rows of a last step of int8, or of bfloat16, are written.
  /// Null of tiles that stand beside kernels which pack.
  void (*pack)(const PackPiece& piece) noexcept = nullptr;
  /// Packs `depth` rows of floats that the form holds exactly, [vectors][depth][16], 64-byte
  /// aligned, from the first step of a panel on, a last step padded with zeros. Null where B is
  /// packed otherwise.
  void (*pack_rows)(const float* rows, std::int64_t depth, std::int64_t vectors,
                    void* panel) noexcept = nullptr;
  /// Decodes packed int8 and fp8 into a panel of this form with `vectors` vectors, from the first
  /// of some steps of theirs on: all rows of the last one are written, and zeros where a step of
  /// this form goes on behind them. Null where `pack_rows` is.
  void (*decode_int8)(const void* codes, std::int64_t steps, std::int64_t vectors,
                      void* panel) noexcept = nullptr;
  /// `code_vectors` is `vectors` or one more.
  void (*decode_float8)(const Float8Table& table, const void* codes, std::int64_t steps,
                        std::int64_t code_vectors, std::int64_t vectors,
                        void* panel) noexcept = nullptr;
  /// The kernel of such a product, null where none is built: the weight is packed on the fly then.
  UnpackedKernel (*unpacked)(const UnpackedWanted& wanted) noexcept = nullptr;
  /// Vectors of the tiles that many rows take: a whole panel's, or what registers hold sums of
  /// beside enough rows.
  std::int64_t width = kPanelVectors;
  /// Panels of pairs of bfloat16 or, where this form holds them, of float16 (kBf16Form,
  /// kFloat16Form), some steps of them, as panels of this form. Null: it is that one, or one of
  /// codes or words.
  void (*from_pairs)(DType dtype, const void* pairs, std::int64_t steps, std::int64_t vectors,
                     void* panel) noexcept = nullptr;
  /// Steps whose products are added to each other before they are to a sum: between scales and
  /// chunks of sums, calls go on where another one stopped behind whole blocks alone. Of integers:
  /// what a call pads the last of its steps to.
  std::int64_t block = 1;
  /// Whether tiles of many rows fetch those into the first-level cache, which then is to hold as
  /// many of them as a tile has.
  bool fetches_rows = false;
  /// For more rows than `plain` has kernels for, by a weight of this type; null, of all or of one:
  /// there is none.
  const TransposedUnpacked* (*transposed)(DType weight) noexcept = nullptr;
  /// Rows of A in a register: of the tiles that meet a panel, unless K is short, all but the last
  /// one have whole registers of them.
  std::int64_t register_rows = 1;
};

/// Kernels that have tiles and nothing else.
constexpr DotKernels tiles_alone(const char* how, const PanelForm& form,
                                 const std::array<std::int64_t, kPanelVectors>& max_rows,
                                 DotKernel (*tile)(std::int64_t, std::int64_t, int) noexcept,
                                 std::int64_t width) noexcept {
  return {.how = how, .form = form, .max_rows = max_rows, .tile = tile, .width = width};
}

/// Whether kernels have none of what a row of their table may leave out, but tiles' width.
constexpr bool has_tiles_alone(const DotKernels& kernels) noexcept {
  const auto& [how, how_unpacked, form, max_rows, tile, pack, pack_rows, decode_int8, decode_float8,
               unpacked, width, from_pairs, block, fetches_rows, transposed, register_rows] =
      kernels;
  const bool packs = pack != nullptr || pack_rows != nullptr || decode_int8 != nullptr ||
                     decode_float8 != nullptr || from_pairs != nullptr;
  const bool reads_in_place =
      how_unpacked != nullptr || unpacked != nullptr || transposed != nullptr;
  return !packs && !reads_in_place && block == 1 && !fetches_rows && register_rows == 1;
}
static_assert(has_tiles_alone(tiles_alone("", kInt8Form, {}, nullptr, kPanelVectors)));

/// Does a form hold the elements of a type exactly?
constexpr bool holds(const PanelForm& form, DType dtype) noexcept {
  const bool codes = is_float8(dtype) || dtype == DType::int8;
  const std::int64_t element = form.vector_bytes / (form.step * kVectorCols);
  if (element == 1 && form.grain == 1) return dtype == DType::int8;
  if (form.grain == kFloat8Form.grain) return is_float8(dtype);
  if (codes || dtype == DType::bfloat16) return true;
  const bool wider = dtype == DType::float16 || dtype == DType::float32;
  return element == 4 && wider;
}

/// 16 neighbouring columns of a panel to be unpacked: each 64 * `squares` bytes from k = 0 on.
struct UnpackPiece {
  const void* panel;        ///< the first step of these columns
  std::int64_t step_bytes;  ///< from one step to the next
  std::int64_t squares;
  std::int8_t* b;         ///< element (0, 0) of these columns, contiguous along k; any alignment
  std::int64_t stride_n;  ///< bytes from one column to the next
};

/// What an instruction takes of A: bytes as unsigned (vpdpbusd) or as signed ones (sdot, tdpbssd),
/// where A of the other kind is flipped into them, and 128 taken off or put on again; or words, to
/// which both kinds are widened ahead.
enum class ARows : std::uint8_t { unsigned_bytes, signed_bytes, words };

/// Integers: their products and their unpacker.
struct IntegerKernels {
  DotKernels dot;
  ARows rows;
  /// Of any form of 4 bytes a column; null where `dot` has another.
  void (*unpack)(const UnpackPiece& piece) noexcept = nullptr;
  /// A row of `count` bytes as words, at any address; null: bytes stay what they are.
  void (*widen)(const void* codes, bool is_signed, std::int64_t count,
                std::int16_t* out) noexcept = nullptr;
  /// Called by a thread after its last tile of a product, of floats, too: gives up what a machine's
  /// tiles keep in the processor (AMX's registers). Null: nothing.
  void (*leave)() noexcept = nullptr;
};

/// Products of fp8 weights, decoded inside the tile.
struct Float8Kernels {
  DotKernels dot;
  DType rows;  ///< of A: bfloat16, beside DotMachine::pairs, or float32, beside `floats`
  /// `count` neighbouring fp8 codes as bfloat16, exactly. Any alignment. Null beside `floats`.
  void (*decode)(const Float8Table& table, const void* codes, std::int64_t count,
                 void* out) noexcept = nullptr;
  /// `pack` of fp8 into bfloat16, faster than that of the bfloat16 kernels. Null beside `floats`.
  void (*pack_pairs)(const PackPiece& piece) noexcept = nullptr;
  /// Of 32 columns.
  void (*unpack)(const UnpackPiece& piece) noexcept;
  /// The most rows for which decoding inside the tile is faster than once, ahead; 0: any number.
  std::int64_t most_rows = 0;
  /// Whether tiles decode finite codes only; else all but a 0x80 that is NaN. Panels with others
  /// are decoded ahead.
  bool finite_only = false;
  /// Tiles for rows of A that hold numbers of an fp8 type, beside these and with the same bits;
  /// null: these.
  const DotKernels* of_codes = nullptr;
};

/// Products of floats and weights of fewer bits, as they are packed, widened inside the tile; the
/// bits are those of the kernels beside which they stand. They have tiles alone.
struct WideningKernels {
  struct Weight {
    DotKernels dot{};
    /// The most rows for which widening inside the tile is faster than once, ahead; 0: no tiles.
    std::int64_t most_rows = 0;
  };
  Weight int8, bfloat16, float16;
};

/// The kernels on AMX's registers.
struct AmxKernels {
  IntegerKernels integers;
  Float8Kernels float8;
  DotKernels pairs;
  WideningKernels beside_pairs;
  DotKernels e4m3;
};

/// The kernels on SVE's registers, of one length.
struct SveKernels {
  IntegerKernels sdot, smmla;
  DotKernels bfdot, bfmmla, fmla;
};

/// The kernels of one CPU; null where it has none. Kernel files export them; the table of machines
/// declares what its rows name.
struct DotMachine {
  const char* name = "none";
  const IntegerKernels* integers = nullptr;
  const Float8Kernels* float8 = nullptr;
  const DotKernels* pairs = nullptr;   ///< bfloat16 by bfloat16
  const DotKernels* floats = nullptr;  ///< float32 by float32
  /// Integers of so few rows that reading the weight is what takes time; null: `integers`.
  const IntegerKernels* few_rows = nullptr;
  /// The most rows, if these are more than few, that those take of a weight [K, N] that is not
  /// packed: they read it in place.
  std::int64_t few_rows_of_unpacked = 0;
  /// bfloat16 of so few rows, with the same bits; null: `pairs`.
  const DotKernels* few_pairs = nullptr;
  const WideningKernels* beside_floats = nullptr;
  const WideningKernels* beside_pairs = nullptr;
  /// e4m3fn by e4m3fn, rows of A as they are, on panels of `float8`; null: as what `float8` takes.
  const DotKernels* e4m3 = nullptr;
};

/// What packs and unpacks int8 weights.
inline const IntegerKernels* packer_of_int8(const DotMachine& machine) noexcept {
  const bool other = machine.integers->dot.form.step != kInt8Form.step;
  return other ? machine.few_rows : machine.integers;
}

/// What packs bfloat16 weights.
inline const DotKernels* packer_of_bfloat16(const DotMachine& machine) noexcept {
  return machine.few_pairs != nullptr ? machine.few_pairs : machine.pairs;
}

}  // namespace octavo::cpu
