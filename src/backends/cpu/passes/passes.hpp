// SPDX-License-Identifier: Apache-2.0
// Passes by vector kernels and threads, bit-equal to the reference: conversions, row-wise
// quantisers, what gradients and experts need.
#pragma once

#include "backends/passes.hpp"

namespace octavo::cpu {

Status convert(const ConvertProblem& problem, const ExecContext& context) noexcept;
Status quantize(const QuantizeProblem& problem, const ExecContext& context) noexcept;
Status code_errors(const CodeErrorsProblem& problem, const ExecContext& context) noexcept;
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

}  // namespace octavo::cpu
