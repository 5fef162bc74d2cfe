// SPDX-License-Identifier: Apache-2.0
// Weights in parts, one for each rank of a group of processes: specification section 11.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "octavo/checkpoint.hpp"
#include "octavo/shard.hpp"

namespace octavo {

/// The dimension of a product x @ B[K, N] that ranks share. A weight is stored as [N, K].
enum class ShardAxis : std::uint8_t {
  columns,  ///< N: every rank has all activations and gives some columns of the output
  rows,     ///< K: every rank has some columns of the activations; the ranks' sums are added
};

/// The cell that ranges of a weight are made of whole. By columns as tall as one of its scales, 1
/// where that spans N. By rows whole cells of its scales and whole groups of its activations, as
/// MatmulOptions::k_chunks has them: all of K where a cell that could be shorter spans it, 1 where
/// scales are constant along K.
OCTAVO_API std::int64_t shard_cell(const Weight& weight, ShardAxis axis);

/// The part of a weight's extent that a rank has: shard_range with that cell. Throws Error
/// (invalid_argument) unless 0 <= rank < world <= 2^20.
OCTAVO_API ShardRange shard_range(const Weight& weight, ShardAxis axis, std::int64_t rank,
                                  std::int64_t world);

/// A part of a weight, of its own memory, without a change of any bit:
///
/// | field                  | columns (N)                 | rows (K)                              |
/// |------------------------|-----------------------------|---------------------------------------|
/// | codes, float weights   | their rows                  | their columns                         |
/// | scales, zero points    | the cells that it touches; where a border cuts one, both parts have |
/// |                        | it, and Quantized::row0 and col0 say where they begin in it         |
/// | absmax                 | its rows                    | all                                   |
/// | columns (act-order)    | all                         | its part of the list, whose entries   |
/// |                        |                             | stay columns of the whole activations |
/// | outlier_columns        | all                         | those inside, counted from its begin  |
/// | static scales          | as they are                                                         |
///
/// The part of an act-order weight along K multiplies x[..., columns] of all activations: no rank
/// has them all in its own slice of x. A part that begins inside a group of its activations gets
/// other activation scales than the whole: shard_range gives none.
///
/// Throws Error (invalid_argument) for a range outside the extent.
OCTAVO_API Weight shard(const Weight& weight, ShardAxis axis, const ShardRange& range);
/// The part of a rank, by shard_range.
OCTAVO_API Weight shard(const Weight& weight, ShardAxis axis, std::int64_t rank,
                        std::int64_t world);

/// The whole of parts that follow each other, empty ones among them: shard's exact inverse. Throws
/// Error (invalid_argument) for parts that are none of one weight: other extents, types, schemes,
/// activation rules; a scale of a cell that two parts share which differs between them.
OCTAVO_API Weight unshard(std::span<const Weight> parts, ShardAxis axis);

/// The part of a bias [N] (or [1, N]) beside a part by columns. By rows there is none: a bias is
/// added once, to the sum of all ranks. Throws Error (invalid_argument).
OCTAVO_API Tensor shard_bias(const TensorView& bias, const ShardRange& range);

/// The experts of a rank: every rank has as many to within one, since nothing is summed over them.
/// Throws Error (invalid_argument).
OCTAVO_API ShardRange expert_range(std::int64_t experts, std::int64_t rank, std::int64_t world);
/// Those of a stack, each of them whole. Throws Error (invalid_argument).
OCTAVO_API ExpertStack shard_experts(const ExpertStack& stack, std::int64_t rank,
                                     std::int64_t world);

/// shard(checkpoint.weight(prefix), axis, rank, world), bit for bit, reading no more of the codes
/// than that part. Scales and zero points are read whole (zero points count only where one of a
/// layer is not 0), and so are codes that do not lie row by row, each in a byte or a float: packed
/// into int32 (GPTQ, pack-quantized), in bitsandbytes' tiled orders.
///
/// Throws Error, as Checkpoint::weight and shard.
OCTAVO_API Weight read_shard(const Checkpoint& checkpoint, std::string_view prefix, ShardAxis axis,
                             std::int64_t rank, std::int64_t world);
/// The range that read_shard reads: shard_range of the weight, reading what read_shard does beside
/// the codes. Throws Error.
OCTAVO_API ShardRange shard_range(const Checkpoint& checkpoint, std::string_view prefix,
                                  ShardAxis axis, std::int64_t rank, std::int64_t world);
/// The rank's parts of several layers that read the same activations, as fuse stacks them: query,
/// key and value, gate and up. Each is cut by itself, so that a rank has heads of all of them;
/// parts of the stack would be others.
OCTAVO_API Weight read_shard(const Checkpoint& checkpoint, std::span<const std::string> prefixes,
                             ShardAxis axis, std::int64_t rank, std::int64_t world);

}  // namespace octavo
