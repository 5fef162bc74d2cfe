// SPDX-License-Identifier: Apache-2.0
// Activations on their way into the products of experts.
#pragma once

#include <cstdint>

#include "backends/backend.hpp"
#include "layers/routing.hpp"

namespace octavo {

/// Operand A over `count` of the rows, without addresses.
OperandView outline(const Rows& rows, std::int64_t count) noexcept;
/// Gives it rows [begin, ...).
void place(const Rows& rows, std::int64_t begin, OperandView& operand) noexcept;

/// The rows of `tokens` that routes name, in memory of `arena`. What all rows share stays shared.
Result<Rows> gather(const Backend& backend, const Rows& tokens, const Routing& routing,
                    Arena& arena, const ExecContext& context) noexcept;

/// Rows of x's type, each multiplied by its route's factor.
Result<MatrixView> apply_factors(const Backend& backend, const MatrixView& rows,
                                 const Routing& routing, Arena& arena,
                                 const ExecContext& context) noexcept;

}  // namespace octavo
