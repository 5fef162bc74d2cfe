// SPDX-License-Identifier: Apache-2.0
// Memory of a device for the length of a call, in its stream's order: it is given back behind all
// that was queued meanwhile.
#pragma once

#include <cstddef>

#include "core/devices/devices.hpp"
#include "core/error.hpp"

namespace octavo::cuda {

class Scratch {
 public:
  explicit Scratch(const Place& place) noexcept : place_(place) {}
  ~Scratch() {
    if (data_ != nullptr) memory().release(data_, bytes_, place_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /// Once: `bytes` of it, null for none.
  Status take(const char* operation, std::size_t bytes) noexcept {
    if (bytes == 0) return {};
    data_ = memory().allocate(bytes, place_);
    bytes_ = bytes;
    if (data_ != nullptr) return {};
    return fail(Code::out_of_memory, "{}: scratch memory must be available; got none for {} bytes",
                operation, bytes);
  }
  void* data() const noexcept { return data_; }

 private:
  const DeviceMemory& memory() const noexcept { return *find_kind(place_.device.type)->memory; }

  Place place_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace octavo::cuda
