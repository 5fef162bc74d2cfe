// SPDX-License-Identifier: Apache-2.0
// What a backend's passes are compared on: the reference's passes, numbers that passes may get
// wrong, and scales of cells.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>

#include "backends/backend.hpp"
#include "octavo/octavo.hpp"
#include "ops/helpers.hpp"
#include "support/scale_shape.hpp"

namespace octavo::test {

inline const Passes& reference_passes() { return find_backend("reference")->passes; }

/// Makes every thirteenth element NaN, infinite, -0, very small or large.
inline void plant_odd_numbers(const Tensor& float32s) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kOdd[] = {kNan, kInf, -kInf, 0x1p-140F, -0.0F, 0x1p127F, -500.0F};
  for (std::int64_t i = 4; i < float32s.numel(); i += 13)
    float32s.data_as<float>()[i] = kOdd[static_cast<std::size_t>(i) % std::size(kOdd)];
}

/// A scale from 0.5 to 1.5 for each cell of a matrix, whose first row is row `row0` of the grid.
inline Tensor cell_scales(DType dtype, const Shape& matrix, ScaleGrid grid, unsigned seed,
                          std::int64_t row0 = 0) {
  return uniforms(dtype,
                  {scale_cells(matrix[0] + row0, grid.rows), scale_cells(matrix[1], grid.cols)},
                  seed, 0.5, 1.5);
}

/// Those scales as problems of passes take them.
inline ScaleView scale_view(const TensorView& scales, ScaleGrid grid, std::int64_t row0 = 0) {
  return {ScaleKind::tensor, 1.0F, scales, grid.rows, grid.cols, row0, 0};
}

}  // namespace octavo::test
