// SPDX-License-Identifier: Apache-2.0
// Row-wise quantisers for any CPU, bit-equal to the reference.
#pragma once

#include "backends/backend.hpp"

namespace octavo::cpu {

Status quantize(const QuantizeProblem& problem, const ExecContext& context) noexcept;
Status vectorwise(const VectorwiseProblem& problem, const ExecContext& context) noexcept;

}  // namespace octavo::cpu
