// SPDX-License-Identifier: Apache-2.0
// What experts need beside products, for any CPU, bit-equal to the reference.
#pragma once

#include "backends/backend.hpp"

namespace octavo::cpu {

void silu_and_mul(const SiluProblem& problem, const ExecContext& context) noexcept;
void combine(const CombineProblem& problem, const ExecContext& context) noexcept;

}  // namespace octavo::cpu
