// SPDX-License-Identifier: Apache-2.0
// Activations quantised on their way into a product: sections 6 and 8 of the specification, whole
// matrices at a time.
#include "backends/reference/reference.hpp"
#include "core/data/cells.hpp"
#include "core/data/matrix.hpp"
#include "core/error.hpp"
#include "core/fp_env.hpp"
#include "core/scales/grid.hpp"
#include "core/scales/quantize_rules.hpp"

namespace octavo::reference {
namespace {

MatrixView given_or_made(const TensorView& given, Arena& arena, DType dtype, std::int64_t rows,
                         std::int64_t columns, const Device& device) {
  return given.defined() ? MatrixView(given) : take_matrix(arena, dtype, rows, columns, device);
}

// Section 6: cells of a grid have a scale each, and a zero point.
Status by_cells(Member& member, Arena& arena, const ExecContext& context) {
  const ActivationQuant& rule = *member.a.quantize;
  const MatrixView x = member.a.data;
  const std::int64_t rows = x.shape[0], columns = x.shape[1];
  QuantizeProblem q;
  q.operation = "linear";
  q.x = x;
  q.spec = rule.spec;
  q.grid = scale_grid(rule.spec.granularity, Side::a);
  const std::int64_t down = cells(rows, q.grid.rows), across = cells(columns, q.grid.cols);
  q.codes = given_or_made(rule.codes, arena, rule.spec.dtype, rows, columns, x.device);
  q.scales = given_or_made(rule.scales, arena, rule.spec.scale_dtype, down, across, x.device);
  if (rule.spec.azp) q.azp = take_matrix(arena, DType::int32, down, across, x.device);
  q.static_scales = rule.static_scale > 0.0F;
  MatrixView scales = q.scales, azp = q.azp;
  std::int64_t cell_rows = q.grid.rows;
  // One scale for everything shows no NaN in integer codes: rows have scales of their own then.
  MatrixView of_rows;
  MatrixView rotated;
  if (rule.rotation != 0) rotated = take_matrix(arena, DType::float32, rows, columns, x.device);
  const bool shows = q.static_scales && is_integer8(rule.spec.dtype) &&
                     rule.spec.non_finite == NonFinite::propagate;
  if (shows) {
    of_rows = take_matrix(arena, DType::float32, rows, 1, x.device);
    scales = of_rows;
    cell_rows = 1;
  }
  if (azp.defined() && (shows || cell_rows == kWholeExtent)) {
    azp = MatrixView(azp, rows, 1);
    azp.strides = {0, 0};
  }
  member.a.data = q.codes;
  member.a.azp = azp;
  member.a.scale[0] = {ScaleKind::tensor, 1.0F, scales, cell_rows, q.grid.cols, 0, 0};
  if (arena.counting()) return {};
  if (shows) {  // every row is a cell, and all read the one scale
    q.grid = {1, kWholeExtent};
    for (MatrixView* v : {&q.scales, &q.azp}) *v = MatrixView(*v, rows, 1);
    q.scales.strides = q.azp.strides = {0, 0};
    q.shown_scales = of_rows;
  }
  if (q.static_scales && q.scales.numel() > 0) {
    *static_cast<float*>(q.scales.data) = rule.static_scale;
    if (q.azp.defined()) *static_cast<std::int32_t*>(q.azp.data) = rule.static_azp;
  }
  if (rule.spec.non_finite == NonFinite::error) {
    OCTAVO_TRY(check_finite({q.operation, x}, context));
  }
  if (rule.rotation != 0) {
    q.x = rotated;
    OCTAVO_TRY(rotate({x, rule.rotation, rotated}, context));
  }
  return quantize(q, context);
}

// Section 8: rows have scales of absmax / 127; columns of outliers stay floats.
Status by_rows(Member& member, const MatmulOptions& options, Arena& arena,
               const ExecContext& context) {
  const ActivationQuant& rule = *member.a.quantize;
  const MatrixView x = member.a.data;
  const std::int64_t rows = x.shape[0], columns = x.shape[1];
  const bool finds = rule.outlier_threshold > 0.0F;
  VectorwiseProblem q;
  q.x = x;
  q.threshold = rule.outlier_threshold;
  q.whole_columns = rule.whole_columns;
  q.by_element = options.batch_invariant;
  q.fixed_columns = rule.outlier_columns;
  q.codes = given_or_made(rule.codes, arena, DType::int8, rows, columns, x.device);
  q.absmax = take_matrix(arena, DType::float32, rows, 1, x.device);
  const MatrixView scales = take_matrix(arena, DType::float32, rows, 1, x.device);
  std::int64_t count = finds ? columns : q.fixed_columns.count;  // at most
  if (count > 0 || finds) {
    q.column_flags = arena.take<std::uint8_t>(columns);
    q.columns = rule.found_columns.defined() ? static_cast<std::int64_t*>(rule.found_columns.data)
                                             : arena.take<std::int64_t>(columns);
    q.column_count = &count;
  }
  if (!arena.counting()) {
    const FloatEnvironment environment;
    OCTAVO_TRY(vectorwise(q, context));
    if (rule.found_count != nullptr) *rule.found_count = count;
    for (std::int64_t m = 0; m < rows; ++m) {
      static_cast<float*>(scales.data)[m] = static_cast<const float*>(q.absmax.data)[m] / 127.0F;
    }
  }
  member.a.data = q.codes;
  member.a.scale[0] = {ScaleKind::tensor, 1.0F, scales, 1, kWholeExtent, 0, 0};
  if (count == 0) return {};
  Outliers& outliers = member.epilogue.outliers;
  outliers.a = x;
  outliers.columns = {q.columns, count};
  if (options.batch_invariant && finds) {
    outliers.threshold = rule.outlier_threshold;
    outliers.whole = q.fixed_columns;
  }
  return {};
}

}  // namespace

Status quantize_activations(Member& member, const MatmulOptions& options, Arena& arena,
                            const ExecContext& context) noexcept {
  if (member.a.quantize == nullptr) return {};
  OCTAVO_TRY(member.a.quantize->vectorwise ? by_rows(member, options, arena, context)
                                           : by_cells(member, arena, context));
  member.a.quantize = nullptr;
  return {};
}

Status activate(const ActivateProblem& p, Rows& result, Arena& arena,
                const ExecContext& context) noexcept {
  const DType dtype = p.rule != nullptr ? DType::float32 : p.dtype;
  const MatrixView floats = take_matrix(arena, dtype, p.h.shape[0], p.h.shape[1] / 2, p.h.device);
  if (!arena.counting()) OCTAVO_TRY(silu_and_mul({.x = p.h, .out = floats}, context));
  result = {floats, {}, {}};
  if (p.rule == nullptr) return {};
  OCTAVO_TRY_ASSIGN(result, octavo::quantize(kPasses, *p.rule, floats, arena, context));
  return {};
}

}  // namespace octavo::reference
