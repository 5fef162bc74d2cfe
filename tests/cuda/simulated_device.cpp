// SPDX-License-Identifier: Apache-2.0
#include "cuda/device_kit.hpp"
#include "support/simulated_driver.hpp"

namespace octavo::test {

void install_device() { install_simulated_driver(); }

}  // namespace octavo::test
