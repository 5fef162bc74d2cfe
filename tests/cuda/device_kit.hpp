// SPDX-License-Identifier: Apache-2.0
// Tensors of the device that tests of the CUDA backend run on: the simulated driver's.
#pragma once

#include "support/placed.hpp"
#include "support/simulated_driver.hpp"

namespace octavo::test {

inline const bool kInstalled = (install_simulated_driver(), true);

/// A view's copy there, with its strides.
inline Tensor to_device(const TensorView& view) { return to_device(view, kHopper); }

}  // namespace octavo::test
