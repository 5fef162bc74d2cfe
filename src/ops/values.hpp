// SPDX-License-Identifier: Apache-2.0
// Small tensors brought to the host, and from it; operations look at elements in no other way.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "octavo/context.hpp"
#include "octavo/status.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// The elements of a tensor of integers, or of floating numbers, in row-major order. Those of a
/// device are waited for.
Result<std::vector<std::int64_t>> integers_of(const char* operation, const TensorView& view,
                                              void* stream);
Result<std::vector<float>> floats_of(const char* operation, const TensorView& view, void* stream);

/// int64 [n] or float32 [n] with these elements. On the host they are looked at in place, for
/// as long as they do.
Result<Tensor> tensor_of(const char* operation, std::span<const std::int64_t> values,
                         const Place& place);
Result<Tensor> tensor_of(const char* operation, std::span<const float> values, const Place& place);

/// A row-major tensor with the elements of a view beside it, converted.
Result<Tensor> converted(const char* operation, const TensorView& view, DType dtype,
                         const ExecContext& context);

/// A tensor of that many dimensions with every element `value`.
Result<Tensor> filled(const char* operation, DType dtype, std::span<const std::int64_t> shape,
                      float value, const Place& place);
Status fill_with(const char* operation, const TensorView& to, float value, void* stream);

/// Elements from one view to another of the same shape and device.
Status copy_to(const char* operation, const TensorView& from, const TensorView& to, void* stream);

}  // namespace octavo
