// SPDX-License-Identifier: Apache-2.0
// Quantising activations on their way into a product.
#include <array>
#include <cstdlib>

#include "backends/host/passes.hpp"
#include "core/data/cells.hpp"
#include "core/data/matrix.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "core/fp_env.hpp"
#include "core/scales/quantize_rules.hpp"

namespace octavo::host {
namespace {

constexpr std::int32_t kExactInteger = 1 << 24;  // in float32, and all that are nearer to 0

// One number of a device's matrix, in its stream: `integer` where float32 has no such value.
Status fill_first(const Passes& passes, const MatrixView& matrix, float value, std::int32_t integer,
                  const ExecContext& context) noexcept {
  const auto first =
      static_cast<TensorView>(matrix_view(matrix.data, matrix.dtype, 1, 1, matrix.device));
  const bool exact = std::abs(std::int64_t{integer}) <= kExactInteger;
  if (exact) return passes.fill({first, value}, context);
  const TensorView here(&integer, DType::int32, {1, 1});
  const DeviceKind& kind = *find_kind(matrix.device.type);
  return kind.memory->copy(here, first, sizeof(integer), context.stream);
}

// The one scale of a static rule, where the quantiser and the product read it; x may be empty.
Status fill_static(const Passes& passes, const ActivationQuant& rule, const QuantizeProblem& q,
                   Memory memory, const ExecContext& context) noexcept {
  if (q.scales.numel() == 0) return {};
  if (memory == Memory::host) {
    *static_cast<float*>(q.scales.data) = rule.static_scale;
    if (q.azp.defined()) *static_cast<std::int32_t*>(q.azp.data) = rule.static_azp;
    return {};
  }
  OCTAVO_TRY(fill_first(passes, q.scales, rule.static_scale, 0, context));
  if (!q.azp.defined()) return {};
  return fill_first(passes, q.azp, static_cast<float>(rule.static_azp), rule.static_azp, context);
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

// Codes of R(x), whose rows lie in a cache between.
Status rotated(const Passes& passes, const QuantizeProblem& q, std::int64_t block, Arena& arena,
               const ExecContext& context) noexcept {
  QuantizeRowsProblem rows;
  rows.rotate = {q.x, block, {}};
  rows.quantize = q;
  rows.quantize.x = matrix_view(nullptr, DType::float32, q.x.shape[0], q.x.shape[1], q.x.device);
  return passes.quantize_rows(rows, arena, context);
}

Status by_cells(const Passes& passes, Member& member, Arena& arena, Memory memory,
                const ExecContext& context) noexcept {
  const ActivationQuant& rule = *member.a.quantize;
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
    if (q.static_scales) OCTAVO_TRY(fill_static(passes, rule, q, memory, context));
    if (rule.spec.non_finite == NonFinite::error)
      OCTAVO_TRY(passes.check_finite({q.operation, q.x}, context));
    if (rule.rotation == 0) OCTAVO_TRY(passes.quantize(q, context));
  }
  if (rule.rotation != 0) OCTAVO_TRY(rotated(passes, q, rule.rotation, arena, context));
  const MatrixView& scales = q.shown_scales.defined() ? q.shown_scales : q.scales;
  member.a.data = q.codes;
  member.a.scale[0] = {ScaleKind::tensor, 1.0F, scales, q.grid.rows, q.grid.cols, 0, 0};
  member.a.azp = q.azp;
  if (q.azp.defined() && q.grid.rows == kWholeExtent) member.a.azp.strides[0] = 0;
  return {};
}

// The absolute maxima as the scales of the product.
Status make_scales(const Passes& passes, const MatrixView& absmax, const MatrixView& scales,
                   Memory memory, const ExecContext& context) noexcept {
  if (memory == Memory::device) {
    return passes.rescale({absmax, {}, {}, scales, 127.0F}, context);
  }
  const FloatEnvironment environment;
  const auto* from = static_cast<const float*>(absmax.data);
  auto* to = static_cast<float*>(scales.data);
  for (std::int64_t m = 0; m < absmax.shape[0]; ++m) to[m] = from[m] / 127.0F;
  return {};
}

// Where a device counts the columns that it finds.
std::int64_t* count_on_device(const ActivationQuant& rule, Arena& arena) noexcept {
  return rule.found_count != nullptr ? rule.found_count : arena.take<std::int64_t>(1);
}

Status by_rows(const Passes& passes, Member& member, Arena& arena, Memory memory,
               const ExecContext& context, const MatmulOptions& options) noexcept {
  const ActivationQuant& rule = *member.a.quantize;
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
  const MatrixView scales = matrix_view(arena.take<float>(rows), DType::float32, rows, 1, x.device);
  // Before the columns are known, room has to be reserved for all that there may be. On a device
  // they never are: what follows the last of them is -1.
  const bool finds = q.threshold > 0.0F;
  const bool here = memory == Memory::host;
  std::int64_t count = finds ? cols : q.fixed_columns.count;
  const bool outliers = finds || count > 0;
  if (outliers) {
    q.column_flags = arena.take<std::uint8_t>(cols);
    q.columns = rule.found_columns.defined() ? static_cast<std::int64_t*>(rule.found_columns.data)
                                             : arena.take<std::int64_t>(cols);
    q.column_count = here ? &count : count_on_device(rule, arena);
  }
  if (!arena.counting()) {
    OCTAVO_TRY(passes.vectorwise(q, context));
    if (here && rule.found_count != nullptr) *rule.found_count = count;
    OCTAVO_TRY(make_scales(passes, q.absmax, scales, memory, context));
  }
  member.a.data = q.codes;
  member.a.scale[0] = {ScaleKind::tensor, 1.0F, scales, 1, kWholeExtent, 0, 0};
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

Status quantize_activations_by(const Passes& passes, Member& member, const MatmulOptions& options,
                               Arena& arena, const ExecContext& context, Memory memory) noexcept {
  if (member.a.quantize == nullptr) return {};
  const bool vectorwise = member.a.quantize->vectorwise;
  OCTAVO_TRY(vectorwise ? by_rows(passes, member, arena, memory, context, options)
                        : by_cells(passes, member, arena, memory, context));
  member.a.quantize = nullptr;
  return {};
}

}  // namespace octavo::host
