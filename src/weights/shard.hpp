// SPDX-License-Identifier: Apache-2.0
// What belongs to a part of a weight beside its codes.
#pragma once

#include "octavo/export.hpp"
#include "octavo/weight.hpp"

namespace octavo {

/// `operation` begins sentences. Throws Error (invalid_argument).
OCTAVO_INTERNAL_API void check_rank(const char* operation, std::int64_t rank, std::int64_t world);

/// A part of a weight without its codes, of which only extents and type are looked at.
/// Throws Error (invalid_argument).
OCTAVO_INTERNAL_API Weight shard_beside_codes(const Weight& weight, ShardAxis axis,
                                              const ShardRange& range);

}  // namespace octavo
