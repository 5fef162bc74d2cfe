// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernels/sm80/mma.hpp"

#include "simulator/kernels/rows.hpp"

namespace octavo::cuda::simulated {

std::span<const KernelRow> mma_rows() noexcept {
  static constexpr KernelRow kRows[] = {
#define OCTAVO_MMA_INSTANCE(name, type, terms)                  \
  plain_row<Mma<MmaType::type, kLargeTile, MmaTerms::terms>>(), \
      plain_row<Mma<MmaType::type, kSmallTile, MmaTerms::terms>>(),
#include "backends/cuda/kernels/sm80/mma_instances.inc"
#undef OCTAVO_MMA_INSTANCE
  };
  return kRows;
}

}  // namespace octavo::cuda::simulated
