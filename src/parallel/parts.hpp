// SPDX-License-Identifier: Apache-2.0
// A weight that is there in parts alone, one on each rank.
#pragma once

#include <cstdint>

#include "octavo/checkpoint/sharding.hpp"
#include "octavo/parallel.hpp"

namespace octavo {

/// Along the axis that ranks share.
struct WholeExtent {
  std::int64_t extent = 0;
  std::int64_t cell = 1;  ///< that no border cuts
};

/// What the ranks' parts are parts of. Throws Error (invalid_argument), on all ranks, where one has
/// not as much as shard_range gives it.
WholeExtent whole_extent(const char* layer, Communicator& ranks, const Weight& part,
                         ShardAxis axis);

}  // namespace octavo
