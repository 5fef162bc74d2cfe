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

Status convert(const ConvertProblem& problem, const ExecContext& context) noexcept;
Status fill(const FillProblem& problem, const ExecContext& context) noexcept;
Status gather(const GatherProblem& problem, const ExecContext& context) noexcept;
Status map_codes(const MapProblem& problem, const ExecContext& context) noexcept;
Status unswizzle(const UnswizzleProblem& problem, const ExecContext& context) noexcept;
Status check_finite(const FiniteProblem& problem, const ExecContext& context) noexcept;
Status code_errors(const CodeErrorsProblem& problem, const ExecContext& context) noexcept;
Status mask(const MaskProblem& problem, const ExecContext& context) noexcept;
Status learned_step(const LearnedStepProblem& problem, const ExecContext& context) noexcept;
Status dequantize_sums(const DequantizeSumsProblem& problem, const ExecContext& context) noexcept;
Status split_zero_points(const SplitZeroPointsProblem& problem,
                         const ExecContext& context) noexcept;
Status split_sums(const SplitSumsProblem& problem, const ExecContext& context) noexcept;

Status quantize(const QuantizeProblem& problem, const ExecContext& context) noexcept;
Status vectorwise(const VectorwiseProblem& problem, const ExecContext& context) noexcept;
Status rescale(const RescaleProblem& problem, const ExecContext& context) noexcept;
Status reduce(const ReduceProblem& problem, const ExecContext& context) noexcept;
Status silu_and_mul(const SiluProblem& problem, const ExecContext& context) noexcept;
Status rms_norm(const RmsNormProblem& problem, const ExecContext& context) noexcept;
Status rotate(const RotateProblem& problem, const ExecContext& context) noexcept;
std::size_t attention_scratch(const AttentionProblem& problem, int threads) noexcept;
Status attention(const AttentionProblem& problem, void* scratch,
                 const ExecContext& context) noexcept;
Status silu_and_mul_vjp(const SiluVjpProblem& problem, const ExecContext& context) noexcept;
Status combine(const CombineProblem& problem, const ExecContext& context) noexcept;

Status quantize_activations(Member& member, const MatmulOptions& options, Arena& arena,
                            const ExecContext& context) noexcept;
Status activate(const ActivateProblem& problem, Rows& result, Arena& arena,
                const ExecContext& context) noexcept;
Status quantize_rows(const QuantizeRowsProblem& problem, Arena& arena,
                     const ExecContext& context) noexcept;
Status finish(const FinishProblem& problem, const ExecContext& context) noexcept;

extern const Passes kPasses;

}  // namespace reference
}  // namespace octavo
