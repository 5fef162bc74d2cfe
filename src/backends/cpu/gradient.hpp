// SPDX-License-Identifier: Apache-2.0
// What gradients need beside products, for all CPU backends.
#pragma once

#include "backends/backend.hpp"

namespace octavo::cpu {

void rescale(const RescaleProblem& problem, const ExecContext& context) noexcept;
void reduce(const ReduceProblem& problem, const ExecContext& context) noexcept;

}  // namespace octavo::cpu
