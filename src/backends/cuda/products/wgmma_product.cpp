// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/products/wgmma_product.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "backends/cuda/kernels/common/chunks.hpp"
#include "backends/cuda/kernels/sm90/dense.hpp"
#include "backends/cuda/kernels/sm90/few_rows.hpp"
#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/launch/tensor_maps.hpp"
#include "core/error.hpp"

namespace octavo::cuda {
namespace {

// A map of `rows` rows of x, and 128 bytes of its columns.
TensorMap map_of(const MatrixView& x, int rows) noexcept {
  TensorMap map;
  const auto bytes = static_cast<std::int32_t>(element_bytes(x.dtype));
  map.base = x.data;
  map.extent[0] = x.shape[1];
  map.extent[1] = x.shape[0];
  map.pitch[1] = x.strides[0] * bytes;
  map.box[0] = static_cast<std::int32_t>(kRowBytes) / bytes;
  map.box[1] = rows;
  map.element_bytes = bytes;
  return map;
}

struct Instance {
  MmaType type;
  Summing summing;
  int out_bytes, parts;
  bool outliers;
  std::int64_t most_rows;  // of the output
  KernelId kernel;
  std::int32_t rows_of_a, rows_of_b, rows_of_out;  // of boxes
  std::int32_t tile_rows, tile_columns;            // of a cluster
  std::uint32_t cluster, threads, shared_bytes;
};

template <class Kernel>
constexpr Instance instance(Summing summing, std::int64_t most_rows, KernelId kernel) {
  return {Kernel::kType,
          summing,
          Kernel::kOutBytes,
          Kernel::kParts,
          Kernel::kOutliers,
          most_rows,
          kernel,
          Kernel::kRows,
          Kernel::kRowsOfB,
          Kernel::kRowsOfOut,
          Kernel::kClusterTile,
          Kernel::kColumns,
          Kernel::kCluster,
          Kernel::kThreads,
          Kernel::kSharedBytes};
}

constexpr std::int64_t kAnyRows = std::numeric_limits<std::int64_t>::max();

// Those of fewer rows first.
constexpr Instance kInstances[] = {
#define OCTAVO_FEW_ROWS_INSTANCE(name, type, summing, bytes, rows, ...)         \
  instance<FewRows<MmaType::type, Summing::summing, bytes, rows, __VA_ARGS__>>( \
      Summing::summing, rows, KernelId::few_rows_##name),
#include "backends/cuda/kernels/sm90/few_rows_instances.inc"
#undef OCTAVO_FEW_ROWS_INSTANCE
#define OCTAVO_DENSE_INSTANCE(name, type, summing, ...)                                     \
  instance<Dense<MmaType::type, Summing::summing, __VA_ARGS__>>(Summing::summing, kAnyRows, \
                                                                KernelId::dense_##name),
#include "backends/cuda/kernels/sm90/dense_instances.inc"
#undef OCTAVO_DENSE_INSTANCE
};

// Whether a row's kernel gives what a path asks for.
bool serves(const Instance& row, const DensePath& path, int out_bytes, bool outliers) noexcept {
  return row.type == path.type && row.summing == path.summing && row.out_bytes == out_bytes &&
         row.outliers == outliers;
}

std::int64_t tiles_of(std::int64_t extent, std::int64_t tile) noexcept {
  return (extent + tile - 1) / tile;
}

std::int64_t clusters_at_once(const Instance& row, std::int64_t multiprocessors) noexcept {
  return std::max<std::int64_t>(multiprocessors / row.cluster, 1);
}

// Whether K may be cut in two: where sums are exact, or every kernel adds their chunks in order.
bool may_cut(const DensePath& path, const WgmmaShape& shape) noexcept {
  return (is_integer(path.type) || is_promoted(path.summing)) &&
         chunks_of(shape.columns, shape.k_bytes) > 1;
}

// Tiles of few rows are narrow, and each brings B twice as fast as its share of memory: they are
// cut only where all parts run at the same time.
const Instance* find_few_rows(const DensePath& path, const WgmmaShape& shape,
                              std::int64_t multiprocessors) noexcept {
  constexpr std::int64_t kColumns = 64;  // of a tile
  const bool cut = may_cut(path, shape) && 2 * tiles_of(shape.columns, kColumns) <= multiprocessors;
  const int parts = cut ? 2 : 1;
  for (const Instance& row : kInstances) {
    if (serves(row, path, shape.out_bytes, shape.outliers) && row.parts == parts &&
        shape.rows <= row.most_rows)
      return &row;
  }
  return nullptr;
}

// Cycles that a CTA takes for 128 bytes of K, and for a tile beside them, as an H200 runs them
// where every multiprocessor has a tile (docs/design/cuda.md).
std::int64_t cycles_of_step(const Instance& row) noexcept {
  constexpr std::int64_t kLarge = 1200, kNarrow = 660, kLow = 680, kPromoted = 700,
                         kLowPromoted = 720, kCut = 840;
  if (row.tile_columns > 128) return kLarge;
  if (row.parts > 1) return kCut;
  const bool low = row.tile_rows == row.rows_of_a;  // nobody else brings B
  if (is_promoted(row.summing)) return low ? kLowPromoted : kPromoted;
  return low ? kLow : kNarrow;
}
std::int64_t cycles_of_tile(const Instance& row) noexcept {
  constexpr std::int64_t kOfColumn = 12, kOfParts = 600;
  return kOfColumn * row.tile_columns + (row.parts > 1 ? kOfParts : 0);
}

// Cycles until all tiles are done: by turns of the device, of which the last one is quicker where
// few multiprocessors have a tile.
double time_of(const Instance& row, const WgmmaShape& shape,
               std::int64_t multiprocessors) noexcept {
  constexpr double kOfTheRest = 0.2;  // of a multiprocessor's time, what others may take from it
  const std::int64_t tiles =
      tiles_of(shape.rows, row.tile_rows) * tiles_of(shape.columns, row.tile_columns);
  const std::int64_t at_once = clusters_at_once(row, multiprocessors);
  const double turns = static_cast<double>(tiles_of(tiles, at_once)),
               full = static_cast<double>(tiles) / static_cast<double>(at_once);
  const std::int64_t steps = tiles_of(tiles_of(shape.k_bytes, kRowBytes), row.parts);
  const std::int64_t cycles = steps * cycles_of_step(row) + cycles_of_tile(row);
  return (turns + kOfTheRest * (full - turns)) * static_cast<double>(cycles);
}

// The kernel that is through with all tiles first: large tiles need the least of memory, small ones
// and those of half of K occupy more multiprocessors.
const Instance* find_quickest(const DensePath& path, const WgmmaShape& shape,
                              std::int64_t multiprocessors) noexcept {
  const bool cut = may_cut(path, shape);
  const Instance* best = nullptr;
  double least = 0;
  for (const Instance& row : kInstances) {
    if (!serves(row, path, shape.out_bytes, shape.outliers) || row.most_rows != kAnyRows ||
        (row.parts > 1 && !cut))
      continue;
    const double time = time_of(row, shape, multiprocessors);
    if (best != nullptr && time >= least) continue;
    best = &row;
    least = time;
  }
  return best;
}

// The kernel of groups: the first of many rows.
const Instance* find_grouped(const DensePath& path) noexcept {
  for (const Instance& row : kInstances)
    if (serves(row, path, 4, false) && row.most_rows == kAnyRows) return &row;
  return nullptr;
}

const Instance* find_instance(const DensePath& path, const WgmmaShape& shape,
                              std::int64_t multiprocessors) noexcept {
  return shape.rows <= kFewRows ? find_few_rows(path, shape, multiprocessors)
                                : find_quickest(path, shape, multiprocessors);
}

// As many clusters as tiles, or as the device runs at a time: those take tiles in turn.
std::uint32_t blocks_of(const Instance& row, std::int64_t row_tiles, std::int64_t columns,
                        const Place& place) noexcept {
  const std::int64_t all = row_tiles * tiles_of(columns, row.tile_columns);
  const std::int64_t most = clusters_at_once(row, multiprocessors(place));
  return static_cast<std::uint32_t>(std::min(all, most)) * row.cluster;
}

// What a launch is told but for the output's map.
Status fill_in(const Instance& row, const WgmmaProduct& product, std::int64_t columns,
               DenseParams<EncodedMap>& params) noexcept {
  const auto& [a, b, out, epilogue] = product;
  const std::int64_t k_bytes = a.shape[1] * element_bytes(a.dtype);
  params.m = static_cast<std::int32_t>(out.shape[0]);
  params.n = static_cast<std::int32_t>(columns);
  params.k_bytes = static_cast<std::int32_t>(k_bytes);
  params.chunk_steps = chunk_steps(columns, k_bytes);
  params.out_type = epilogue.kind;
  params.epilogue = epilogue.quick;
  params.full = epilogue.full;
  params.k_scales = epilogue.k_scales;
  params.out = {};
  OCTAVO_TRY(encode_map(map_of(a, row.rows_of_a), out.device, params.a));
  return encode_map(map_of(b, row.rows_of_b), out.device, params.b);
}

Status no_kernel() noexcept {
  return fail(Code::internal, "dense product: no kernel of that type");
}

}  // namespace

bool wgmma_takes_k_scales(MmaType type) noexcept {
  return std::any_of(std::begin(kInstances), std::end(kInstances), [type](const Instance& row) {
    return row.type == type && row.summing == Summing::scaled;
  });
}

KernelId wgmma_kernel(const DensePath& path, const WgmmaShape& shape,
                      std::int64_t multiprocessors) noexcept {
  const Instance* row = find_instance(path, shape, multiprocessors);
  return row != nullptr ? row->kernel : KernelId::count;
}

bool wgmma_adds_outliers(MmaType type) noexcept {
  return std::any_of(std::begin(kInstances), std::end(kInstances),
                     [type](const Instance& row) { return row.type == type && row.outliers; });
}

Status launch_wgmma(const DensePath& path, const WgmmaProduct& product,
                    const ExecContext& context) noexcept {
  const auto& [a, b, out, epilogue] = product;
  const Place place = context.place(out.device);
  const bool full = epilogue.kind == DenseOut::full;
  const WgmmaShape shape{out.shape[0], out.shape[1], a.shape[1] * element_bytes(a.dtype),
                         full ? 4 : static_cast<int>(element_bytes(out.dtype)),
                         full && epilogue.full.outliers.present()};
  const Instance* row = find_instance(path, shape, multiprocessors(place));
  if (row == nullptr) return no_kernel();
  DenseParams<EncodedMap> params;
  OCTAVO_TRY(fill_in(*row, product, shape.columns, params));
  if (!full) OCTAVO_TRY(encode_map(map_of(out, row->rows_of_out), out.device, params.out));
  const std::int64_t row_tiles = tiles_of(shape.rows, row->tile_rows);
  return launch(row->kernel,
                {blocks_of(*row, row_tiles, shape.columns, place), row->threads, row->shared_bytes},
                &params, place);
}

Status launch_wgmma(const DensePath& path, const WgmmaProduct& product, const RowGroups& groups,
                    const ExecContext& context) noexcept {
  const Place place = context.place(product.out.device);
  const Instance* row = find_grouped(path);
  if (row == nullptr || row->tile_rows != groups.rows_of_tile) return no_kernel();
  DenseParams<EncodedMap> params;
  OCTAVO_TRY(fill_in(*row, product, groups.columns, params));
  params.groups = groups.tiles;
  return launch(
      row->kernel,
      {blocks_of(*row, groups.most_tiles, groups.columns, place), row->threads, row->shared_bytes},
      &params, place);
}

}  // namespace octavo::cuda
