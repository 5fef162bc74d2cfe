// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/products/tiled.hpp"

#include <cstddef>
#include <cstdint>

#include "backends/cuda/passes/passes.hpp"
#include "backends/cuda/products/rows_layout.hpp"
#include "core/error.hpp"

namespace octavo::cuda {

bool is_tiled(const MatrixView& x) noexcept {
  const std::int64_t bytes = element_bytes(x.dtype);
  return (x.strides[1] == 1 || x.shape[1] == 1) && x.strides[0] * bytes % kMapAlignment == 0 &&
         x.strides[0] >= x.shape[1] &&
         reinterpret_cast<std::uintptr_t>(x.data) % kMapAlignment == 0;
}

Status take_tiled(Scratch& memory, DType dtype, std::int64_t rows, std::int64_t columns,
                  const Device& device, MatrixView& out) noexcept {
  const std::int64_t pitch = row_pitch(dtype, columns);
  OCTAVO_TRY(
      memory.take("dense product", static_cast<std::size_t>(rows * pitch * element_bytes(dtype))));
  out = matrix_view(memory.data(), dtype, rows, pitch, device);
  out.shape[1] = columns;
  return {};
}

Status to_tiled(MatrixView& x, Scratch& memory, const ExecContext& context) noexcept {
  if (is_tiled(x) || x.numel() == 0) return {};
  MatrixView rows;
  OCTAVO_TRY(take_tiled(memory, x.dtype, x.shape[0], x.shape[1], x.device, rows));
  OCTAVO_TRY(
      convert({.from = static_cast<TensorView>(x), .to = static_cast<TensorView>(rows)}, context));
  x = rows;
  return {};
}

}  // namespace octavo::cuda
