// SPDX-License-Identifier: Apache-2.0
// Reading resolved scales, factors and zero points, of the host's memory.
#pragma once

#include <cstdint>

#include "octavo/problem.hpp"

namespace octavo {

/// The scale of element (i, j) of an operand; 1 where there is none.
float scale_at(const ScaleView& scale, std::int64_t i, std::int64_t j) noexcept;

/// The factor of output column n; 1 where there is none.
float factor_at(const Factor& factor, std::int64_t n) noexcept;

/// The zero point of element (k, n) of a right operand, 0 where it has none. They are [1, N], or
/// one for each cell of its first scale.
std::int64_t weight_azp_at(const OperandView& b, std::int64_t k, std::int64_t n) noexcept;

}  // namespace octavo
