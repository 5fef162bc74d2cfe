// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernels/passes/reduce.hpp"

#include <algorithm>
#include <cstdlib>

#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/launch/scratch.hpp"
#include "backends/cuda/passes/passes.hpp"

namespace octavo::cuda {
namespace {

constexpr std::int64_t kNarrow = 32;       // columns of cells below which a thread has a column
constexpr std::int64_t kMostWidth = 4096;  // of a piece of a wide cell
constexpr std::int64_t kPiece = 8192;      // its elements
constexpr std::int64_t kStripRows = 64;    // of a narrow one; more where strips would be too many
constexpr std::int64_t kMostStrips = 256;

std::int64_t divide_up(std::int64_t n, std::int64_t by) noexcept { return (n + by - 1) / by; }

// A dimension and its cells, not yet cut.
Spans cells_of(std::int64_t extent, std::int64_t origin, std::int64_t cell) noexcept {
  Spans spans;
  spans.extent = extent;
  spans.cell = extent;
  if (cell == kWholeExtent) return spans;
  spans.cell = cell;
  spans.origin = origin;
  spans.first = origin / cell;
  spans.cells = (origin + extent - 1) / cell - spans.first + 1;
  return spans;
}
void cut(Spans& spans, std::int64_t length) noexcept {
  spans.length = length;
  spans.per = divide_up(std::min(spans.cell, spans.origin + spans.extent), length);
}

}  // namespace

Status reduce(const ReduceProblem& p, const ExecContext& context) noexcept {
  const MatrixView& first = p.factors[0];
  if (first.numel() == 0) return {};
  ReduceParams params;
  params.factors = p.factors;
  params.weight = p.weight;
  params.azp = p.azp;
  params.azp.strides[1] = 0;
  ScaleView sums = p.sums;
  const bool down =
      first.strides[0] != 0 && std::abs(first.strides[0]) < std::abs(first.strides[1]);
  if (down) {  // columns lie together: the transposed problem
    for (MatrixView& factor : params.factors) factor = factor.transposed();
    params.weight = params.weight.transposed();
    params.azp = params.azp.transposed();
    sums = sums.transposed();
  }
  params.sums = sums.data;
  params.rows = cells_of(params.factors[0].shape[0], sums.row0, sums.rows);
  params.columns = cells_of(params.factors[0].shape[1], sums.col0, sums.cols);
  const std::int64_t height = std::min(params.rows.cell, params.rows.extent);
  const std::int64_t width = std::min(params.columns.cell, params.columns.extent);
  params.narrow = width < kNarrow;
  if (params.narrow) {
    cut(params.rows, std::min(height, std::max(kStripRows, divide_up(height, kMostStrips))));
  } else {
    cut(params.columns, std::min(width, kMostWidth));
    cut(params.rows, std::clamp<std::int64_t>(kPiece / params.columns.length, 1, height));
  }
  const std::int64_t partials =
      params.rows.cells * params.rows.per *
      (params.narrow ? params.columns.extent : params.columns.cells * params.columns.per);

  const Place place = context.place(first.device);
  Scratch scratch(place);
  OCTAVO_TRY(scratch.take("reduce", static_cast<std::size_t>(partials) * sizeof(double)));
  params.partials = static_cast<double*>(scratch.data());
  OCTAVO_TRY(
      launch_pass<ReduceKernel>(KernelId::reduce, ReduceKernel::pieces(params), params, place));
  return launch_pass<SumPartialsKernel>(KernelId::sum_partials, SumPartialsKernel::pieces(params),
                                        params, place);
}

}  // namespace octavo::cuda
