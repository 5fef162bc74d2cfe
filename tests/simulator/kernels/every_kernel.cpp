// SPDX-License-Identifier: Apache-2.0
#include "simulator/kernels/every_kernel.hpp"

#include "simulator/kernels/rows.hpp"

namespace octavo::cuda::simulated {

const KernelRow& kernel_row(KernelId kernel) noexcept {
  auto row = static_cast<std::size_t>(kernel);
  for (const auto rows : {dense_rows(), few_rows_rows(), mma_rows()}) {
    if (row < rows.size()) return rows[row];
    row -= rows.size();
  }
  return pass_rows()[row];
}

}  // namespace octavo::cuda::simulated
