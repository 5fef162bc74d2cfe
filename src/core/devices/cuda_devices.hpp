// SPDX-License-Identifier: Apache-2.0
// CUDA devices: what they are, their contexts and memory, and sentences for what their driver
// refuses.
#pragma once

#include <array>
#include <cstdint>

#include "core/devices/cuda_driver.hpp"
#include "core/devices/devices.hpp"
#include "octavo/status.hpp"

namespace octavo::cuda {

struct CudaDevice {
  DriverDevice handle = 0;
  DriverContext* context = nullptr;  ///< the primary one, which CUDA's runtime and PyTorch use
  DriverPool* pool = nullptr;
  int major = 0, minor = 0;  ///< compute capability
  std::uint32_t multiprocessors = 0;
  std::array<char, 128> name{};
};

/// Device `index`, with its context; null where it cannot be used, and `device_missing` says why.
const CudaDevice* find_device(std::int32_t index) noexcept;
/// Null, or one static sentence.
const char* device_missing(std::int32_t index) noexcept;

/// The primary context of a device as this thread's current one, while it lives.
class CurrentContext {
 public:
  explicit CurrentContext(const CudaDevice& device) noexcept;
  ~CurrentContext();
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;

 private:
  bool pushed_ = false;
};

/// "<operation>: device must be usable; got cuda:1: <why not>".
Status unusable(const char* operation, std::int32_t index) noexcept;

/// Ok, or a sentence of what the driver returned: "<what> <rule>; got CUDA_ERROR_X: <text>".
Status driver_status(DriverResult result, const char* what, const char* rule) noexcept;

/// Memory of these devices, which belongs to a pool of the library's own; streams' order.
extern const DeviceMemory kCudaMemory;

}  // namespace octavo::cuda
