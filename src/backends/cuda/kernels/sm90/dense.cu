// SPDX-License-Identifier: Apache-2.0
// Instances of the dense kernel for sm_90a: octavo_dense_<name>_<bits of an output>.
#include "backends/cuda/device/device.cuh"
#include "backends/cuda/kernels/sm90/dense.hpp"

namespace octavo::cuda {

#define OCTAVO_DENSE(name, ...)                                                     \
  extern "C" __global__ void __cluster_dims__(Dense<__VA_ARGS__>::kCluster, 1, 1)   \
      __launch_bounds__(Dense<__VA_ARGS__>::kThreads, 1)                            \
          name(const __grid_constant__ DenseParams<device::Machine::TensorMap> p) { \
    Dense<__VA_ARGS__>::run(device::Machine(), p);                                  \
  }
#define OCTAVO_DENSE_INSTANCE(name, type, summing, ...) \
  OCTAVO_DENSE(octavo_dense_##name, MmaType::type, Summing::summing, __VA_ARGS__)
#include "backends/cuda/kernels/sm90/dense_instances.inc"

}  // namespace octavo::cuda
