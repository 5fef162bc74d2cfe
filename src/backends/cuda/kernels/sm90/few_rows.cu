// SPDX-License-Identifier: Apache-2.0
// Instances of the kernel of few rows for sm_90a: octavo_few_rows_<name>_<bits of an output>.
#include "backends/cuda/kernels/sm90/few_rows.hpp"

#include "backends/cuda/device/device.cuh"

namespace octavo::cuda {

#define OCTAVO_FEW_ROWS(name, ...)                                                  \
  extern "C" __global__ void __cluster_dims__(FewRows<__VA_ARGS__>::kCluster, 1, 1) \
      __launch_bounds__(FewRows<__VA_ARGS__>::kThreads, 1)                          \
          name(const __grid_constant__ DenseParams<device::Machine::TensorMap> p) { \
    FewRows<__VA_ARGS__>::run(device::Machine(), p);                                \
  }
#define OCTAVO_FEW_ROWS_INSTANCE(name, type, summing, ...) \
  OCTAVO_FEW_ROWS(octavo_few_rows_##name, MmaType::type, Summing::summing, __VA_ARGS__)
#include "backends/cuda/kernels/sm90/few_rows_instances.inc"

}  // namespace octavo::cuda
