// SPDX-License-Identifier: Apache-2.0
// Which kernels quantise a matrix: one reading where there are cells enough for all threads, two
// where cells are large and few, codes alone by given scales.
#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "backends/cuda/kernels/passes/quantize.hpp"
#include "backends/cuda/kernels/passes/quantize_rows.hpp"
#include "backends/cuda/kernels/passes/quantize_tall.hpp"
#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/launch/scratch.hpp"
#include "backends/cuda/passes/passes.hpp"
#include "core/scales/quantize_rules.hpp"

namespace octavo::cuda {
namespace {

/// Elements of a cell beyond which several CTAs share it where cells are few: of rows as many as a
/// CTA keeps.
constexpr std::int64_t kTallElements = 4096;
constexpr std::int64_t kLongElements =
    kOctet * QuantizeLongRows::kThreads * QuantizeLongRows::kKept;
/// Rows of a band, of those that CTAs share: one for each warp.
constexpr std::int64_t kLeastBandRows = QuantizeRanges::kWarps;
constexpr std::int64_t kManyCells = 1024;  ///< narrow ones: a thread for each reads neighbours

/// CTAs of teams that have a cell each.
template <class Kernel>
std::int64_t pieces_of(std::int64_t cells, std::int64_t team) noexcept {
  return (cells * team + Kernel::kThreads - 1) / Kernel::kThreads;
}

// Columns together: the problem of the transposed matrix.
QuantizeProblem by_rows(QuantizeProblem q) noexcept {
  const bool transposed = q.x.shape[0] > 1 && (q.x.shape[1] <= 1 ||
                                               std::abs(q.x.strides[0]) < std::abs(q.x.strides[1]));
  if (!transposed) return q;
  for (MatrixView* view : {&q.x, &q.codes, &q.scales, &q.azp, &q.shown_scales})
    *view = view->transposed();
  std::swap(q.grid.rows, q.grid.cols);
  return q;
}

CellGrid grid_of(const QuantizeProblem& q) noexcept {
  CellGrid g;
  g.x = q.x;
  g.codes = q.codes;
  g.scales = q.scales;
  g.azp = q.azp;
  g.shown_scales = q.shown_scales;
  g.height = std::min(q.grid.rows, std::max<std::int64_t>(q.x.shape[0], 1));
  g.width = std::min(q.grid.cols, std::max<std::int64_t>(q.x.shape[1], 1));
  g.rule = scale_rule(q.spec);
  g.dtype = q.spec.dtype;
  g.overflow = q.spec.overflow;
  g.ignores = q.spec.non_finite == NonFinite::ignore;
  g.static_scales = q.static_scales;
  g.input_words = has_words(q.x, kOctet * element_bytes(q.x.dtype));
  g.code_words = has_words(q.codes, kOctet);
  return g;
}

/// The kernel that has cells of a size, and how many threads share one.
struct CellsKernel {
  KernelId id;
  std::int64_t team;
};
CellsKernel kernel_of(const CellGrid& g) noexcept {
  const std::int64_t octets = g.height * octets_of(g.width);
  if (g.width < kOctet && g.height > 1 && g.scales.numel() >= kManyCells)
    return {KernelId::quantize_narrow_cells, 1};
  std::int64_t team = 1;
  while (team < octets && team < 32) team *= 2;
  if (octets <= team) return {KernelId::quantize_small_cells, team};
  const bool many = octets > team * QuantizeLargeCells::kKept;
  return {KernelId::quantize_large_cells, many ? QuantizeLargeCells::kThreads : team};
}

template <class Kernel>
Status launch_cells(const CellsKernel& kernel, const CellGrid& g, const Place& place) noexcept {
  return launch_pass<Kernel>(kernel.id, pieces_of<Kernel>(g.scales.numel(), kernel.team),
                             {g, static_cast<std::uint32_t>(kernel.team)}, place);
}

// Whole octets of rows that lie as words, symmetric: what activations mostly are.
bool are_rows(const CellGrid& g) noexcept {
  constexpr std::int64_t kMostOctets = QuantizeLongRows::kThreads * QuantizeLongRows::kKept;
  return g.x.shape[0] > 0 && g.height == 1 && !g.rule.azp && !g.static_scales && g.input_words &&
         g.code_words && g.width % kOctet == 0 && g.x.shape[1] % g.width == 0 && g.width > 0 &&
         g.width / kOctet <= kMostOctets && g.scales.numel() <= std::int64_t{1} << 30;
}

template <class Kernel>
Status launch_rows(KernelId id, const CellGrid& g, std::int64_t team, const Place& place) noexcept {
  typename Kernel::Params p;
  p.grid = g;
  p.cells = static_cast<std::uint32_t>(g.scales.numel());
  p.across = static_cast<std::uint32_t>(g.scales.shape[1]);
  p.octets = static_cast<std::uint32_t>(g.width / kOctet);
  p.team = static_cast<std::uint32_t>(team);
  return launch_pass<Kernel>(id, pieces_of<Kernel>(g.scales.numel(), team), p, place);
}

Status by_rows_of_words(const CellGrid& g, const Place& place) noexcept {
  const std::int64_t octets = g.width / kOctet;
  std::int64_t team = 1;
  while (team < octets && team < 32) team *= 2;
  if (octets <= team * QuantizeShortRows::kKept)
    return launch_rows<QuantizeShortRows>(KernelId::quantize_short_rows, g, team, place);
  if (octets > team * QuantizeLongRows::kKept) team = QuantizeLongRows::kThreads;
  return launch_rows<QuantizeLongRows>(KernelId::quantize_long_rows, g, team, place);
}

// By cells: octets begin where cells do.
Status by_cells(CellGrid g, const CellsKernel& kernel, const Place& place) noexcept {
  const bool starts = g.scales.shape[1] <= 1 || g.width % kOctet == 0;
  g.input_words = g.input_words && starts;
  g.code_words = g.code_words && starts;
  if (kernel.id == KernelId::quantize_narrow_cells)
    return launch_cells<QuantizeNarrowCells>(kernel, g, place);
  if (kernel.id == KernelId::quantize_small_cells)
    return launch_cells<QuantizeSmallCells>(kernel, g, place);
  return launch_cells<QuantizeLargeCells>(kernel, g, place);
}

Status write_codes(const CellGrid& g, const Place& place) noexcept {
  if (!g.codes.defined()) return {};
  return launch_elements<QuantizeCodes>(KernelId::quantize_codes,
                                        g.x.shape[0] * octets_of(g.x.shape[1]), {g}, place);
}

// By bands of large cells, of which there are as many as keep the device busy.
Status by_bands(const char* operation, const CellGrid& g, const Place& place) noexcept {
  const std::int64_t down = g.scales.shape[0], cells = g.scales.numel();
  const auto part = [&](std::int64_t width) {
    return g.scales.shape[1] == 1 || g.width % width == 0;
  };
  RangeParts parts;
  parts.width = part(32) ? 32 : part(kOctet) ? kOctet : 1;
  parts.across = (g.x.shape[1] + parts.width - 1) / parts.width;
  const std::int64_t busy = blocks_for(std::numeric_limits<std::int32_t>::max(), place);
  const std::int64_t alone = QuantizeRanges::pieces(g, parts);
  const std::int64_t most = (g.height + kLeastBandRows - 1) / kLeastBandRows;
  parts.bands = std::clamp<std::int64_t>((2 * busy + alone - 1) / alone, 1, most);
  parts.band_rows = (g.height + parts.bands - 1) / parts.bands;
  Scratch scratch(place);
  OCTAVO_TRY(scratch.take(
      operation, static_cast<std::size_t>(down * parts.bands * parts.across) * sizeof(Range)));
  parts.parts = static_cast<Range*>(scratch.data());
  OCTAVO_TRY(launch_pass<QuantizeRanges>(KernelId::quantize_ranges,
                                         QuantizeRanges::pieces(g, parts), {g, parts}, place));
  const std::uint32_t team = cells >= QuantizeScales::kThreads ? 1 : QuantizeScales::kThreads;
  OCTAVO_TRY(launch_pass<QuantizeScales>(
      KernelId::quantize_scales, pieces_of<QuantizeScales>(cells, team), {g, parts, team}, place));
  return write_codes(g, place);
}

}  // namespace

Status quantize(const QuantizeProblem& problem, const ExecContext& context) noexcept {
  const CellGrid g = grid_of(by_rows(problem));
  const Place place = context.place(problem.x.device);
  if (g.static_scales && !g.shown_scales.defined()) return write_codes(g, place);
  const CellsKernel kernel = kernel_of(g);
  const std::int64_t ctas = g.scales.numel() * kernel.team / QuantizeSmallCells::kThreads;
  const bool few = ctas < blocks_for(std::numeric_limits<std::int32_t>::max(), place);
  const std::int64_t most = g.height > 1 ? kTallElements : kLongElements;
  if (few && g.height * g.width > most) return by_bands(problem.operation, g, place);
  return are_rows(g) ? by_rows_of_words(g, place) : by_cells(g, kernel, place);
}

}  // namespace octavo::cuda
