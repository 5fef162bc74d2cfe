// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernels/sm90/few_rows.hpp"

#include "simulator/kernels/rows.hpp"

namespace octavo::cuda::simulated {

std::span<const KernelRow> few_rows_rows() noexcept {
  static constexpr KernelRow kRows[] = {
#define OCTAVO_FEW_ROWS_INSTANCE(name, type, summing, ...) \
  hopper_row<FewRows<MmaType::type, Summing::summing, __VA_ARGS__>, DenseParams<TensorMap>>(),
#include "backends/cuda/kernels/sm90/few_rows_instances.inc"
#undef OCTAVO_FEW_ROWS_INSTANCE
  };
  return kRows;
}

}  // namespace octavo::cuda::simulated
