// SPDX-License-Identifier: Apache-2.0
// The device that tests of the CUDA backend run on: the simulated one (simulated_device.cpp), or in
// gpu_test the first of the machine (gpu/device.cpp).
#pragma once

#include "support/tested_passes.hpp"

namespace octavo::test {

inline constexpr Device kHopper{DeviceType::cuda, 0};

/// Makes it usable, before any other call of the library.
void install_device();
inline const bool kInstalled = (install_device(), true);

}  // namespace octavo::test
