// SPDX-License-Identifier: Apache-2.0
// Grouped products in one launch: A's rows are cut by offsets, or a batch lies together.
//
// The groups' ends stay where they are: a pass makes the list of tiles from them on the device
// (kernels/passes/cut_rows.hpp), and nothing waits, so that the call can be captured. Its bits are
// those of a launch for each group.
#pragma once

#include "backends/cuda/products/dense_product.hpp"
#include "octavo/context.hpp"
#include "octavo/problem.hpp"
#include "octavo/status.hpp"

namespace octavo::cuda {

/// Whether that is done, where `path` is that of every member: groups of rows whose kernel finishes
/// its sums, without zero points, outliers, a fused quantiser or packed weights (a list's become
/// matrices, joined_list.hpp); on Hopper those that leave the device half empty one by one, on
/// average, since larger ones finish faster there. No address and no offset changes the answer.
bool is_at_once(const MatmulProblem& problem, const DensePath& path) noexcept;

Status run_at_once(const MatmulProblem& problem, const DensePath& path,
                   const ExecContext& context) noexcept;

}  // namespace octavo::cuda
