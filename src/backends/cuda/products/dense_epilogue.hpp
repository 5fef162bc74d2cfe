// SPDX-License-Identifier: Apache-2.0
// What a dense kernel makes of a member's sums by itself.
#pragma once

#include "backends/cuda/kernels/sm90/dense_params.hpp"
#include "octavo/problem.hpp"

namespace octavo::cuda {

struct DenseEpilogue {
  DenseOut kind{};
  EpilogueParams quick;  ///< of a 16-bit or float32 output that a TMA store takes
  FullEpilogue full;     ///< of DenseOut::full
  KScales k_scales;      ///< of Summing::scaled: what its sums of 128 elements are multiplied by
};

bool has_zero_points(const Member& member) noexcept;

/// Whether the kernel finishes the member, with K > 0 and no outliers: zero points of rows and
/// columns, whose sums of codes it is to be given, scales of these, alpha, beta C, a bias of
/// columns and scale_result of wide types, one scale an operand, contiguous rows as the output.
/// What it does not is for the `finish` pass. No address changes the answer.
bool fuses(const Member& member, const MatmulOptions& options, DenseEpilogue& epilogue) noexcept;
/// The same by FullEpilogue alone, whatever the output.
bool fuses(const Member& member, const MatmulOptions& options, FullEpilogue& full) noexcept;

}  // namespace octavo::cuda
