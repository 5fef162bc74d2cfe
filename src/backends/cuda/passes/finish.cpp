// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backends/cuda/kernels/passes/finish.hpp"
#include "backends/cuda/kernels/passes/finish_sums.hpp"
#include "backends/cuda/kernels/passes/line_sums.hpp"
#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/passes/passes.hpp"
#include "core/scales/grid.hpp"

namespace octavo::cuda {
namespace {

// Pieces that fill any device; beyond them pieces get deeper, which saves reading of factors.
constexpr std::int64_t kEnoughPieces = 2048;
constexpr std::int64_t kMostDepth = 16;

template <class Params>
void fill_in(const FinishProblem& p, Params& params) noexcept {
  params.sums = p.sums;
  params.product = p.product;
  params.product.a.quantize = nullptr;  // the host's, like the packed weight's
  params.product.b.packed = nullptr;
  params.plane = plane_of(p.product.out);
  params.overflow = p.options.overflow;
  params.empty = p.product.a.data.shape[1] == 0;
  params.torch_compat = p.options.torch_compat;
  params.depth = std::clamp<std::int64_t>(FinishPieces(params.plane, 1).count() / kEnoughPieces, 1,
                                          kMostDepth);
}

}  // namespace

Status finish(const FinishProblem& p, const ExecContext& context) noexcept {
  FinishKernel::Params params;
  fill_in(p, params);
  return launch_pass<FinishKernel>(KernelId::finish,
                                   FinishPieces(params.plane, params.depth).count(), params,
                                   context.place(p.product.out.device));
}

Status finish_sums(const FinishProblem& p, const CodeSums& codes,
                   const ExecContext& context) noexcept {
  static_assert(kMostDepth <= FinishSumsKernel::kMostDepth);
  FinishSumsKernel::Params params;
  fill_in(p, params);
  params.codes = codes;
  params.chunks = ChunkSteps(k_chunks(p.product, p.options));
  return launch_pass<FinishSumsKernel>(KernelId::finish_sums,
                                       FinishPieces(params.plane, params.depth).count(), params,
                                       context.place(p.product.out.device));
}

Status line_sums(const MatrixView& codes, std::int32_t* sums, const ExecContext& context) noexcept {
  LineSumsKernel::Params params;
  params.codes = static_cast<const std::uint8_t*>(codes.data);
  params.rows = codes.shape[0];
  params.columns = codes.shape[1];
  params.pitch = codes.strides[0];
  params.flip = codes.dtype == DType::int8 ? 0x80 : 0;
  params.sums = sums;
  return launch_pass<LineSumsKernel>(KernelId::line_sums, LineSumsKernel::pieces(params), params,
                                     context.place(codes.device));
}

}  // namespace octavo::cuda
