// SPDX-License-Identifier: Apache-2.0
// The oracle: every operation in the words of the specification, one element at a time.
#pragma once

#include "backends/backend.hpp"

namespace octavo {

extern const Backend kReferenceBackend;

namespace reference {

/// One product, element by element: specification section 3 to the letter. `a.quantize` and
/// `b.packed` are resolved already.
void matmul(const Member& member, const MatmulOptions& options) noexcept;

Status quantize(const QuantizeProblem& problem, const ExecContext& context) noexcept;
Status vectorwise(const VectorwiseProblem& problem, const ExecContext& context) noexcept;
Status rescale(const RescaleProblem& problem, const ExecContext& context) noexcept;
Status reduce(const ReduceProblem& problem, const ExecContext& context) noexcept;
Status silu_and_mul(const SiluProblem& problem, const ExecContext& context) noexcept;
Status silu_and_mul_vjp(const SiluVjpProblem& problem, const ExecContext& context) noexcept;
Status combine(const CombineProblem& problem, const ExecContext& context) noexcept;

Status finish(const FinishProblem& problem, const ExecContext& context) noexcept;

extern const Passes kPasses;

}  // namespace reference
}  // namespace octavo
