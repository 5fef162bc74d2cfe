// SPDX-License-Identifier: Apache-2.0
// What Hopper's tensor cores compute in one step of 32 bytes of K, to the bit.
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda::simulator {

/// The instruction: on Hopper they add floating products differently.
enum class TensorUnit : std::uint8_t { wgmma, mma_sync };

/// One step: d[i][j] += sum over k of a[i][k] b[j][k], with the rounding of the unit.
/// a: [rows] rows of 32 bytes, b: [columns] rows of 32 bytes, d: [rows][columns] patterns of int32
/// (sums wrap) or of float32.
void multiply_step(TensorUnit unit, MmaType type, const std::uint8_t* a, int rows,
                   const std::uint8_t* b, int columns, std::uint32_t* d) noexcept;

}  // namespace octavo::cuda::simulator
