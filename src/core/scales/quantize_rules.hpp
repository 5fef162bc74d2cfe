// SPDX-License-Identifier: Apache-2.0
// The scalar rules of the specification's sections 6 and 8, shared by every quantiser.
#pragma once

#include <cstdint>

#include "core/scales/scale_rule.hpp"
#include "octavo/context.hpp"
#include "octavo/export.hpp"
#include "octavo/problem.hpp"
#include "octavo/quantize.hpp"
#include "octavo/status.hpp"

namespace octavo {

/// The least code of an 8-bit integer type; the greatest is 255 more.
constexpr std::int32_t lowest_code(DType dtype) noexcept { return dtype == DType::int8 ? -128 : 0; }

/// Whether a cell's scale becomes NaN for a NaN or an infinity in it: integer codes cannot show it.
inline bool scale_shows_non_finite(const QuantizeSpec& spec) noexcept {
  return is_integer8(spec.dtype) && spec.non_finite != NonFinite::ignore;
}

/// The rule of a spec's scales.
ScaleRule scale_rule(const QuantizeSpec& spec) noexcept;

/// The scale (and zero point) of a cell.
CellScale cell_scale(const QuantizeSpec& spec, const CellRange& range) noexcept;

/// The scales of `count` symmetric cells whose finite elements reach absmax[i].
void symmetric_scales(const QuantizeSpec& spec, const float* absmax, std::int64_t count,
                      float* scales) noexcept;

/// saturate(RNE(quotient) + azp) as a float; NaN rounds to 0 first.
OCTAVO_INTERNAL_API float shifted_code(DType dtype, float quotient, std::int64_t azp) noexcept;

/// NonFinite::error: names the first element of a matrix x, row by row, that is NaN or infinite.
Status check_finite(const char* operation, const MatrixView& x,
                    const ExecContext& context) noexcept;

/// Does the rule treat every row for itself?
bool rows_apart(const ActivationQuant& rule) noexcept;

}  // namespace octavo
