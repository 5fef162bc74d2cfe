// SPDX-License-Identifier: Apache-2.0
// Rows and columns of A and B, of any type and packed by any backend, as the float32 panels of the
// kernels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/backend.hpp"
#include "backends/cpu/kernels/row_contract.hpp"

namespace octavo::cpu {

/// A kernel's rows from `row` on, all of K, as [K][rows] floats; rows past the end are zero.
/// `scratch` holds K floats.
void load_row_panel(const Kernels& kernel, const MatrixView& a, std::int64_t row, float* panel,
                    float* scratch) noexcept;

/// Rows [k0, k1) of columns [n0, n0 + 16 * panels) of B as `panels` panels of [k1 - k0][16] floats;
/// columns past the end are zero. `scratch` holds max(k1 - k0, 16 * panels) floats.
void load_column_panels(const Kernels& kernel, const OperandView& b, std::int64_t k0,
                        std::int64_t k1, std::int64_t n0, std::int64_t panels, float* out,
                        float* scratch) noexcept;
/// Takes a weight's zero points from what was loaded so: integers of magnitude 255 at most remain.
void subtract_weight_azp(const OperandView& b, std::int64_t k0, std::int64_t k1, std::int64_t n0,
                         std::int64_t panels, float* out) noexcept;

/// Row k of columns [n0, n0 + count) of B.
void load_weight_row(const OperandView& b, std::int64_t k, std::int64_t n0, std::int64_t count,
                     float* out) noexcept;

}  // namespace octavo::cpu
