// SPDX-License-Identifier: Apache-2.0
// The far device that is CUDA's: the simulated older one, by its general kernels, whose bits are
// the reference's.
#include "support/devices/far_device.hpp"
#include "support/devices/simulated_driver.hpp"

namespace octavo::test {

const Device kFar = kOlder;
const std::string kFarName = "cuda:1";
const char* const kFarBackend = "cuda";
namespace {
int far_stream = 0;  // its address alone
}
void* const kFarStream = &far_stream;
const std::int64_t kFarDepth = 2048;

void install_far_device() {
  static const bool installed = [] {
    install_simulated_driver();
    return true;
  }();
  (void)installed;
}

std::int64_t far_work() {
  std::int64_t count = 0;
  for (const auto& [kernel, times] : launches()) count += times;
  return count;
}

}  // namespace octavo::test
