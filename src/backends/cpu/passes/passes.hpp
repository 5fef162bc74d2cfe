// SPDX-License-Identifier: Apache-2.0
// What every CPU backend does beside products: row-wise quantisers, what gradients and experts
// need. All are bit-equal to the reference.
#pragma once

#include "backends/backend.hpp"

namespace octavo::cpu {

Status quantize(const QuantizeProblem& problem, const ExecContext& context) noexcept;
Status vectorwise(const VectorwiseProblem& problem, const ExecContext& context) noexcept;
Status rescale(const RescaleProblem& problem, const ExecContext& context) noexcept;
Status reduce(const ReduceProblem& problem, const ExecContext& context) noexcept;
Status silu_and_mul(const SiluProblem& problem, const ExecContext& context) noexcept;
Status combine(const CombineProblem& problem, const ExecContext& context) noexcept;

inline constexpr Passes kPasses{&quantize, &vectorwise, &rescale, &reduce, &silu_and_mul, &combine};

}  // namespace octavo::cpu
