// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/products/k_scales.hpp"

#include <cstdint>

#include "backends/cuda/passes/passes.hpp"
#include "backends/cuda/products/tiled.hpp"
#include "core/data/matrix.hpp"
#include "core/problem/members.hpp"
#include "core/scales/grid.hpp"

namespace octavo::cuda {
namespace {

// The scale as A's: lines by K.
ScaleView by_lines(const ScaleView& scale, Side side) noexcept {
  return side == Side::a ? scale : scale.transposed();
}

// Cells that begin at multiples of `unit`, in numbers that a kernel can count.
bool are_whole(std::int64_t cell, std::int64_t first, std::int64_t unit) noexcept {
  return cell <= kMostExtent && first <= kMostExtent && cell % unit == 0 && first % unit == 0;
}

bool fits(const OperandView& x, Side side, const KScaleUnits& units) noexcept {
  if (!varies_along_k(x, side)) return true;
  const ScaleView s = by_lines(x.scale[0], side);
  const bool of_each = side == Side::a || s.rows == 1;
  return !x.scale[1].present() && are_whole(s.cols, s.col0, units.step) &&
         (s.rows == kWholeExtent || are_whole(s.rows, s.row0, of_each ? 1 : units.columns));
}

// In float32: as they are, or copies that lie together.
Status to_float32(ScaleView& scale, const MatrixView& lines, std::int64_t groups,
                  std::int64_t& group_step, Scratch& memory, const ExecContext& context) noexcept {
  Elements& data = scale.data;
  if (data.dtype == DType::float32) return {};
  const auto cells = [](std::int64_t extent, std::int64_t first, std::int64_t cell) {
    return cell == kWholeExtent ? 1 : (first + extent + cell - 1) / cell;
  };
  MatrixView given;
  static_cast<Elements&>(given) = data;
  given.shape = {cells(lines.shape[0], scale.row0, scale.rows),
                 cells(lines.shape[1], scale.col0, scale.cols)};
  const auto bytes = static_cast<std::size_t>(groups * given.numel()) * sizeof(float);
  OCTAVO_TRY(memory.take("dense product", bytes));
  const MatrixView wide =
      matrix_view(memory.data(), DType::float32, given.shape[0], given.shape[1], data.device);
  Groups all;
  all.count = groups;
  OCTAVO_TRY(convert(
      {.from = stacked(given, all, group_step), .to = stacked(wide, all, wide.numel())}, context));
  group_step = groups > 1 ? wide.numel() : 0;
  data = wide;
  return {};
}

// Of the first of so many groups, whose scales are `group_step` apart.
Status make(const OperandView& x, Side side, const KScaleUnits& units, std::int64_t groups,
            std::int64_t group_step, Scratch& memory, const ExecContext& context,
            KScale& out) noexcept {
  if (!varies_along_k(x, side)) return {};
  ScaleView s = by_lines(x.scale[0], side);
  const MatrixView lines = side == Side::a ? x.data : x.data.transposed();
  OCTAVO_TRY(to_float32(s, lines, groups, group_step, memory, context));
  out.values = static_cast<const float*>(s.data.data);
  out.group_step = group_step;
  out.k_step = s.data.strides[1];
  out.steps = static_cast<std::int32_t>(s.cols / units.step);
  out.first_step = static_cast<std::int32_t>(s.col0 / units.step);
  if (s.rows == kWholeExtent) return {};
  out.line_step = s.data.strides[0];
  out.lines = static_cast<std::int32_t>(s.rows);
  out.first_line = static_cast<std::int32_t>(s.row0);
  return {};
}

}  // namespace

bool has_k_scales(const Member& p) noexcept {
  const bool made = p.a.quantize != nullptr && !p.a.quantize->vectorwise &&
                    scale_grid(p.a.quantize->spec.granularity, Side::a).cols != kWholeExtent;
  return made || varies_along_k(p.a, Side::a) || varies_along_k(p.b, Side::b);
}

const char* lacks_k_scales(const Member& p, Split split, const KScaleUnits& units) noexcept {
  if (split == Split::inner) return "scales that vary along a K that offsets cut";
  const bool columns = varies_along_k(p.b, Side::b) && by_lines(p.b.scale[0], Side::b).rows > 1;
  if (split == Split::columns && columns)
    return "scales that vary along K and are shared by columns that offsets cut";
  const bool made = p.a.quantize != nullptr && !p.a.quantize->vectorwise;
  const ScaleGrid grid = made ? scale_grid(p.a.quantize->spec.granularity, Side::a) : ScaleGrid{};
  if (!fits(p.a, Side::a, units) || !fits(p.b, Side::b, units) ||
      (grid.cols != kWholeExtent && !are_whole(grid.cols, 0, units.step)))
    return units.step == kMmaKScales.step
               ? "scales that vary along K otherwise than by multiples of 32"
               : "scales that vary along K otherwise than by multiples of 128, of single columns "
                 "or of multiples of 128";
  return nullptr;
}

Member without_k_scales(const Member& p) noexcept {
  Member rest = p;
  if (varies_along_k(p.a, Side::a)) rest.a.scale = {};
  if (varies_along_k(p.b, Side::b)) rest.b.scale = {};
  return rest;
}

Status KScalesOnDevice::make(const Member& p, const KScaleUnits& units, const ExecContext& context,
                             KScales& out) noexcept {
  OCTAVO_TRY(cuda::make(p.a, Side::a, units, 1, 0, a_, context, out.a));
  return cuda::make(p.b, Side::b, units, 1, 0, b_, context, out.b);
}

Status KScalesOnDevice::make(const MatmulProblem& p, const KScaleUnits& units,
                             const ExecContext& context, KScales& out) noexcept {
  const Groups& groups = p.groups;
  const bool batch = groups.split == Split::batch;
  const Member first = batch ? p.single : cut_to(p, cut_extent(p));
  OCTAVO_TRY(cuda::make(first.a, Side::a, units, batch ? groups.count : 1, groups.steps.scale_a[0],
                        a_, context, out.a));
  if (batch) out.a.group_step -= first.out.shape[0] * out.a.line_step;
  return cuda::make(first.b, Side::b, units, groups.count, groups.steps.scale_b[0], b_, context,
                    out.b);
}

}  // namespace octavo::cuda
