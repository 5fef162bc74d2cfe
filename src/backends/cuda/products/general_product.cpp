// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/products/general_product.hpp"

#include "backends/cuda/kernels/general/product.hpp"
#include "backends/cuda/launch/launch.hpp"
#include "core/scales/grid.hpp"

namespace octavo::cuda {

Status run_general(const Member& member, const MatmulOptions& options,
                   const Place& place) noexcept {
  ProductKernel::Params params;
  params.product = member;
  params.product.a.quantize = nullptr;  // the host's, like the packed weight's
  params.product.b.packed = nullptr;
  params.chunks = ChunkSteps(sum_chunks(member, options));
  params.outlier_chunks = ChunkSteps(k_chunks(member, options));
  params.m = member.out.shape[0];
  params.n = member.out.shape[1];
  params.k = member.a.data.shape[1];
  params.integers = is_integer8(member.a.data.dtype) && is_integer8(member.b.data.dtype);
  params.exact = member.out.dtype == DType::int32;
  params.varies =
      !params.exact && (varies_along_k(member.a, Side::a) || varies_along_k(member.b, Side::b));
  params.torch_compat = options.torch_compat;
  params.overflow = options.overflow;
  return launch_pass<ProductKernel>(KernelId::product, ProductKernel::pieces(params), params,
                                    place);
}

}  // namespace octavo::cuda
