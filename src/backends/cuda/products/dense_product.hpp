// SPDX-License-Identifier: Apache-2.0
// From a member to a launch of a dense kernel: Hopper's of few rows or of many, or that of
// mma.sync, which every device from 8.0 on has.
//
// Operands that neither can take (K not contiguous, rows or addresses not at multiples of 16) are
// copied. Sums of several chunks of K are products of their own (chunked_product.hpp). The kernel
// finishes what it can (dense_epilogue.hpp); of all else it stores the sums, and the `finish` pass
// does the rest, or `finish_sums` where there are outliers or zero points. Of zero points both need
// the sums of A's rows and B's columns, which are made first.
#pragma once

#include "backends/cuda/kernels/sm90/dense_params.hpp"
#include "octavo/context.hpp"
#include "octavo/problem.hpp"
#include "octavo/status.hpp"

namespace octavo::cuda {

/// The tensor-core instructions.
enum class Cores : std::uint8_t { wgmma, mma_sync };

/// What a member's types come to.
struct DensePath {
  Cores cores = Cores::wgmma;
  MmaType type = MmaType::s8_s8;
  Summing summing = Summing::plain;
  const char* how = "";           ///< for explain
  const char* at_once = "";       ///< the same, where one launch multiplies all groups
  const char* list_at_once = "";  ///< the same, of a list, if it lies so
};

/// How scales along K have to lie for a path's kernels.
constexpr const KScaleUnits& k_scale_units(Cores cores) {
  return cores == Cores::wgmma ? kWgmmaKScales : kMmaKScales;
}

/// Null and the path where the dense kernel multiplies such members, else one static sentence.
/// `split`: of a plan, whose member has what all groups have that offsets cut.
const char* find_dense_path(Cores cores, const Member& member, const MatmulOptions& options,
                            Split split, DensePath& path) noexcept;

/// Section 9's gamma of a member's sums: 0 of exact ones.
double sum_error(const DensePath& path, const Member& member,
                 const MatmulOptions& options) noexcept;

/// Multiplies one member, whose A is quantised and whose B is a matrix. `column_sums`: those of B,
/// int32 [N]; null: they are made where they are needed.
Status run_dense(const Member& member, const MatmulOptions& options, const DensePath& path,
                 const std::int32_t* column_sums, const ExecContext& context) noexcept;

}  // namespace octavo::cuda
