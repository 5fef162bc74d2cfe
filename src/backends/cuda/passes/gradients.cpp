// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernels/passes/gradients.hpp"

#include "backends/cuda/kernels/passes/gradient_sums.hpp"
#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/passes/passes.hpp"

namespace octavo::cuda {

Status rescale(const RescaleProblem& p, const ExecContext& context) noexcept {
  const RescaleKernel::Params params{p.source, p.azp, p.scales, p.out, plane_of(p.out), p.divisor};
  const Place place = context.place(p.out.device);
  if (is_transposed(p.source, p.out))
    return launch_pass<RescaleTransposedKernel>(KernelId::rescale_transposed,
                                                transposed_pieces(params.plane), params, place);
  return launch_elements<RescaleKernel>(KernelId::rescale, p.out.numel(), params, place);
}

Status mask(const MaskProblem& p, const ExecContext& context) noexcept {
  return launch_elements<MaskKernel>(
      KernelId::mask, p.out.numel(),
      {p.grad, p.value, p.scale, p.low, p.high, p.out, plane_of(p.out)},
      context.place(p.out.device));
}

Status learned_step(const LearnedStepProblem& p, const ExecContext& context) noexcept {
  return launch_elements<LearnedStepKernel>(
      KernelId::learned_step, p.x.numel(),
      {p.x, p.dtype, p.overflow, p.scale, p.azp, p.grad, p.grad_x, p.slopes, plane_of(p.x)},
      context.place(p.x.device));
}

Status dequantize_sums(const DequantizeSumsProblem& p, const ExecContext& context) noexcept {
  return launch_elements<DequantizeSumsKernel>(
      KernelId::dequantize_sums, p.plain.numel(),
      {p.plain, p.coded, p.azp, p.scale, p.azp_gradient, plane_of(p.plain)},
      context.place(p.plain.device));
}

Status split_zero_points(const SplitZeroPointsProblem& p, const ExecContext& context) noexcept {
  return launch_elements<SplitZeroPointsKernel>(KernelId::split_zero_points, p.near.shape[0],
                                                {p.azp, p.low, p.near, p.rest},
                                                context.place(p.near.device));
}

Status split_sums(const SplitSumsProblem& p, const ExecContext& context) noexcept {
  return launch_elements<SplitSumsKernel>(KernelId::split_sums, p.pieces.shape[0],
                                          {p.sums, p.pieces}, context.place(p.pieces.device));
}

}  // namespace octavo::cuda
