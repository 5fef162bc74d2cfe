// SPDX-License-Identifier: Apache-2.0
// Tensors that are brought to a device and back.
#pragma once

#include <span>
#include <vector>

#include "kit/operands/operands.hpp"
#include "octavo/octavo.hpp"

namespace octavo::test {

/// A view's copy on a device, with its strides; the tensor keeps it alive.
Tensor to_device(const TensorView& view, const Device& device);
/// A row-major copy on the host.
Tensor to_host(const TensorView& view);

/// The tensors of a source, on a device.
class DeviceSource : public TensorSource {
 public:
  DeviceSource(TensorSource& source, const Device& device) : source_(source), device_(device) {}
  TensorView make(Role role, std::int64_t entry, DType dtype,
                  std::span<const std::int64_t> shape) override;

 private:
  TensorSource& source_;
  Device device_;
  std::vector<Tensor> tensors_;
};

}  // namespace octavo::test
