// SPDX-License-Identifier: Apache-2.0
// Problem lines: one spelling of a problem for tests, bench, command line and bug reports.
//
//   scaled_mm e4m3fn:e4m3fn:bf16 scale=token:channel bias 16x4096x14336
//   grouped_mm int8:int8:bf16 groups=32+0+32+64 128x1536x2048
//
// Grammar: operation, A:B:out types, then any of the words below in any order, then MxNxK.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/backend.hpp"
#include "octavo/dtype.hpp"
#include "octavo/problem.hpp"
#include "octavo/scale.hpp"

namespace octavo {

/// How operands are laid out in memory.
enum class LineLayout : std::uint8_t {
  natural,    ///< A row-major; B as weights are stored, K contiguous
  row_major,  ///< A and B row-major                                   (layout=row)
  strided,    ///< every second element of a larger buffer             (layout=strided)
  reversed,   ///< negative strides                                    (layout=reversed)
  broadcast,  ///< one row of A for all M, stride 0                    (layout=broadcast)
};

/// What LLM.int8's outliers are.
enum class LineOutliers : std::uint8_t {
  columns,
  whole,     ///< columns that stay out of row statistics    (outliers=whole)
  elements,  ///< row by row: options.batch_invariant        (outliers=elements)
};

/// A problem line, parsed.
struct ProblemLine {
  std::string operation = "scaled_mm";  ///< scaled_mm, grouped_mm, scaled_grouped_mm
  DType a = DType::int8, b = DType::int8, out = DType::undefined;  ///< "int8:int8:bf16"
  std::int64_t m = 0, n = 0, k = 0;  ///< with groups: totals of the dimension that is cut

  bool has_scale_a = false, has_scale_b = false;  ///< whether `scale` names them
  Granularity scale_a, scale_b;                   ///< scale=token:channel, `none` for no scale
  DType scale_dtype = DType::float32;             ///< scale_dtype=bf16|fp16|e8m0fnu
  DType bias = DType::undefined;                  ///< bias, bias=bf16
  bool azp = false;  ///< azp (per token), azp=tensor; with quantize: codes have zero points
  bool azp_per_tensor = false;       ///< azp=tensor
  float alpha = 1.0F, beta = 0.0F;   ///< alpha=0.5 beta=0.25 (brings a C of the output's kind)
  bool has_scale_result = false;     ///< whether the line has the word
  float scale_result = 1.0F;         ///< scale_result=0.5, scale_result=vector
  bool scale_result_vector = false;  ///< scale_result=vector
  std::vector<std::int64_t> groups;  ///< groups=32+0+96
  Split split = Split::none;         ///< split=rows|columns|inner|batch|list
  bool prepacked = false;            ///< prepacked
  DType quantize =
      DType::undefined;         ///< quantize=int8: float A, quantised on its way into the product
  float static_scale = 0.0F;    ///< static=0.01: the scale of quantize
  std::int32_t static_azp = 0;  ///< static=0.01:-7: and its zero point
  std::int32_t rotation = 0;    ///< rotation=64: of quantize, before all else
  float threshold = 0.0F;       ///< threshold=6: LLM.int8 (with quantize=int8)
  LineOutliers outliers = LineOutliers::columns;  ///< outliers=columns|whole|elements
  std::vector<std::int64_t> outlier_columns;      ///< outlier_columns=3+17: fixed ones of LLM.int8
  bool exact_subnormals = false;                  ///< subnormals=exact
  std::int32_t k_chunks = 0;                      ///< k_chunks=24
  LineLayout layout = LineLayout::natural;        ///< layout=natural|row|strided|reversed|broadcast
  std::uint64_t seed = 1;                         ///< seed=7
  bool old_spelling = false;  ///< quantise=, which is read as quantize= until 1.0
};

/// A word that may stand in a line, and what it must be: "bias", "be bias or bias=fp32|bf16|fp16".
struct LineWordRule {
  std::string_view word, rule;  ///< and what it must be
};

/// The words that the parser reads.
OCTAVO_API std::vector<LineWordRule> problem_line_words();
/// What a line may begin with.
OCTAVO_API std::vector<std::string_view> problem_line_operations();

/// Parses a line. Throws Error (invalid_argument) naming the word that is wrong and what would be
/// right.
OCTAVO_API ProblemLine parse_problem_line(std::string_view line);

/// The canonical spelling; parsing it gives the same problem.
OCTAVO_API std::string to_string(const ProblemLine& line);

/// The part that a tensor plays in a line's problem.
enum class Role : std::uint8_t { a, b, scale_a, scale_b, azp, c, bias, scale_result, offs, out };

/// Gives a tensor of a line the strides that the line's layout says, from its shape; reversed ones
/// are negative, and `data` is not moved.
OCTAVO_API void apply_layout(TensorView& tensor, Role role, LineLayout layout) noexcept;

/// Where the tensors of a line's problem come from: memory with or without content.
class OCTAVO_API TensorSource {
 public:
  virtual ~TensorSource() = default;
  /// A tensor of that type and shape; `entry` counts the members of a list. The view's memory must
  /// outlive the problem.
  virtual TensorView make(Role role, std::int64_t entry, DType dtype,
                          std::span<const std::int64_t> shape) = 0;
};

/// The problem of a line, with everything that it refers to beside the source's tensors.
class OCTAVO_API LineProblem {
 public:
  struct Impl;
  explicit LineProblem(std::shared_ptr<const Impl> impl) noexcept : impl_(std::move(impl)) {}
  /// The problem; it refers to this object's tensors.
  const MatmulProblem& problem() const noexcept;

 private:
  std::shared_ptr<const Impl> impl_;
};

/// Builds the problem of a line over the tensors of a source. `prepacked` packs B for `backend`
/// (null: the best that packs). Throws Error, as the operation itself does.
OCTAVO_API LineProblem make_problem(const ProblemLine& line, TensorSource& source,
                                    const char* backend = nullptr);

/// What would run that problem, without making its operands. Throws Error.
OCTAVO_API Explanation explain(const ProblemLine& line, const ExecContext& context = {},
                               const char* backend = nullptr);

}  // namespace octavo
