// SPDX-License-Identifier: Apache-2.0
// The table of passes that an executable compares with the reference's, and where they find their
// memory: CPU backends' in kernels_test, the CUDA backend's in cuda_backend_test and gpu_test.
#pragma once

#include "backends/passes.hpp"
#include "support/devices/placed.hpp"

namespace octavo::test {

struct TestedPasses {
  const Passes* passes;
  Device device;
};
TestedPasses tested();

/// A view's copy where those passes find it, with its strides.
inline Tensor to_device(const TensorView& view) { return to_device(view, tested().device); }

}  // namespace octavo::test
