// SPDX-License-Identifier: Apache-2.0
// Launches of the dense kernel that every device from sm_80 on has.
#pragma once

#include "backends/cuda/kernels/sm80/mma.hpp"
#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/products/dense_epilogue.hpp"
#include "backends/cuda/products/dense_product.hpp"
#include "backends/cuda/products/row_groups.hpp"
#include "octavo/matrix.hpp"
#include "octavo/status.hpp"

namespace octavo::cuda {

/// Whether there is a kernel that adds LLM.int8's outliers by itself.
bool mma_adds_outliers(MmaType type) noexcept;

/// Whether there is one that takes scales along K.
bool mma_takes_k_scales(MmaType type) noexcept;

/// Queues section 3 of A[M, K] B[N, K]^T, rows of K at multiples of 16 bytes, as `epilogue.full`
/// has it, behind scales along K where the path says so.
Status launch_mma(const DensePath& path, const MatrixView& a, const MatrixView& b,
                  const DenseEpilogue& epilogue, const Place& place) noexcept;

/// The same of all groups; and of how many rows their tiles are to be, where so many groups have so
/// many rows in all.
Status launch_mma(const DensePath& path, const MatrixView& a, const MatrixView& b,
                  const DenseEpilogue& epilogue, const RowGroups& groups,
                  const Place& place) noexcept;
std::int32_t mma_group_rows(std::int64_t rows, std::int64_t columns, std::int64_t groups,
                            const Place& place) noexcept;

}  // namespace octavo::cuda
