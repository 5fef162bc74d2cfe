// SPDX-License-Identifier: Apache-2.0
// What experts do between their products and behind the second.
#include "backends/cuda/kernels/passes/combine.hpp"
#include "backends/cuda/kernels/passes/silu.hpp"
#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/passes/passes.hpp"

namespace octavo::cuda {

Status silu_and_mul(const SiluProblem& p, const ExecContext& context) noexcept {
  return launch_elements<SiluKernel>(KernelId::silu_and_mul, p.out.numel(),
                                     {p.x, p.out, p.overflow, plane_of(p.out)},
                                     context.place(p.out.device));
}

Status silu_and_mul_vjp(const SiluVjpProblem& p, const ExecContext& context) noexcept {
  return launch_elements<SiluVjpKernel>(KernelId::silu_and_mul_vjp, p.grad.numel(),
                                        {p.grad, p.x, p.grad_x, plane_of(p.grad)},
                                        context.place(p.grad.device));
}

Status combine(const CombineProblem& p, const ExecContext& context) noexcept {
  return launch_elements<CombineKernel>(
      KernelId::combine, p.out.numel(),
      {p.rows, p.slots, p.places, p.factors, p.out, p.overflow, plane_of(p.out)},
      context.place(p.out.device));
}

}  // namespace octavo::cuda
