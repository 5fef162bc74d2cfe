// SPDX-License-Identifier: Apache-2.0
// Matrices that lie as TMA takes them: contiguous rows at multiples of 16 bytes.
#pragma once

#include <cstdint>
#include <limits>

#include "backends/cuda/launch/scratch.hpp"
#include "octavo/context.hpp"
#include "octavo/matrix.hpp"
#include "octavo/status.hpp"

namespace octavo::cuda {

/// Of rows and columns that kernels count.
constexpr std::int64_t kMostExtent = std::numeric_limits<std::int32_t>::max() / 2;

/// Whether it does.
bool is_tiled(const MatrixView& x) noexcept;

/// One in memory of its own.
Status take_tiled(Scratch& memory, DType dtype, std::int64_t rows, std::int64_t columns,
                  const Device& device, MatrixView& out) noexcept;

/// An operand as rows of K: as it is, or copied to `memory`.
Status to_tiled(MatrixView& x, Scratch& memory, const ExecContext& context) noexcept;

}  // namespace octavo::cuda
