// SPDX-License-Identifier: Apache-2.0
// Passes that every backend of host memory shares, in the words of `Passes`.
#pragma once

#include <cstdint>

#include "backends/passes.hpp"

namespace octavo::host {

Status code_errors(const CodeErrorsProblem& problem, const ExecContext& context) noexcept;
Status convert(const ConvertProblem& problem, const ExecContext& context) noexcept;
Status fill(const FillProblem& problem, const ExecContext& context) noexcept;
Status gather(const GatherProblem& problem, const ExecContext& context) noexcept;
Status map_codes(const MapProblem& problem, const ExecContext& context) noexcept;
Status unswizzle(const UnswizzleProblem& problem, const ExecContext& context) noexcept;
Status check_finite(const FiniteProblem& problem, const ExecContext& context) noexcept;

Status mask(const MaskProblem& problem, const ExecContext& context) noexcept;
Status learned_step(const LearnedStepProblem& problem, const ExecContext& context) noexcept;
Status dequantize_sums(const DequantizeSumsProblem& problem, const ExecContext& context) noexcept;
Status split_zero_points(const SplitZeroPointsProblem& problem,
                         const ExecContext& context) noexcept;
Status split_sums(const SplitSumsProblem& problem, const ExecContext& context) noexcept;

/// Whose memory passes work in: a device's is left to them.
enum class Memory : std::uint8_t { host, device };

/// `quantize_activations` and `activate` of a backend with these quantisers. On a device the
/// columns that are found stay there: an outlier's list is as long as there are columns, and -1
/// behind the last.
Status quantize_activations_by(const Passes& passes, Member& member, const MatmulOptions& options,
                               Arena& arena, const ExecContext& context,
                               Memory memory = Memory::host) noexcept;
Status activate_by(const Passes& passes, const ActivateProblem& problem, Rows& result, Arena& arena,
                   const ExecContext& context, Memory memory = Memory::host) noexcept;

/// `quantize_rows` of a backend with these passes: rows that have a scale of their own a few at a
/// time, from the pass to its codes inside a second-level cache.
Status quantize_rows_by(const Passes& passes, const QuantizeRowsProblem& problem, Arena& arena,
                        const ExecContext& context) noexcept;

template <const Passes& passes>
Status quantize_activations(Member& member, const MatmulOptions& options, Arena& arena,
                            const ExecContext& context) noexcept {
  return quantize_activations_by(passes, member, options, arena, context);
}
template <const Passes& passes>
Status activate(const ActivateProblem& problem, Rows& result, Arena& arena,
                const ExecContext& context) noexcept {
  return activate_by(passes, problem, result, arena, context);
}

template <const Passes& passes>
Status quantize_rows(const QuantizeRowsProblem& problem, Arena& arena,
                     const ExecContext& context) noexcept {
  return quantize_rows_by(passes, problem, arena, context);
}

}  // namespace octavo::host
