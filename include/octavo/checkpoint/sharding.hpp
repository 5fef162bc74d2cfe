// SPDX-License-Identifier: Apache-2.0
// Parts of weights read from a checkpoint, one for each rank: specification section 11.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "octavo/checkpoint.hpp"

namespace octavo {

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
