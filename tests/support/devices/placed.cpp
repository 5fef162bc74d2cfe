// SPDX-License-Identifier: Apache-2.0
#include "support/devices/placed.hpp"

#include <memory>

namespace octavo::test {

Tensor to_device(const TensorView& view, const Device& device) {
  if (!view.defined()) return {};
  // Everything between the first and the last element, so that strides stay.
  std::int64_t low = 0;
  std::int64_t high = 0;
  for (std::size_t d = 0; d < static_cast<std::size_t>(view.rank); ++d) {
    const std::int64_t reach = (view.shape[d] - 1) * view.strides[d];
    (reach < 0 ? low : high) += reach;
  }
  const bool empty = view.numel() == 0;
  const std::int64_t bytes = element_bytes(view.dtype);
  const std::int64_t span = empty ? 0 : (high - low + 1) * bytes;
  const TensorView all(empty ? view.data : view.at(low), DType::uint8, {span});
  const auto copied = std::make_shared<Tensor>(copy(all, Place{device}));
  TensorView there = view;
  there.device = device;
  there.data = static_cast<char*>(copied->data()) - (empty ? 0 : low) * bytes;
  return Tensor::adopt(copied, there);
}

Tensor to_host(const TensorView& view) { return view.defined() ? copy(view, Place{}) : Tensor(); }

TensorView DeviceSource::make(Role role, std::int64_t entry, DType dtype,
                              std::span<const std::int64_t> shape) {
  return tensors_.emplace_back(to_device(source_.make(role, entry, dtype, shape), device_)).view();
}

}  // namespace octavo::test
