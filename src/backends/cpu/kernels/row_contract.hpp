// SPDX-License-Identifier: Apache-2.0
// The contract between the CPU code and its kernels: one table of functions per instruction set.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "core/scales/scale_rule.hpp"
#include "octavo/code_errors.hpp"
#include "octavo/dtype.hpp"
#include "octavo/numeric.hpp"

namespace octavo::cpu {

/// Columns of every tile and of one panel of B.
inline constexpr std::int64_t kPanelCols = 16;

/// Columns of the output that one tile of sums covers, and the distance of its rows.
inline constexpr std::int64_t kTileCols = 64;

/// One step from a sum to an output element, over a whole tile.
struct FinishStep {
  enum class Kind : std::uint8_t {
    scale_row,       ///< t[r][j] *= data[r * stride]
    scale_elements,  ///< t[r][j] *= data[r * stride + j]
    add_elements,    ///< t[r][j] += data[r * stride + j]
  };
  Kind kind;
  const float* data;    ///< whole rows of kTileCols floats where elements are read
  std::int64_t stride;  ///< 0: the same for all rows
};

/// A tile of sums on its way out. Every step is rounded by itself.
struct FinishTile {
  std::int64_t rows;
  /// [rows][kTileCols] sums; null: those of `integers`. What stands in columns that do not exist
  /// may never have been written: which of two ways with the same bits a row takes may depend on it
  /// (a NaN is looked for in whole vectors; valgrind says so), and nothing of a column that exists.
  const float* floats;
  const std::int32_t* integers;
  std::span<const FinishStep> steps;
  /// int32: the integer sum itself, without steps.
  DType dtype;
  Overflow overflow;
  void* out;               ///< whole rows of kTileCols elements are written
  std::int64_t row_bytes;  ///< from one row of `out` to the next
  bool streamed;           ///< past the caches (streams.hpp); rows begin with lines
};

/// Zero points, in magnitude, that float32 still shifts exactly, and that 32 bits do.
inline constexpr std::int64_t kNearAzp = std::int64_t{1} << 21;
inline constexpr std::int64_t kWideAzp = (std::int64_t{1} << 30) + 256;

/// What the elements of a cell reach, as Kernels::ranges has it: none yet.
struct CellEnds {
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();
  std::int32_t most = 0;
};

/// A row on its way to 8-bit codes: neighbouring elements, neighbouring codes, any alignment.
struct RowCodes {
  DType from = DType::float32;  ///< bfloat16, float16 or float32
  const void* source = nullptr;
  std::int64_t count = 0;
  /// Of a cell of one factor: further rows as long, these bytes apart. One row where errors are
  /// asked for, or `next_most`, or `next_ends`.
  std::int64_t rows = 1;
  std::int64_t source_step = 0;  ///< of `next`, too
  std::int64_t code_step = 0;
  float factor = 1.0F;  ///< section 6: what elements are divided by; section 8: multiplied by
  /// Not null: a factor (and zero point) for every `run` elements instead of one for all.
  const float* factors = nullptr;
  const std::int32_t* azps = nullptr;  ///< null: 0
  std::int64_t run = 1;
  void* codes = nullptr;
  DType to = DType::int8;                  ///< int8, uint8 or an fp8 type
  std::int32_t azp = 0;                    ///< of an integer type, below kWideAzp in magnitude
  bool near = true;                        ///< all zero points are below kNearAzp
  Overflow overflow = Overflow::saturate;  ///< of an fp8 type
  bool shows_infinities = true;            ///< fp8: NaN where the type has no infinity; else as
                                           ///< `overflow` says
  bool vectorwise = false;                 ///< section 8 instead of section 6
  std::uint32_t limit = 0;                 ///< section 8: magnitudes, as bits, from here on give 0
  /// Section 6: the factors are positive, every quotient is a number below 2^20 in magnitude.
  bool tame = false;
  /// Not null: what Kernels::invert made of the factor, or of `factors`. Only of tame rows whose
  /// quotients are below 2^9.
  const float* inverses = nullptr;
  const float* inverse_rests = nullptr;
  /// Codes go past the caches where they fill whole lines. The caller ends with a store fence.
  bool streamed = false;
  const void* next = nullptr;  ///< as many bytes as `source`, fetched into the cache meanwhile
  /// Of a row of one factor, not null: raised to the largest magnitude of `next`, which is read
  /// instead of fetched, as Kernels::magnitudes has it. Not where errors are asked for.
  std::int32_t* next_most = nullptr;
  /// The same of bfloat16 rows that become integers by inverses: grown to hold `next`, as
  /// Kernels::ranges has it.
  CellEnds* next_ends = nullptr;

  /// Not null: what the codes lose is added, of one cell the same bits as by Kernels::code_errors.
  /// Codes saturate, without zero points, and are not streamed.
  CodeErrors* errors = nullptr;
  float scale = 1.0F;    ///< section 8, for errors: what a code of 1 stands for
  float largest = 0.0F;  ///< for errors: the magnitude from which a code counts as saturated
};

/// Bits of the longest number halfway between two codes that a quotient of Kernels::invert may come
/// near to: halves up to 511.5 of integers with zero points and up to 127.5 of those without; of
/// fp8 a mantissa of 4 bits with its first, and one more.
inline constexpr int kIntegerTieBits = 10;
inline constexpr int kInt8TieBits = 8;
inline constexpr int kFloat8TieBits = 6;
/// Of codes without zero points.
constexpr int tie_bits(DType to) noexcept {
  if (is_float8(to)) return kFloat8TieBits;
  return to == DType::int8 ? kInt8TieBits : kIntegerTieBits;
}

/// Columns that are scaled and coded together.
inline constexpr std::int64_t kStripColumns = 64;
/// Blocks side by side that are.
inline constexpr std::int64_t kMostBlocks = 64;

/// Rows of cells that are neither scaled nor coded yet.
struct CellRows {
  /// The first row and its types, without factors: cells of `run` elements, the last one perhaps of
  /// fewer; with zero points, one. Further rows as RowCodes has them.
  RowCodes row;
  /// Rows of a cell, the last one perhaps of fewer. Above 1: `run` and `count` are multiples of 64
  /// and cells kMostBlocks at most side by side; or `run` is 1, all rows are one cell's, and
  /// columns behind the last whole strip are left.
  std::int64_t height = 1;
  ScaleRule rule;
  void* scales = nullptr;        ///< neighbours, written
  std::int64_t scale_step = 0;   ///< bytes from one row of cells to the next
  bool exponents = false;        ///< float8_e8m0fnu, of rules that give powers of two; else float32
  std::int32_t* azps = nullptr;  ///< of a rule with zero points, written
  std::int64_t azp_step = 0;     ///< from one row of cells to the next
  bool first_level = false;      ///< fetches_first_level()
};

/// Bits of float32 without a sign: infinity, and the least NaN.
inline constexpr std::uint32_t kInfinityBits = 0x7F800000U;
inline constexpr std::uint32_t kNanBits = 0x7F800001U;

/// Magnitudes in [first, end), as bits of float32.
struct Magnitudes {
  std::uint32_t first, end;
};
/// Infinities and NaN; numbers from a limit on.
inline constexpr Magnitudes kNotFinite{kInfinityBits, 0x80000000U};
constexpr Magnitudes numbers_from(std::uint32_t limit) noexcept { return {limit, kNanBits}; }

/// Neighbouring elements of several lines: what the columns that they make up reach (section 8).
struct LineScan {
  DType from = DType::float32;  ///< bfloat16, float16 or float32
  const void* source = nullptr;
  std::int64_t line_bytes = 0;  ///< from one line to the next
  std::int64_t lines = 0;
  std::int64_t count = 0;   ///< elements of a line
  std::uint32_t limit = 0;  ///< magnitudes, as bits, that columns stay below; NaN is not left out
  std::int32_t* most = nullptr;  ///< [count, and on to a multiple of 16], as bits: raised to it
  std::uint8_t* flags =
      nullptr;  ///< [lines]: 1 where a number is not below the limit; null: unasked
};

/// Products of outliers with rows of weights (section 8), for a tile.
struct OutlierTile {
  std::int64_t rows = 0;
  const float* values = nullptr;  ///< row r's from values + r * stride on
  std::int64_t stride = 0;
  std::int64_t count = 0;  ///< of values in a row, where rows have no lists
  /// Not null: only elements picks[i] of every row, and the weights of these places.
  const std::uint16_t* picks = nullptr;
  /// Lists: counts[r] values, that of place places[r * stride + i] in the weights. Null: all.
  const std::int32_t* counts = nullptr;
  const std::uint16_t* places = nullptr;
  /// Panels of kPanelCols columns, weight_step floats from one to the next and weight_row floats
  /// from row to row, both multiples of kPanelCols.
  const float* weights = nullptr;
  std::int64_t weight_step = kPanelCols;
  std::int64_t weight_row = kTileCols;
  bool first = true;      ///< sums begin at +0; else they go on
  float* sums = nullptr;  ///< [rows][kTileCols]
};

/// Neighbouring elements and the 8-bit codes that stand for them under one scale.
struct CodeRow {
  DType from = DType::float32;  ///< bfloat16, float16 or float32
  const void* values = nullptr;
  DType to = DType::int8;  ///< int8, uint8 or an fp8 type
  const void* codes = nullptr;
  std::int64_t count = 0;
  float scale = 1.0F;
  float largest = 0.0F;  ///< the magnitude from which a code counts as saturated
};

/// Attention (specification section 7) over a chunk of tokens: rows, of which a kernel takes 8 at
/// most, and addresses of tokens' codes. Tokens come sixteen at a time.
inline constexpr std::int64_t kChunkTokens = 256;
inline constexpr std::int64_t kHeadElements = 1024;  ///< from row to row of queries and sums

/// A row's scores in a chunk: the tokens [first, end) are seen.
struct ChunkScores {
  const std::int32_t* sums = nullptr;  ///< [kChunkTokens]
  const float* products = nullptr;     ///< in place of sums, of float tokens
  const float* key_scales = nullptr;   ///< [kChunkTokens]
  const float* value_scales = nullptr;
  std::int64_t first = 0, end = 0;
  float factor = 0.0F;  ///< f
};
/// m, l and W / 32767 of a chunk. l is 0 where no token is seen.
struct ChunkTotals {
  float most = 0.0F, total = 0.0F, step = 0.0F;
};
/// M and L.
struct RowTotals {
  float most = -std::numeric_limits<float>::infinity();
  float total = 0.0F;
};

/// The functions of one instruction set. All of them give the same bits on every one.
struct Kernels {
  const char* on_integers;  ///< what explain says of the tile
  const char* on_floats;

  /// tile(depth, a, b, c, ldc) adds A B to c [rows][ldc], 16 columns of it:
  ///   a  [depth][rows], one column of the row panel after the other
  ///   b  [depth][16], one row of the column panel after the other
  /// b and c are 64-byte aligned, ldc is a multiple of 16; depth may be 0. For each element the
  /// products enter one float32 accumulator in ascending k, product and sum each rounded and never
  /// fused. Panels are padded with zeros: a kernel always computes its whole tile.
  int rows;
  void (*tile)(std::int64_t depth, const float* a, const float* b, float* c,
               std::int64_t ldc) noexcept;

  /// `count` neighbouring elements of an operand type as float32, exactly. Any alignment.
  void (*widen)(DType dtype, const void* source, std::int64_t count, float* out) noexcept;

  /// The nearest values of an operand type to in[i], as neighbouring elements (specification
  /// section 1). Any alignment.
  void (*narrow)(DType dtype, const float* in, std::int64_t count, void* out,
                 Overflow overflow) noexcept;

  /// x[i] *= factors[i * step], of step 0 or 1.
  void (*multiply)(const float* factors, std::int64_t step, std::int64_t count, float* x) noexcept;

  /// sums[i] += a[i] * b[i], exact but for the addition; b null: sums[i] += a[i].
  void (*add_products)(const float* a, const float* b, std::int64_t count, double* sums) noexcept;

  /// out[i] = sums[i] - azp * column_sums[i], rounded once where no product reaches 2^53.
  void (*shift_sums)(const std::int32_t* sums, const std::int32_t* column_sums, double azp,
                     std::int64_t count, float* out) noexcept;

  /// Scales, additions and the conversion to the output's type.
  void (*finish)(const FinishTile& tile) noexcept;

  /// The codes of a row. Every step is rounded by itself.
  void (*quantize)(const RowCodes& row) noexcept;
  /// Scales and codes of cells, row after row. Says how many are done: the next one is left to
  /// `magnitudes` and `quantize`, or one of the few behind it.
  std::int64_t (*quantize_cells)(const CellRows& rows) noexcept;
  /// R of `count` neighbouring elements (section 6), whole blocks of 16, 64 or 256, as float32. Any
  /// alignment; `out` may be a float32 source.
  void (*rotate)(DType from, const void* row, std::int64_t count, std::int64_t block,
                 float* out) noexcept;
  /// Are bfloat16 rows faster where the next one is read meanwhile (RowCodes::next_most)? Where
  /// codes take more steps, lines that are fetched arrive sooner.
  bool reads_next;

  /// 1 / factor in two parts, by which tame rows get the codes that divisions give them. False
  /// where they might get others, or where divisions cost no more. `tie_bits`: bits of the longest
  /// number halfway between two codes that a quotient may come near to.
  bool (*invert)(const float* factors, std::int64_t count, int tie_bits, float* inverses,
                 float* rests) noexcept;

  /// Of `count` neighbouring bfloat16, float16 or float32 elements, the largest magnitude that is
  /// not left out, 0 if there is none. NaN is above infinity.
  float (*absmax)(DType from, const void* row, std::int64_t count, Magnitudes left_out) noexcept;

  /// Cells of `run` such elements, the last one perhaps of fewer: raises most[j] to the largest
  /// magnitude of cell j as float32 bits, NaN above infinity. Of whole cells or single columns as
  /// many elements of `next`, if not null, are fetched into a cache meanwhile.
  void (*magnitudes)(DType from, const void* row, std::int64_t count, std::int64_t run,
                     std::int32_t* most, const void* next) noexcept;

  /// The same, and ranges: [low[j], high[j]] grows to hold the finite elements of cell j.
  void (*ranges)(DType from, const void* row, std::int64_t count, std::int64_t run, float* low,
                 float* high, std::int32_t* most) noexcept;

  /// Adds the errors of a row's codes. Each sum is that of float64 but for a relative error of 18
  /// roundings to float32.
  void (*code_errors)(const CodeRow& row, CodeErrors& sums) noexcept;

  /// out[i] = silu(gate[i]) * up[i] (specification section 7). `out` may be one of the two. What
  /// lies `ahead` bytes behind gate and up is fetched into the cache meanwhile.
  void (*silu_and_mul)(const float* gate, const float* up, std::int64_t count, float* out,
                       std::int64_t ahead) noexcept;

  /// Its gradients: grad_gate[i] = grad[i] * up[i] * slope of silu at gate[i], grad_up[i] = grad[i]
  /// * silu(gate[i]). Results lie apart from arguments.
  void (*silu_and_mul_vjp)(const float* grad, const float* gate, const float* up,
                           std::int64_t count, float* grad_gate, float* grad_up) noexcept;

  /// sums[i] += x[i] * factor, product and sum each rounded. As many elements of `next` are fetched
  /// meanwhile.
  void (*add_scaled)(const float* x, float factor, std::int64_t count, float* sums,
                     const float* next) noexcept;

  /// sums[r][j] = q[r] . keys[j], of rows of kHeadElements (queries) and kChunkTokens (sums);
  /// queries are zero from `depth` on to a multiple of 64, keys are not read there.
  void (*attention_scores)(const std::int8_t* q, std::int64_t rows, std::int64_t depth,
                           const std::int8_t* const* keys, std::int64_t tokens,
                           std::int32_t* sums) noexcept;
  /// Weights b [kChunkTokens], 0 where a token is not seen.
  ChunkTotals (*attention_weights)(const ChunkScores& scores, std::int16_t* weights) noexcept;
  /// sums[r][d] = sum over j of weights[r][j] * values[j][d], of rows of kChunkTokens (weights) and
  /// kHeadElements (sums), written on to a multiple of 64.
  void (*attention_values)(const std::int16_t* weights, std::int64_t rows, std::int64_t depth,
                           const std::int8_t* const* values, std::int64_t tokens,
                           std::int32_t* sums) noexcept;
  /// A chunk enters M, L and O [depth, and on to a multiple of 16].
  void (*attention_add)(const ChunkTotals& chunk, const std::int32_t* sums, std::int64_t depth,
                        RowTotals& row, float* out) noexcept;

  /// The same of tokens that are float32. products[r][0] = q[r] . key, of rows of kHeadElements and
  /// kChunkTokens; all are zero from `depth` on to a multiple of 16.
  void (*attention_products)(const float* q, std::int64_t rows, std::int64_t depth,
                             const float* key, float* products) noexcept;
  /// Weights w [kChunkTokens], of the scores' products; W / 32767 is 1.
  ChunkTotals (*attention_float_weights)(const ChunkScores& scores, float* weights) noexcept;
  void (*attention_add_floats)(const ChunkTotals& chunk, const float* sums, std::int64_t depth,
                               RowTotals& row, float* out) noexcept;

  /// absmax below a limit that is at most infinity, or NaN where there is one; flags[i] becomes 1
  /// where element i reaches the limit (NaN does not). Other threads may do the same to the flags.
  float (*find_outliers)(DType from, const void* row, std::int64_t count, std::uint32_t limit,
                         std::uint8_t* flags) noexcept;

  /// The same for columns, and for flags of lines.
  void (*scan_lines)(const LineScan& lines) noexcept;

  /// A row's products enter its sum in their order, product and sum each rounded.
  void (*add_outliers)(const OutlierTile& tile) noexcept;

  /// out[j][i] = in[i][j] for i < 16 / size, j < 64 / size: elements of `size` bytes (1, 2 or 4),
  /// rows `in_step` and `out_step` bytes apart. Any alignment.
  void (*transpose)(std::int64_t size, const void* in, std::int64_t in_step, void* out,
                    std::int64_t out_step) noexcept;
};

/// Any CPU: 4-wide vectors of the compiler.
extern const Kernels kBaselineKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512Bf16Kernels;
#endif

}  // namespace octavo::cpu
