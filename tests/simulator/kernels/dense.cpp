// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernels/sm90/dense.hpp"

#include "simulator/kernels/rows.hpp"

namespace octavo::cuda::simulated {

std::span<const KernelRow> dense_rows() noexcept {
  static constexpr KernelRow kRows[] = {
#define OCTAVO_DENSE_INSTANCE(name, type, summing, ...) \
  hopper_row<Dense<MmaType::type, Summing::summing, __VA_ARGS__>, DenseParams<TensorMap>>(),
#include "backends/cuda/kernels/sm90/dense_instances.inc"
#undef OCTAVO_DENSE_INSTANCE
  };
  return kRows;
}

}  // namespace octavo::cuda::simulated
