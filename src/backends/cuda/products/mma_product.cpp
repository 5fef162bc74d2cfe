// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/products/mma_product.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "core/error.hpp"

namespace octavo::cuda {
namespace {

struct Instance {
  MmaType type;
  MmaTerms terms;
  KernelId large, small;
};
constexpr Instance kInstances[] = {
#define OCTAVO_MMA_INSTANCE(name, type, terms) \
  {MmaType::type, MmaTerms::terms, KernelId::mma_##name##_large, KernelId::mma_##name##_small},
#include "backends/cuda/kernels/sm80/mma_instances.inc"
#undef OCTAVO_MMA_INSTANCE
};

// Of all types alike.
using Large = Mma<MmaType::s8_s8, kLargeTile>;
using Small = Mma<MmaType::s8_s8, kSmallTile>;

template <class Kernel>
std::int64_t tiles_of(std::int64_t rows, std::int64_t columns) noexcept {
  return (rows + Kernel::kRows - 1) / Kernel::kRows *
         ((columns + Kernel::kColumns - 1) / Kernel::kColumns);
}

// Small tiles read operands twice as often for each product: they are taken where large ones leave
// more than half of the device idle. Their bits are the same.
bool are_few(std::int64_t large_tiles, const Place& place) noexcept {
  return 2 * large_tiles < std::int64_t{multiprocessors(place)};
}

// A CTA for each tile: the device runs them in their order.
template <class Kernel>
Status launch_tiles(KernelId kernel, std::int64_t tiles, const MmaParams& params,
                    const Place& place) noexcept {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const auto blocks = static_cast<std::uint32_t>(std::min(tiles, kMost));
  return launch(kernel, {blocks, Kernel::kThreads, Kernel::kSharedBytes}, &params, place);
}

const Instance* find_instance(MmaType type, MmaTerms terms) noexcept {
  for (const Instance& row : kInstances)
    if (row.type == type && row.terms == terms) return &row;
  return nullptr;
}

Status find_instance(const DensePath& path, const DenseEpilogue& epilogue,
                     const Instance*& row) noexcept {
  const MmaTerms terms = path.summing == Summing::scaled    ? MmaTerms::k_scales
                         : epilogue.full.outliers.present() ? MmaTerms::outliers
                                                            : MmaTerms::none;
  row = find_instance(path.type, terms);
  return row != nullptr ? Status() : fail(Code::internal, "dense product: no kernel of that type");
}

MmaParams params_of(const MatrixView& a, const MatrixView& b,
                    const DenseEpilogue& epilogue) noexcept {
  const std::int64_t bytes = element_bytes(a.dtype);
  MmaParams params;
  params.a = static_cast<const std::uint8_t*>(a.data);
  params.b = static_cast<const std::uint8_t*>(b.data);
  params.pitch_a = a.strides[0] * bytes;
  params.pitch_b = b.strides[0] * bytes;
  params.m = static_cast<std::int32_t>(a.shape[0]);
  params.n = static_cast<std::int32_t>(b.shape[0]);
  params.k_bytes = static_cast<std::int32_t>(a.shape[1] * bytes);
  params.full = epilogue.full;
  params.k_scales = epilogue.k_scales;
  return params;
}

}  // namespace

bool mma_adds_outliers(MmaType type) noexcept {
  return find_instance(type, MmaTerms::outliers) != nullptr;
}

bool mma_takes_k_scales(MmaType type) noexcept {
  return find_instance(type, MmaTerms::k_scales) != nullptr;
}

Status launch_mma(const DensePath& path, const MatrixView& a, const MatrixView& b,
                  const DenseEpilogue& epilogue, const Place& place) noexcept {
  const Instance* row = nullptr;
  OCTAVO_TRY(find_instance(path, epilogue, row));
  const MmaParams params = params_of(a, b, epilogue);
  const std::int64_t large = tiles_of<Large>(params.m, params.n);
  return are_few(large, place)
             ? launch_tiles<Small>(row->small, tiles_of<Small>(params.m, params.n), params, place)
             : launch_tiles<Large>(row->large, large, params, place);
}

std::int32_t mma_group_rows(std::int64_t rows, std::int64_t columns, std::int64_t groups,
                            const Place& place) noexcept {
  const std::int64_t each = (rows + groups - 1) / groups;  // on average
  const bool small =
      each <= Small::kRows || are_few(groups * tiles_of<Large>(each, columns), place);
  return small ? Small::kRows : Large::kRows;
}

Status launch_mma(const DensePath& path, const MatrixView& a, const MatrixView& b,
                  const DenseEpilogue& epilogue, const RowGroups& groups,
                  const Place& place) noexcept {
  const Instance* row = nullptr;
  OCTAVO_TRY(find_instance(path, epilogue, row));
  MmaParams params = params_of(a, b, epilogue);
  params.n = static_cast<std::int32_t>(groups.columns);
  params.groups = groups.tiles;
  const auto tiles = [&](std::int64_t columns) { return groups.most_tiles * columns; };
  return groups.rows_of_tile == Small::kRows
             ? launch_tiles<Small>(row->small, tiles(tiles_of<Small>(1, params.n)), params, place)
             : launch_tiles<Large>(row->large, tiles(tiles_of<Large>(1, params.n)), params, place);
}

}  // namespace octavo::cuda
