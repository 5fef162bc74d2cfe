// SPDX-License-Identifier: Apache-2.0
// Passes on a device (backends/passes.hpp says what each computes): they queue kernels. Whatever
// memory they need beside the arena's they allocate in the stream's order (scratch.hpp).
#pragma once

#include "backends/cuda/kernels/common/zero_point_terms.hpp"
#include "backends/passes.hpp"

namespace octavo::cuda {

// elements.cpp
Status convert(const ConvertProblem& problem, const ExecContext& context) noexcept;
Status fill(const FillProblem& problem, const ExecContext& context) noexcept;
Status gather(const GatherProblem& problem, const ExecContext& context) noexcept;
Status map_codes(const MapProblem& problem, const ExecContext& context) noexcept;
Status unswizzle(const UnswizzleProblem& problem, const ExecContext& context) noexcept;

// finish.cpp
Status finish(const FinishProblem& problem, const ExecContext& context) noexcept;
/// From exact sums of products of codes on: `problem.sums` are int32, and zero points and outliers
/// of its product, whose B is a matrix, are added where section 3 has them. `codes`: those of A's
/// rows where B has zero points, of B's columns where A has.
Status finish_sums(const FinishProblem& problem, const CodeSums& codes,
                   const ExecContext& context) noexcept;
/// Sums of the rows of a matrix of int8 or uint8, modulo 2^32: contiguous rows that begin at
/// multiples of 16 bytes.
Status line_sums(const MatrixView& codes, std::int32_t* sums, const ExecContext& context) noexcept;

// operations/gradients.cpp
Status rescale(const RescaleProblem& problem, const ExecContext& context) noexcept;
Status mask(const MaskProblem& problem, const ExecContext& context) noexcept;
Status learned_step(const LearnedStepProblem& problem, const ExecContext& context) noexcept;
Status dequantize_sums(const DequantizeSumsProblem& problem, const ExecContext& context) noexcept;
Status split_zero_points(const SplitZeroPointsProblem& problem,
                         const ExecContext& context) noexcept;
Status split_sums(const SplitSumsProblem& problem, const ExecContext& context) noexcept;

// reduce.cpp
Status reduce(const ReduceProblem& problem, const ExecContext& context) noexcept;

// operations/quantize.cpp
Status quantize(const QuantizeProblem& problem, const ExecContext& context) noexcept;

// vectorwise.cpp: what follows the last of `columns` becomes -1
Status vectorwise(const VectorwiseProblem& problem, const ExecContext& context) noexcept;

// operations/experts.cpp
Status silu_and_mul(const SiluProblem& problem, const ExecContext& context) noexcept;
Status silu_and_mul_vjp(const SiluVjpProblem& problem, const ExecContext& context) noexcept;
Status combine(const CombineProblem& problem, const ExecContext& context) noexcept;

// reports.cpp
Status check_finite(const FiniteProblem& problem, const ExecContext& context) noexcept;
Status code_errors(const CodeErrorsProblem& problem, const ExecContext& context) noexcept;

// quantize_activations.cpp
Status quantize_activations(Member& member, const MatmulOptions& options, Arena& arena,
                            const ExecContext& context) noexcept;
Status activate(const ActivateProblem& problem, Rows& result, Arena& arena,
                const ExecContext& context) noexcept;

/// All of them (backends.cpp).
extern const Passes kPasses;

}  // namespace octavo::cuda
