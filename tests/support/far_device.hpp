// SPDX-License-Identifier: Apache-2.0
// A device of the tests' own: what the host must not touch dies when it does, and work is late.
//
//   tensors carry    +----------------+
//   these addresses  |   no access    | ---+
//                    +----------------+    |  one file in memory, mapped twice
//   its backend and  +----------------+    |
//   copies use these |  read, write   | ---+
//                    +----------------+
//
// Nothing that is queued on a stream runs before somebody waits for it: releasing memory, copies,
// passes and products, in their order. The backend is the reference.
#pragma once

#include <memory>
#include <vector>

#include "kit/operands.hpp"
#include "octavo/octavo.hpp"

namespace octavo::test {

/// The number of DLPack's extension devices.
inline constexpr Device kFar{static_cast<DeviceType>(12), 0};

/// Adds the device and its backend "far" to this process, once.
void install_far_device();

/// How many pieces of work were ever queued: none, where nothing ran on the device.
std::int64_t far_work();

/// A view's copy in far memory, with its strides; the tensor keeps it alive.
Tensor to_far(const TensorView& view);
/// A row-major copy on the host.
Tensor to_host(const TensorView& view);

/// The tensors of a source, in far memory.
class FarSource final : public TensorSource {
 public:
  explicit FarSource(TensorSource& source) : source_(source) { install_far_device(); }
  TensorView make(Role role, std::int64_t entry, DType dtype,
                  std::span<const std::int64_t> shape) override;

 private:
  TensorSource& source_;
  std::vector<Tensor> tensors_;
};

}  // namespace octavo::test
