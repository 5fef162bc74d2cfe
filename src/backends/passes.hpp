// SPDX-License-Identifier: Apache-2.0
// What a backend does beside products: every operation on elements, scales, codes, offsets and
// counts. Who calls them never touches memory of operands, which may be a device's.
//
// All addresses are of the device, and work is queued on the context's stream.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "backends/arena.hpp"
#include "core/data/code_table.hpp"
#include "core/data/matrix.hpp"
#include "core/error.hpp"
#include "octavo/code_errors.hpp"
#include "octavo/context.hpp"
#include "octavo/problem.hpp"
#include "octavo/status.hpp"

namespace octavo {

/// Elements of one view to those of another of its shape, as section 1 converts them. Integers of
/// 32 and 64 bits stay exact; what has one type on both sides is copied whatever it is.
struct ConvertProblem {
  TensorView from;
  TensorView to;
  Overflow overflow = Overflow::saturate;
};

/// Every element of a view becomes the value of its type nearest to `value`.
struct FillProblem {
  TensorView to;
  float value = 0.0F;
};

/// Rows of a matrix: to[i] = from[rows[i] / divisor].
struct GatherProblem {
  MatrixView from;                     ///< [R, C]
  const std::int64_t* rows = nullptr;  ///< [n]
  std::int64_t divisor = 1;
  MatrixView to;  ///< [n, C], the same type
};

/// Codes of 8 bits through a table, in place.
struct MapProblem {
  MatrixView codes;  ///< [R, C]
  CodeTable table;
};

/// Scales out of PyTorch's SWIZZLE_32_4_4, whole tiles of 128 x 4:
///
///   to[r, c] = tiles[tile * 512 + r % 32 * 16 + r / 32 % 4 * 4 + c % 4],
///   tile = r / 128 * ceil(C / 4) + c / 4
struct UnswizzleProblem {
  const void* tiles = nullptr;
  MatrixView to;  ///< [R, C] of 8-bit scales
};

/// A matrix that has to be finite: `check_finite` fails with a sentence that names the first
/// element that is not. On a device it waits.
struct FiniteProblem {
  const char* operation;
  MatrixView x;  ///< [R, C], a float type
};

/// Section 6: codes, scales and zero points of a matrix, cell by cell of a grid.
struct QuantizeProblem {
  const char* operation = "quantize";
  MatrixView x;  ///< [R, C], bfloat16, float16 or float32
  QuantizeSpec spec;
  ScaleGrid grid;
  MatrixView scales;  ///< [cells down, cells across]; read when `static_scales`, else written
  MatrixView azp;     ///< int32, the same shape; undefined when symmetric; as `scales`
  bool static_scales = false;
  /// With static scales: float32 of their shape, written: a cell's scale, or NaN where the cell has
  /// a NaN or an infinity. Undefined: not wanted.
  MatrixView shown_scales;
  MatrixView codes;  ///< [R, C]; undefined: only scales are wanted
  /// Not null, which only operands in the host's memory have: what the codes lose is added, as
  /// CodeErrorsProblem says, of contiguous rows and float32 scales without zero points.
  CodeErrors* errors = nullptr;
};

/// What codes lose of the values that they stand for, in one thread: who has many pieces of work
/// shares them out. On a device it waits.
struct CodeErrorsProblem {
  MatrixView values;  ///< [R, C], bfloat16, float16 or float32; contiguous rows
  MatrixView codes;   ///< [R, C], 8 bits; contiguous rows
  MatrixView scales;  ///< float32, one for each cell of the grid, without zero points
  ScaleGrid grid;
  float largest;                 ///< the magnitude from which a code counts as saturated
  CodeErrors* errors = nullptr;  ///< on the host, added to
};

/// Section 8: LLM.int8's statistics and codes by row. By column: the transposed views of x and of
/// codes. A row with a NaN, or with an infinity that is no outlier, has the statistic NaN and codes
/// of 0.
struct VectorwiseProblem {
  MatrixView x;                ///< [R, C], bfloat16, float16 or float32
  float threshold = 0.0F;      ///< 0: no outliers are looked for
  bool whole_columns = false;  ///< outlier columns stay out of the statistics altogether
  bool by_element = false;   ///< codes are 0 at outlier elements (and in fixed columns), not in all
                             ///< of a column that has one; whole_columns has no effect
  ColumnList fixed_columns;  ///< columns of code 0 that stay out of the statistics
  const std::uint8_t* zero_rows = nullptr;  ///< [R]: rows whose codes are 0 where not 0; null: none
  MatrixView codes;   ///< int8 [R, C]; undefined: only statistics and columns are wanted
  MatrixView absmax;  ///< float32 [R, 1]
  std::uint8_t* column_flags = nullptr;  ///< [C], written: not 0 for a column whose codes are all
                                         ///< 0; null: columns are not wanted, none are fixed,
                                         ///< outliers are elements
  std::int64_t* columns = nullptr;       ///< room for C indices: fixed and found ones, ascending
  std::int64_t* column_count = nullptr;  ///< how many were written
  /// As QuantizeProblem's, by scales of absmax / 127, where no columns are wanted.
  CodeErrors* errors = nullptr;
};

/// Elements times scales, what gradients need around their products:
///
///   out[i, j] = cast((source[i, j] - azp(i, j)) / divisor * scales[0](i, j) * ...)
///
/// in float32, each step rounded by itself, by the scales in their order. Those of no kind are
/// skipped, and so is a divisor of 1.
struct RescaleProblem {
  MatrixView source;  ///< [R, C], an operand type
  ScaleView azp;      ///< integers; no kind: none. The difference is rounded once
  std::array<ScaleView, 5> scales;
  MatrixView out;  ///< [R, C], any strides, apart from the source
  float divisor = 1.0F;
};

/// Sums of products over the cells of a scale grid, what the gradients of scales and bias are:
///
///   sums(i, j) += (factors[0][i, j] - azp[i]) * factors[1][i, j] * factors[2][i, j] * weight(i, j)
///
/// in float64, in an order that depends on shapes and strides alone.
struct ReduceProblem {
  std::array<MatrixView, 3> factors;  ///< [R, C], any strides, 0 repeats; the first is defined
  MatrixView azp;                     ///< [R, 1] of integers; undefined: none
  ScaleView weight;                   ///< one more factor
  ScaleView sums;                     ///< float64: the cell that element (i, j) is added to
  std::span<double> scratch;          ///< a row's or a column's cells, or more, for more threads
};

/// Where a result lay inside its type's range: out = grad where low <= value * scale <= high, else
/// 0.
struct MaskProblem {
  MatrixView grad;   ///< [R, C], a float type
  MatrixView value;  ///< [R, C], float32
  Factor scale;      ///< of columns
  float low, high;
  MatrixView out;  ///< [R, C]
};

/// What a static quantiser's gradients are made of, with q = x / scale, in float32:
///
///   grad_x[i, j] = grad[i, j] where q (+ azp) is in the codes' range, else 0
///   slopes[i, j] = code - azp - q there, code - azp elsewhere
struct LearnedStepProblem {
  MatrixView x;                    ///< [R, C], a float type
  DType dtype = DType::undefined;  ///< of the codes
  Overflow overflow = Overflow::saturate;
  ScaleView scale;
  MatrixView azp;     ///< integers, one for each cell of the scale; undefined: none
  MatrixView grad;    ///< [R, C]
  MatrixView grad_x;  ///< [R, C]; undefined: not wanted
  MatrixView slopes;  ///< float32 [R, C], row-major; undefined: not wanted
};

/// What a dequantiser's gradients are, from sums over the cells of its grid, [cells down, across]:
///
///   coded -= azp * plain        azp_gradient = -plain * scale
struct DequantizeSumsProblem {
  MatrixView plain;  ///< float64: sums of grad
  MatrixView coded;  ///< float64: sums of grad * code; undefined: not wanted
  MatrixView azp;    ///< int32
  MatrixView scale;
  MatrixView azp_gradient;  ///< float32; undefined: not wanted
};

/// Zero points of a matrix's rows in two parts: near = azp, cut to [low, low + 255], and
/// rest = near - azp.
struct SplitZeroPointsProblem {
  MatrixView azp;  ///< [S, 1] of integers
  std::int64_t low = 0;
  MatrixView near;  ///< int32 [S, 1]
  MatrixView rest;  ///< float32 [S, 1]
};

/// Sums as several numbers of a narrower type, each what the ones before it left; what is not
/// finite shows in the first.
struct SplitSumsProblem {
  MatrixView sums;    ///< float64 [R, 1]
  MatrixView pieces;  ///< [R, n], a float type
};

/// Section 7: out[r, i] = cast(silu(x[r, i]) * x[r, I + i]).
struct SiluProblem {
  MatrixView x;    ///< [R, 2 I], bfloat16, float16 or float32
  MatrixView out;  ///< [R, I], a float type; apart from x
  Overflow overflow = Overflow::saturate;
};

/// Its gradient, in float32, each step rounded by itself:
///
///   grad_x[r, i] = grad[r, i] * x[r, I + i] * slope      grad_x[r, I + i] = grad[r, i] * silu(x[r,
///   i]) slope = s * (a * t + 1)      s = 1 / (1 + e^-x), t = 1 - s, a = x cut to [-128, 128]
struct SiluVjpProblem {
  MatrixView grad;    ///< [R, I], a float type
  MatrixView x;       ///< [R, 2 I], a float type
  MatrixView grad_x;  ///< [R, 2 I], a float type; apart from both
};

/// Section 7: rows over their root mean square, times a weight; a residual is added first and gets
/// the sum.
struct RmsNormProblem {
  MatrixView x;         ///< [R, C], bfloat16, float16 or float32
  MatrixView residual;  ///< [R, C] of x's type, read and written, apart from x; undefined: none
  MatrixView weight;    ///< [1, C] of x's type or float32; undefined: none
  float epsilon = 0.0F;
  MatrixView out;  ///< [R, C] of x's type; x itself, or apart from all
};
/// Sums of squares that a row is added up in.
inline constexpr std::int64_t kNormSums = 256;

/// Section 6: R(x), converted once; in float32 through the stages of blocks of 16, 64 or 256
/// columns, of which there are whole ones.
struct RotateProblem {
  MatrixView x;  ///< [R, C], bfloat16, float16 or float32
  std::int64_t block = 0;
  MatrixView out;  ///< [R, C], a float type; apart from x, or x itself
};

/// Rows of rms_norm, of silu_and_mul or rotated ones, and their codes, without a matrix of them in
/// memory.
struct QuantizeRowsProblem {
  RmsNormProblem norm;       ///< its x undefined: none; its out is not written
  SiluProblem silu;          ///< its x undefined: none; its out is not written
  RotateProblem rotate;      ///< its x undefined: none; its out is not written
  QuantizeProblem quantize;  ///< its x without memory: type and shape of the rows between
};

/// Codes of 8 bits of tokens in pages, and a float32 scale for each token and head. Strides count
/// elements from page to page, from slot to slot, from head to head; a head's elements are
/// neighbours.
struct CodedTokens {
  const std::int8_t* codes = nullptr;  ///< of float8_e4m3fn where queries are floats
  std::array<std::int64_t, 3> strides{};
  const float* scales = nullptr;
  std::array<std::int64_t, 3> scale_strides{};
};

/// Section 7: attention. Rows are in the order of [batch, queries, heads].
struct AttentionProblem {
  std::int64_t batch = 0, queries = 0, heads = 0, kv_heads = 0, depth = 0;
  const std::int8_t* q = nullptr;   ///< codes of rows, [rows, depth], row-major
  const float* q_scales = nullptr;  ///< [rows]
  const float* q_floats = nullptr;  ///< not null: rows themselves, [rows, depth], and no codes
  CodedTokens keys, values;
  std::int64_t page_size = 0;
  std::int64_t table_step = 0;            ///< from a sequence's pages to the next one's
  const std::int64_t* pages = nullptr;    ///< on the host: where a sequence's tokens are
  const std::int64_t* lengths = nullptr;  ///< on the host, [batch]
  const std::int64_t* starts = nullptr;   ///< on the host, [batch]
  float scale = 0.0F;
  bool causal = true;
  std::int64_t window = 0;  ///< 0: none
  MatrixView out;           ///< [rows, depth], bfloat16, float16 or float32

  std::int64_t rows() const noexcept { return batch * queries * heads; }
};
/// Positions whose products with values are one exact sum.
inline constexpr std::int64_t kAttentionChunk = 256;
inline constexpr std::int64_t kMostHeadElements = 1024;

/// The tokens [first, end) that a query of a sequence sees.
struct SeenTokens {
  std::int64_t first, end;
};
inline SeenTokens seen_tokens(const AttentionProblem& p, std::int64_t sequence,
                              std::int64_t query) noexcept {
  const std::int64_t position = p.lengths[sequence] - p.queries + query;
  std::int64_t first = p.starts[sequence];
  if (p.window > 0 && position - p.window + 1 > first) first = position - p.window + 1;
  const std::int64_t length = p.lengths[sequence];
  const std::int64_t end = p.causal && position + 1 < length ? position + 1 : length;
  return {first, end > first ? end : first};
}

/// Section 7: out[m] = cast(the sum over slots t of factors[m, t] * rows[places[m, t]]), from +0 in
/// ascending t, in float32, each step rounded by itself.
struct CombineProblem {
  MatrixView rows;  ///< float32 [R, N], contiguous along N
  std::int64_t slots = 0;
  const std::int64_t* places = nullptr;  ///< [M][slots]; -1: no term
  const float* factors = nullptr;        ///< [M][slots]; null: all 1
  MatrixView out;                        ///< [M, N], a float type
  Overflow overflow = Overflow::saturate;
};

/// Rows of a left operand: elements, scale, zero points ([R, 1], stride 0 for one).
struct Rows {
  MatrixView data;
  ScaleView scale;
  MatrixView azp;
};

/// Section 7: silu_and_mul of h, quantised by a rule on the way, or as it is.
struct ActivateProblem {
  MatrixView h;                           ///< float32 [R, 2 I]
  const ActivationQuant* rule = nullptr;  ///< null: none
  DType dtype = DType::undefined;         ///< without a rule, of the result
};

/// Section 3 from sums on: out = epilogue((sums * scale_a) * scale_b), what the product of two
/// operands is finished by. Sums may be another machine's, or several machines'.
struct FinishProblem {
  MatrixView sums;  ///< [M, N], int32 or float32
  /// Scales of A and B, constant along K; what is added and multiplied behind them; the output. Of
  /// the operands nothing else is read, and outliers are not among what is added.
  Member product;
  MatmulOptions options;
};

/// All are there; rms_norm, rotate, quantize_rows and attention may be null.
struct Passes {
  Status (*convert)(const ConvertProblem& problem, const ExecContext& context) noexcept;
  Status (*fill)(const FillProblem& problem, const ExecContext& context) noexcept;
  Status (*gather)(const GatherProblem& problem, const ExecContext& context) noexcept;
  Status (*map_codes)(const MapProblem& problem, const ExecContext& context) noexcept;
  Status (*unswizzle)(const UnswizzleProblem& problem, const ExecContext& context) noexcept;
  Status (*check_finite)(const FiniteProblem& problem, const ExecContext& context) noexcept;

  Status (*quantize)(const QuantizeProblem& problem, const ExecContext& context) noexcept;
  Status (*code_errors)(const CodeErrorsProblem& problem, const ExecContext& context) noexcept;
  Status (*vectorwise)(const VectorwiseProblem& problem, const ExecContext& context) noexcept;
  /// The quantiser that a member's A carries, in place of it: codes and scales in `arena`'s memory
  /// or where the rule says. Over an arena that only counts or outlines nothing runs.
  Status (*quantize_activations)(Member& member, const MatmulOptions& options, Arena& arena,
                                 const ExecContext& context) noexcept;

  Status (*rescale)(const RescaleProblem& problem, const ExecContext& context) noexcept;
  Status (*reduce)(const ReduceProblem& problem, const ExecContext& context) noexcept;
  Status (*mask)(const MaskProblem& problem, const ExecContext& context) noexcept;
  Status (*learned_step)(const LearnedStepProblem& problem, const ExecContext& context) noexcept;
  Status (*dequantize_sums)(const DequantizeSumsProblem& problem,
                            const ExecContext& context) noexcept;
  Status (*split_zero_points)(const SplitZeroPointsProblem& problem,
                              const ExecContext& context) noexcept;
  Status (*split_sums)(const SplitSumsProblem& problem, const ExecContext& context) noexcept;

  Status (*silu_and_mul)(const SiluProblem& problem, const ExecContext& context) noexcept;
  Status (*rms_norm)(const RmsNormProblem& problem, const ExecContext& context) noexcept;
  Status (*rotate)(const RotateProblem& problem, const ExecContext& context) noexcept;
  /// Rows between lie in `arena`'s memory; over an arena that only counts nothing runs.
  Status (*quantize_rows)(const QuantizeRowsProblem& problem, Arena& arena,
                          const ExecContext& context) noexcept;
  /// Scratch memory that attention works faster with, on so many threads.
  std::size_t (*attention_scratch)(const AttentionProblem& problem, int threads) noexcept;
  /// `scratch`: null, or as much.
  Status (*attention)(const AttentionProblem& problem, void* scratch,
                      const ExecContext& context) noexcept;
  Status (*silu_and_mul_vjp)(const SiluVjpProblem& problem, const ExecContext& context) noexcept;
  Status (*combine)(const CombineProblem& problem, const ExecContext& context) noexcept;
  /// As `quantize_activations`, of experts: the result in `arena`'s memory.
  Status (*activate)(const ActivateProblem& problem, Rows& result, Arena& arena,
                     const ExecContext& context) noexcept;

  Status (*finish)(const FinishProblem& problem, const ExecContext& context) noexcept;
};

/// A compact matrix in memory of `arena`; over a counting arena it has no address.
inline MatrixView take_matrix(Arena& arena, DType dtype, std::int64_t rows, std::int64_t columns,
                              const Device& device) noexcept {
  void* data = arena.take<char>(rows * columns * element_bytes(dtype));
  return matrix_view(data, dtype, rows, columns, device);
}

/// Quantises x [R, K] by a rule in `arena`, through the products' own quantiser; over a counting
/// arena it only reserves.
inline Result<Rows> quantize(const Passes& passes, const ActivationQuant& rule, const MatrixView& x,
                             Arena& arena, const ExecContext& context) noexcept {
  Member member;
  member.a.data = x;
  member.a.quantize = &rule;
  OCTAVO_TRY(passes.quantize_activations(member, {}, arena, context));
  return Rows{member.a.data, member.a.scale[0], member.a.azp};
}

}  // namespace octavo
