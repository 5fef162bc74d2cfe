// SPDX-License-Identifier: Apache-2.0
// Quantising activations on their way into a product.
#include <array>

#include "backends/host/passes.hpp"
#include "core/cells.hpp"
#include "core/error.hpp"
#include "core/fp_env.hpp"
#include "core/matrix.hpp"
#include "core/quantize_rules.hpp"

namespace octavo::host {
namespace {

// The one scale of a static rule, where the quantiser and the product read it; x may be empty.
void fill_static(const ActivationQuant& rule, const QuantizeProblem& q) noexcept {
  if (q.scales.numel() == 0) return;
  *static_cast<float*>(q.scales.data) = rule.static_scale;
  if (q.azp.defined()) *static_cast<std::int32_t*>(q.azp.data) = rule.static_azp;
}

// Integer codes cannot tell a NaN, and a static scale does not: each row gets a scale of its own,
// which is NaN for a row with one. Its cells are the rows, all of one scale.
void show_rows(QuantizeProblem& q, std::int64_t rows, Arena& arena) noexcept {
  q.grid = {1, kWholeExtent};
  for (MatrixView* v : {&q.scales, &q.azp}) {
    v->shape = {rows, 1};
    v->strides = {0, 0};
  }
  q.shown_scales = matrix_view(arena.take<float>(rows), DType::float32, rows, 1, q.x.device);
}

Status section6(const Passes& passes, Member& member, Arena& arena,
                const ExecContext& context) noexcept {
  const ActivationQuant& rule = *member.a.quantise;
  const MatrixView x = member.a.data;
  const std::int64_t rows = x.shape[0];
  const std::int64_t cols = x.shape[1];
  QuantizeProblem q;
  q.operation = "linear";
  q.x = x;
  q.spec = rule.spec;
  q.grid = scale_grid(rule.spec.granularity, Side::a);
  const std::int64_t down = cells(rows, q.grid.rows);
  const std::int64_t across = cells(cols, q.grid.cols);
  q.codes = rule.codes.defined() ? MatrixView(rule.codes)
                                 : matrix_view(arena.take<std::uint8_t>(rows * cols),
                                               rule.spec.dtype, rows, cols, x.device);
  const DType scale_dtype = rule.spec.scale_dtype;
  q.scales = rule.scales.defined() ? MatrixView(rule.scales)
                                   : matrix_view(arena.take<float>(down * across), scale_dtype,
                                                 down, across, x.device);
  if (rule.spec.azp) {
    q.azp =
        matrix_view(arena.take<std::int32_t>(down * across), DType::int32, down, across, x.device);
  }
  q.static_scales = rule.static_scale > 0.0F;
  if (q.static_scales && is_integer8(q.spec.dtype) && q.spec.non_finite == NonFinite::propagate) {
    show_rows(q, rows, arena);
  }
  if (!arena.counting()) {
    if (q.static_scales) fill_static(rule, q);
    if (rule.spec.non_finite == NonFinite::error)
      OCTAVO_TRY(passes.check_finite({q.operation, q.x}, context));
    OCTAVO_TRY(passes.quantize(q, context));
  }
  const MatrixView& scales = q.shown_scales.defined() ? q.shown_scales : q.scales;
  member.a.data = q.codes;
  member.a.scale[0] = {ScaleKind::tensor, 1.0F, scales, q.grid.rows, q.grid.cols, 0, 0};
  member.a.azp = q.azp;
  if (q.azp.defined() && q.grid.rows == kWholeExtent) member.a.azp.strides[0] = 0;
  return {};
}

// The absolute maxima as the scales of the product.
ScaleView scales_of(const MatrixView& absmax, float* scale, bool counting) noexcept {
  const std::int64_t rows = absmax.shape[0];
  const FloatEnvironment environment;
  const auto* from = static_cast<const float*>(absmax.data);
  for (std::int64_t m = 0; m < rows && !counting; ++m) scale[m] = from[m] / 127.0F;
  return {ScaleKind::tensor,
          1.0F,
          matrix_view(scale, DType::float32, rows, 1, absmax.device),
          1,
          kWholeExtent,
          0,
          0};
}

Status section8(const Passes& passes, Member& member, Arena& arena, const ExecContext& context,
                const MatmulOptions& options) noexcept {
  const ActivationQuant& rule = *member.a.quantise;
  const MatrixView x = member.a.data;
  const std::int64_t rows = x.shape[0];
  const std::int64_t cols = x.shape[1];
  VectorwiseProblem q;
  q.x = x;
  q.threshold = rule.outlier_threshold;
  q.whole_columns = rule.whole_columns;
  q.by_element = options.batch_invariant;
  q.fixed_columns = rule.outlier_columns;
  q.codes = rule.codes.defined() ? MatrixView(rule.codes)
                                 : matrix_view(arena.take<std::int8_t>(rows * cols), DType::int8,
                                               rows, cols, x.device);
  q.absmax = matrix_view(arena.take<float>(rows), DType::float32, rows, 1, x.device);
  float* scale = arena.take<float>(rows);
  // Before the columns are known, room has to be reserved for all that there may be.
  const bool finds = q.threshold > 0.0F;
  std::int64_t count = finds ? cols : q.fixed_columns.count;
  const bool outliers = finds || count > 0;
  if (outliers) {
    q.column_flags = arena.take<std::uint8_t>(cols);
    q.columns = rule.found_columns.defined() ? static_cast<std::int64_t*>(rule.found_columns.data)
                                             : arena.take<std::int64_t>(cols);
    q.column_count = &count;
  }
  if (!arena.counting()) {
    OCTAVO_TRY(passes.vectorwise(q, context));
    if (rule.found_count != nullptr) *rule.found_count = count;
  }
  member.a.data = q.codes;
  member.a.scale[0] = scales_of(q.absmax, scale, arena.counting());
  if (count == 0) return {};
  Outliers& o = member.epilogue.outliers;
  o.a = x;
  o.columns = {q.columns, count};
  if (q.by_element && finds) {
    o.threshold = q.threshold;
    o.whole = q.fixed_columns;
  }
  return {};
}

}  // namespace

Status prologue_by(const Passes& passes, Member& member, const MatmulOptions& options, Arena& arena,
                   const ExecContext& context) noexcept {
  if (member.a.quantise == nullptr) return {};
  const bool vectorwise = member.a.quantise->vectorwise;
  OCTAVO_TRY(vectorwise ? section8(passes, member, arena, context, options)
                        : section6(passes, member, arena, context));
  member.a.quantise = nullptr;
  return {};
}

}  // namespace octavo::host
