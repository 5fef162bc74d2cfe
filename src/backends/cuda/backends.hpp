// SPDX-License-Identifier: Apache-2.0
// The backends of CUDA devices: Hopper's, and the two that every device from sm_80 on can run.
#pragma once

#include "backends/backend.hpp"

namespace octavo::cuda {

/// Tensor-core kernels of sm_90a.
extern const Backend kSm90Backend;
/// Tensor-core kernels of every device from sm_80 on.
extern const Backend kSm80Backend;
/// The reference's arithmetic on any device; it refuses nothing.
extern const Backend kCudaBackend;

}  // namespace octavo::cuda
