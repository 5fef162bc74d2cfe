// SPDX-License-Identifier: Apache-2.0
// Elements of stored tensors as numbers, whatever type they have.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

#include "octavo/tensor.hpp"

namespace octavo::cli {

/// Whether elements of that type, in safetensors' spelling, are real numbers that may be NaN.
constexpr bool is_float_type(std::string_view dtype) noexcept {
  constexpr std::array<std::string_view, 9> kFloats{
      "F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"};
  return std::ranges::find(kFloats, dtype) != kFloats.end();
}

/// Calls `look` with the elements of a row-major tensor as doubles or as floats, whichever holds
/// them exactly; others than these are copied.
template <class Look>
void with_elements(const TensorView& tensor, const Look& look) {
  const auto count = static_cast<std::size_t>(tensor.numel());
  if (tensor.dtype == DType::float64) {
    return look(std::span<const double>(static_cast<const double*>(tensor.data), count));
  }
  if (tensor.dtype == DType::float32) {
    return look(std::span<const float>(static_cast<const float*>(tensor.data), count));
  }
  const Tensor wide = copy(tensor, DType::float32);
  look(std::span<const float>(wide.data_as<float>(), count));
}

}  // namespace octavo::cli
