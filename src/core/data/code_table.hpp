// SPDX-License-Identifier: Apache-2.0
// Codes of 8 bits by way of a table.
#pragma once

#include <array>
#include <cstdint>

#include "octavo/dtype.hpp"

namespace octavo {

using CodeTable = std::array<std::uint8_t, 256>;

/// For each code of a float8 type under one scale, the code that means the nearest number under
/// another.
CodeTable rescaled_codes(DType dtype, float scale, float other) noexcept;

}  // namespace octavo
