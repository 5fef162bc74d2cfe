// SPDX-License-Identifier: Apache-2.0
// Tensors of the device that tests of the CUDA backend run on.
#pragma once

#include "octavo/tensor.hpp"

namespace octavo::test {

/// A view's copy there, with its strides.
inline Tensor to_device(const TensorView& view) { return Tensor::adopt(nullptr, view); }
/// A row-major copy on the host.
inline Tensor to_host(const TensorView& view) { return copy(view, view.dtype); }

}  // namespace octavo::test
