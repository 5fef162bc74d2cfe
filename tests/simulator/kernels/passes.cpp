// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernels/passes.hpp"

#include "simulator/kernels/rows.hpp"

namespace octavo::cuda::simulated {

std::span<const KernelRow> pass_rows() noexcept {
  static constexpr KernelRow kRows[] = {
#define OCTAVO_PASS_KERNEL(name, kernel) plain_row<kernel>(),
#include "backends/cuda/kernels/pass_instances.inc"
#undef OCTAVO_PASS_KERNEL
  };
  return kRows;
}

}  // namespace octavo::cuda::simulated
