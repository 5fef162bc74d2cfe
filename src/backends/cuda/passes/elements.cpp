// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernels/passes/convert.hpp"
#include "backends/cuda/launch.hpp"
#include "backends/cuda/passes/passes.hpp"

namespace octavo::cuda {

Status convert(const ConvertProblem& p, const ExecContext& context) noexcept {
  const std::int64_t count = p.to.numel();
  return launch_elements<ConvertKernel>(KernelId::convert, count, {p.from, p.to, p.overflow, count},
                                        context.place(p.to.device));
}

Status fill(const FillProblem& p, const ExecContext& context) noexcept {
  const std::int64_t count = p.to.numel();
  return launch_elements<FillKernel>(KernelId::fill, count, {p.to, p.value, count},
                                     context.place(p.to.device));
}

}  // namespace octavo::cuda
