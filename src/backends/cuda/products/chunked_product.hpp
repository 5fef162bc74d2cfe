// SPDX-License-Identifier: Apache-2.0
// Sums of several chunks of K (MatmulOptions::k_chunks) by the kernels that have one sum:
//
//   sums  = product of chunk 0                    float32, by the scales that vary along K
//   sums += product of chunk c                    for each further one, in order: C of its epilogue
//   out   = what section 3 does to sums           the `finish` pass
#pragma once

#include "backends/cuda/products/dense_product.hpp"

namespace octavo::cuda {

/// A member whose A is quantised and whose B is a matrix, a launch for each chunk of `path`'s
/// kernel. K has several chunks, and there are neither zero points nor outliers.
Status run_in_chunks(const Member& member, const MatmulOptions& options, const DensePath& path,
                     const ExecContext& context) noexcept;

}  // namespace octavo::cuda
