// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backends/cuda/kernels/passes/finish.hpp"
#include "backends/cuda/launch.hpp"
#include "backends/cuda/passes/passes.hpp"

namespace octavo::cuda {
namespace {

// Pieces that fill any device; beyond them pieces get deeper, which saves reading of factors.
constexpr std::int64_t kEnoughPieces = 2048;
constexpr std::int64_t kMostDepth = 16;

}  // namespace

Status finish(const FinishProblem& p, const ExecContext& context) noexcept {
  FinishKernel::Params params;
  params.sums = p.sums;
  params.product = p.product;
  params.product.a.quantise = nullptr;  // the host's, like the packed weight's
  params.product.b.packed = nullptr;
  params.plane = plane_of(p.product.out);
  params.overflow = p.options.overflow;
  params.empty = p.product.a.data.shape[1] == 0;
  params.torch_compat = p.options.torch_compat;
  params.depth = std::clamp<std::int64_t>(FinishKernel::pieces(params.plane, 1) / kEnoughPieces, 1,
                                          kMostDepth);
  return launch_pass<FinishKernel>(KernelId::finish,
                                   FinishKernel::pieces(params.plane, params.depth), params,
                                   context.place(p.product.out.device));
}

}  // namespace octavo::cuda
