// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/products/grouped_product.hpp"

#include <algorithm>
#include <cstdint>

#include "backends/cuda/kernels/common/chunks.hpp"
#include "backends/cuda/kernels/passes/cut_rows.hpp"
#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/launch/scratch.hpp"
#include "backends/cuda/passes/passes.hpp"
#include "backends/cuda/products/k_scales.hpp"
#include "backends/cuda/products/mma_product.hpp"
#include "backends/cuda/products/tiled.hpp"
#include "backends/cuda/products/wgmma_product.hpp"
#include "core/data/element.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "core/problem/members.hpp"
#include "core/scales/grid.hpp"

namespace octavo::cuda {
namespace {

// Rows of each member of a batch; 0 where offsets cut them.
std::int64_t rows_of_each(const MatmulProblem& p) noexcept {
  return p.groups.split == Split::batch ? p.single.out.shape[0] : 0;
}

// Whether the groups' rows of a matrix are rows of one, one behind the other.
bool is_one_matrix(std::int64_t step, std::int64_t row_stride, std::int64_t each) noexcept {
  return step == each * row_stride;
}

// All groups' rows of A, C and the output as one member's, of the first group's B.
Member all_rows(const MatmulProblem& p) noexcept {
  if (p.groups.split == Split::rows) return cut_to(p, cut_extent(p));
  Member all = p.single;
  all.a.data.shape[0] *= p.groups.count;
  all.out.shape[0] *= p.groups.count;
  return all;
}

// What a group has for itself. Rows of all groups are counted from the first one's on.
void step_by_groups(const MatmulProblem& p, FullEpilogue& full) noexcept {
  const GroupSteps& steps = p.groups.steps;
  full.scale_a.group_step = steps.scale_a[0] - rows_of_each(p) * full.scale_a.step;
  full.scale_b.group_step = steps.scale_b[0];
  full.bias.group_step = steps.bias;
}

// A group leaves the device half empty: its tiles are fewer than half of the clusters that run.
bool are_small(std::int64_t rows, std::int64_t columns, std::int64_t groups) noexcept {
  constexpr std::int64_t kColumnsOfTile = 256, kClusters = kMultiprocessors / 2;
  const auto tiles = [](std::int64_t extent, std::int64_t tile) {
    return (extent + tile - 1) / tile;
  };
  return tiles((rows + groups - 1) / groups, kWgmmaGroupRows) * tiles(columns, kColumnsOfTile) <
         kClusters;
}

// The weights of all groups as rows of K, [groups, N, K]: as they are, or in `memory`.
Status to_tiled_stack(const MatmulProblem& p, Scratch& memory, const ExecContext& context,
                      MatrixView& rows, std::int32_t& rows_of_each_b) noexcept {
  const MatrixView b = p.single.b.data.transposed();
  const std::int64_t groups = p.groups.count, step = p.groups.steps.b, n = b.shape[0];
  if (is_tiled(b) && step >= 0 && step % b.strides[0] == 0 &&
      step / b.strides[0] * groups + n <= kMostExtent) {
    rows_of_each_b = static_cast<std::int32_t>(step / b.strides[0]);
    rows = b;
    rows.shape[0] = (groups - 1) * rows_of_each_b + n;
    return {};
  }
  OCTAVO_TRY(take_tiled(memory, b.dtype, groups * n, b.shape[1], b.device, rows));
  rows_of_each_b = static_cast<std::int32_t>(n);
  MatrixView first = rows;
  first.shape[0] = n;
  return convert(
      {.from = stacked(b, p.groups, step), .to = stacked(first, p.groups, n * rows.strides[0])},
      context);
}

// Ends of groups, where they lie on the host.
void give_ends(const MatmulProblem& p, std::int32_t rows, CutRowsKernel::Params& params) noexcept {
  const TensorView& offs = p.groups.offs;
  const auto at = [&](std::int64_t i) {
    return static_cast<std::int32_t>(
        std::clamp<std::int64_t>(load_int(offs.dtype, offs.data, i * offs.strides[0]), 0, rows));
  };
  const std::int64_t before = p.groups.prefix ? 1 : 0;
  params.first = p.groups.prefix ? at(0) : 0;
  for (std::int64_t g = 0; g < p.groups.count; ++g) params.given[g] = at(g + before);
}

// The list of tiles in `memory`, and zeros behind the last group.
Status cut_rows(const MatmulProblem& p, const MatrixView& out, Scratch& memory,
                const ExecContext& context, RowGroups& groups) noexcept {
  constexpr std::size_t kHead = alignof(RowTile);  // of the count
  groups.most_tiles = out.shape[0] / groups.rows_of_tile + p.groups.count;
  OCTAVO_TRY(memory.take("grouped product",
                         kHead + static_cast<std::size_t>(groups.most_tiles) * sizeof(RowTile)));
  CutRowsKernel::Params params;
  const TensorView& offs = p.groups.offs;
  params.groups = static_cast<std::int32_t>(p.groups.count);
  params.rows = static_cast<std::int32_t>(out.shape[0]);
  params.columns = static_cast<std::int32_t>(out.shape[1]);
  params.each = static_cast<std::int32_t>(rows_of_each(p));
  params.tile_rows = groups.rows_of_tile;
  params.count = static_cast<std::int32_t*>(memory.data());
  params.tiles = reinterpret_cast<RowTile*>(static_cast<char*>(memory.data()) + kHead);
  params.out = out;
  std::int64_t pieces = 1;
  if (offs.defined() && on_host(offs)) {
    give_ends(p, params.rows, params);
    pieces = std::max<std::int64_t>(tail(p).numel() > 0 ? tail(p).shape[0] : 0, 1);
  } else if (offs.defined()) {
    params.ends = offs.data;
    params.stride = offs.strides[0];
    params.dtype = offs.dtype;
    params.prefix = p.groups.prefix;
    pieces = out.shape[0];  // behind the last group may be all of them
  }
  groups.tiles.count = params.count;
  groups.tiles.tiles = params.tiles;
  return launch_pass<CutRowsKernel>(KernelId::cut_rows, pieces, params, context.place(out.device));
}

}  // namespace

bool is_at_once(const MatmulProblem& p, const DensePath& path) noexcept {
  const Split split = p.groups.split;
  const std::int64_t groups = p.groups.count;
  if (split != Split::rows && split != Split::batch) return false;
  const bool given = split == Split::rows && on_host(p.groups.offs);
  if (groups < 2 || groups > (given ? CutRowsKernel::kMostGiven : CutRowsKernel::kMostGroups))
    return false;
  const Member& first = p.single;
  if (first.a.quantize != nullptr || first.b.packed != nullptr || has_zero_points(first) ||
      first.epilogue.outliers.present() || sum_chunks(first, p.options).several())
    return false;
  const GroupSteps& steps = p.groups.steps;
  const std::int64_t each = rows_of_each(p);
  if (!is_one_matrix(steps.a, first.a.data.strides[0], each) ||
      !is_one_matrix(steps.out, first.out.strides[0], each) ||
      (first.epilogue.c.defined() && !is_one_matrix(steps.c, first.epilogue.c.strides[0], each)))
    return false;
  const Member all = all_rows(p);
  const std::int64_t rows = all.out.shape[0], columns = all.out.shape[1];
  if (all.a.data.shape[1] == 0 || rows > kMostExtent || columns * groups > kMostExtent)
    return false;
  if (path.cores == Cores::wgmma && !are_small(rows, columns, groups)) return false;
  // Cells of several rows begin anew in each member of a batch.
  if (has_k_scales(first) && each > 0 && first.a.scale[0].rows > 1) return false;
  FullEpilogue full;
  return fuses(without_k_scales(all), p.options, full);
}

Status run_at_once(const MatmulProblem& p, const DensePath& path,
                   const ExecContext& context) noexcept {
  const Member all = all_rows(p);
  if (all.out.numel() == 0) return {};
  const Place place = context.place(all.out.device);
  Scratch copied_a(place), copied_b(place), tiles(place);
  MatrixView a = all.a.data, b;
  OCTAVO_TRY(to_tiled(a, copied_a, context));
  RowGroups groups;
  groups.columns = all.out.shape[1];
  groups.rows_of_tile =
      path.cores == Cores::wgmma
          ? kWgmmaGroupRows
          : mma_group_rows(all.out.shape[0], groups.columns, p.groups.count, place);
  OCTAVO_TRY(to_tiled_stack(p, copied_b, context, b, groups.tiles.rows_of_b));
  OCTAVO_TRY(cut_rows(p, all.out, tiles, context, groups));
  DenseEpilogue epilogue;
  KScalesOnDevice k_scales(place);
  epilogue.kind = DenseOut::full;
  if (!fuses(without_k_scales(all), p.options, epilogue.full))
    return fail(Code::internal, "{}: the kernel was not to finish its sums", p.operation);
  OCTAVO_TRY(k_scales.make(p, k_scale_units(path.cores), context, epilogue.k_scales));
  step_by_groups(p, epilogue.full);
  return path.cores == Cores::wgmma ? launch_wgmma(path, {a, b, all.out, epilogue}, groups, context)
                                    : launch_mma(path, a, b, epilogue, groups, place);
}

}  // namespace octavo::cuda
