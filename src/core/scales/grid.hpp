// SPDX-License-Identifier: Apache-2.0
// Where the scales of operands change along K, and where partial sums end.
#pragma once

#include <cstdint>

#include "octavo/export.hpp"
#include "octavo/problem.hpp"
#include "octavo/shard.hpp"

namespace octavo {

/// True for a scale that has to be applied to partial sums.
template <class Values>
bool varies_along_k(const ScaleOf<Values>& scale, Side side) noexcept {
  return scale.kind == ScaleKind::tensor &&
         (side == Side::a ? scale.cols : scale.rows) != kWholeExtent;
}
template <class View, class Values>
bool varies_along_k(const OperandOf<View, Values>& operand, Side side) noexcept {
  return varies_along_k(operand.scale[0], side) || varies_along_k(operand.scale[1], side);
}

/// The end of the cell of the common refinement of all K-varying scales that contains k.
std::int64_t next_boundary(const Member& member, std::int64_t k, std::int64_t inner) noexcept;

/// The length along K of the groups that a rule gives activations; 1 where a scale is all of K's.
OCTAVO_INTERNAL_API std::int64_t group_length(const ActivationQuant& rule) noexcept;
/// The shortest cell of a whole number of both, or all of an extent where either spans it; 1 at
/// least.
OCTAVO_INTERNAL_API std::int64_t common_cell(std::int64_t a, std::int64_t b,
                                             std::int64_t extent) noexcept;

/// The chunks of K whose sums are added in order, MatmulOptions::k_chunks.
struct KChunks {
  std::int64_t inner = 0, count = 1, cell = 1;

  bool several() const noexcept { return count > 1; }
  ShardRange operator[](std::int64_t c) const noexcept {
    return count == 1 ? ShardRange{0, inner} : shard_range(inner, c, count, cell);
  }
};
/// Those of sums of any kind: scales along K end with chunks where their cells begin at K = 0.
KChunks k_chunks(const Member& member, const MatmulOptions& options) noexcept;
/// Those of the product's own sums: one where they are exact, of integers under scales that are
/// constant along K.
KChunks sum_chunks(const Member& member, const MatmulOptions& options) noexcept;

}  // namespace octavo
