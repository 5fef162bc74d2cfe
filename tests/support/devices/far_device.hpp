// SPDX-License-Identifier: Apache-2.0
// A device of the tests' own: what the host must not touch dies when it does, and work is late.
//
// Tensors carry addresses of far_memory.hpp; its backend and copies use those that work. Nothing
// that is queued on a stream runs before somebody waits for it: releasing memory, copies, passes
// and products, in their order.
//
// There are two, of which a test program links one: far_device.cpp, whose backend is the reference,
// and far_cuda.cpp, which is the CUDA backend on a simulated device.
#pragma once

#include <cstdint>
#include <string>

#include "octavo/octavo.hpp"
#include "support/devices/placed.hpp"

namespace octavo::test {

extern const Device kFar;
extern const std::string kFarName;  ///< in sentences
/// That it is asked for by name; null: whichever comes first.
extern const char* const kFarBackend;
/// K of the problem lines that run there in seconds.
extern const std::int64_t kFarDepth;

/// A stream of it that is not the one of null.
extern void* const kFarStream;

/// Adds the device and its backend to this process, once.
void install_far_device();

/// How many pieces of work were ever queued: none, where nothing ran on the device.
std::int64_t far_work();

/// A view's copy in far memory, with its strides; the tensor keeps it alive.
inline Tensor to_far(const TensorView& view) {
  install_far_device();
  return to_device(view, kFar);
}

/// The tensors of a source, in far memory.
class FarSource final : public DeviceSource {
 public:
  explicit FarSource(TensorSource& source) : DeviceSource(source, kFar) { install_far_device(); }
};

}  // namespace octavo::test
