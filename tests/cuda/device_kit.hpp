// SPDX-License-Identifier: Apache-2.0
// The device that tests of the CUDA backend run on: the simulated one (simulated_device.cpp), or in
// gpu_test the first of the machine (gpu/device.cpp).
#pragma once

#include "support/placed.hpp"

namespace octavo::test {

inline constexpr Device kHopper{DeviceType::cuda, 0};

/// Makes it usable, before any other call of the library.
void install_device();
inline const bool kInstalled = (install_device(), true);

/// A view's copy there, with its strides.
inline Tensor to_device(const TensorView& view) { return to_device(view, kHopper); }

}  // namespace octavo::test
