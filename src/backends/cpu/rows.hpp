// SPDX-License-Identifier: Apache-2.0
// Rows at any stride: neighbours go through the kernels, all others element by element.
#pragma once

#include "backends/cpu/kernels/row_contract.hpp"
#include "core/data/convert.hpp"

namespace octavo::cpu {

/// out[i] = float32 value of element i * stride.
inline void widen(const Kernels& kernels, DType dtype, const void* source, std::int64_t stride,
                  std::int64_t count, float* out) noexcept {
  const bool operand = is_floating(dtype) || is_integer8(dtype);
  if (stride == 1 && operand) return kernels.widen(dtype, source, count, out);
  load_row(dtype, source, stride, count, out);
}

/// Element i * stride = the nearest value of that type to in[i].
inline void narrow(const Kernels& kernels, DType dtype, const float* in, std::int64_t count,
                   void* out, std::int64_t stride, Overflow overflow) noexcept {
  const bool operand = is_floating(dtype) || is_integer8(dtype);
  if (stride == 1 && operand) return kernels.narrow(dtype, in, count, out, overflow);
  store_row(dtype, in, count, out, stride, overflow);
}

}  // namespace octavo::cpu
