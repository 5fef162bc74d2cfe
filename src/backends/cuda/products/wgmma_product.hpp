// SPDX-License-Identifier: Apache-2.0
// Launches of Hopper's kernels: that of few rows or of many, with K cut or not, and that of all
// groups.
#pragma once

#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/products/dense_epilogue.hpp"
#include "backends/cuda/products/dense_product.hpp"
#include "backends/cuda/products/row_groups.hpp"
#include "octavo/context.hpp"
#include "octavo/matrix.hpp"
#include "octavo/status.hpp"

namespace octavo::cuda {

/// Rows that the kernel of few takes.
constexpr std::int64_t kFewRows = 64;

/// Whether there are kernels that add LLM.int8's outliers by themselves.
bool wgmma_adds_outliers(MmaType type) noexcept;

/// Whether there are kernels that take scales along K.
bool wgmma_takes_k_scales(MmaType type) noexcept;

/// What decides which kernel takes a product, beside its path and the device.
struct WgmmaShape {
  std::int64_t rows, columns, k_bytes;
  int out_bytes;  ///< of an element; 4 of a full epilogue
  bool outliers = false;
};
/// The kernel for it; KernelId::count where there is none.
KernelId wgmma_kernel(const DensePath& path, const WgmmaShape& shape,
                      std::int64_t multiprocessors) noexcept;

/// Operands that lie as TMA takes them, A [M, K] and B [N, K], and where the output does.
struct WgmmaProduct {
  const MatrixView &a, &b, &out;
  const DenseEpilogue& epilogue;
};
Status launch_wgmma(const DensePath& path, const WgmmaProduct& product,
                    const ExecContext& context) noexcept;

/// The same of all groups, in tiles of so many rows. The epilogue is a full one.
constexpr std::int32_t kWgmmaGroupRows = 256;
Status launch_wgmma(const DensePath& path, const WgmmaProduct& product, const RowGroups& groups,
                    const ExecContext& context) noexcept;

}  // namespace octavo::cuda
