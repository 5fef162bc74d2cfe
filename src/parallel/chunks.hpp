// SPDX-License-Identifier: Apache-2.0
// Sums over ranks that do not depend on how many there are: of chunks, added in their order
// (specification section 11).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "octavo/parallel.hpp"

namespace octavo {

inline constexpr const char* kColumnParallel = "ColumnParallelLinear";

/// Throws Error where a layer has no ranks.
void check_ranks(const char* layer, const std::shared_ptr<Communicator>& ranks);
/// Throws Error for options that no layer takes.
void check_options(const char* layer, const ParallelOptions& options);

/// A rank's chunks of an extent: options.k_chunks on all ranks together where these can share them
/// out evenly, else one each.
std::vector<ShardRange> chunks_of(const ParallelOptions& options, std::int64_t extent,
                                  std::int64_t cell, int rank, int ranks);

/// Writes rows [m0, m1) of a rank's i-th chunk, float32 [m1 - m0, N].
using MakeChunk =
    std::function<void(std::int64_t i, std::int64_t m0, std::int64_t m1, const TensorView& to)>;

/// Sums of the chunks of all ranks, of which this one has `count`, into `total` [M, N] of the last
/// rank, by one rank after the other:
///
///   rank 0       t = 0 + c0 + c1 + ..  ─►  rank 1   t + c12 + c13 + ..  ─►  ..  the last one
///
/// Rows go in blocks: while a rank waits for the first of them, the one before it makes the next.
void fold_chunks(Communicator& ranks, std::int64_t count, const MakeChunk& make,
                 const Tensor& total);

}  // namespace octavo
