// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/products/chunked_product.hpp"

#include "backends/cuda/launch/scratch.hpp"
#include "backends/cuda/passes/passes.hpp"
#include "backends/cuda/products/k_scales.hpp"
#include "backends/cuda/products/tiled.hpp"
#include "core/problem/members.hpp"
#include "core/scales/grid.hpp"

namespace octavo::cuda {
namespace {

// A chunk's product, to be stored in `sums` or added to what is there.
Member product_of(const Member& p, const ShardRange& chunk, const MatrixView& sums,
                  bool adds) noexcept {
  Member part;
  part.a.data = p.a.data;
  part.b.data = p.b.data;
  if (varies_along_k(p.a, Side::a)) part.a.scale = p.a.scale;
  if (varies_along_k(p.b, Side::b)) part.b.scale = p.b.scale;
  cut_inner(part, chunk.begin, chunk.end);
  part.out = sums;
  if (adds) part.epilogue.c = sums;
  return part;
}

}  // namespace

Status run_in_chunks(const Member& p, const MatmulOptions& options, const DensePath& path,
                     const ExecContext& context) noexcept {
  const KChunks chunks = sum_chunks(p, options);
  MatmulOptions of_chunk = options;
  of_chunk.k_chunks = 0;
  Scratch memory(context.place(p.out.device));
  MatrixView sums;
  OCTAVO_TRY(
      take_tiled(memory, DType::float32, p.out.shape[0], p.out.shape[1], p.out.device, sums));
  bool any = false;
  for (std::int64_t c = 0; c < chunks.count; ++c) {
    const ShardRange chunk = chunks[c];
    if (chunk.size() == 0) continue;
    OCTAVO_TRY(run_dense(product_of(p, chunk, sums, any), of_chunk, path, nullptr, context));
    any = true;
  }
  if (!any) OCTAVO_TRY(fill({static_cast<TensorView>(sums), 0.0F}, context));
  return finish({sums, without_k_scales(p), options}, context);
}

}  // namespace octavo::cuda
