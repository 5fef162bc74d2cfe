// SPDX-License-Identifier: Apache-2.0
// Weights in parts.
#include "octavo/checkpoint/sharding.hpp"

#include <string>
#include <vector>

#include "capi/convert.hpp"
#include "octavo/c/checkpoint.h"

using namespace octavo::capi;
using octavo::ShardAxis;

namespace {

ShardAxis axis_from(const char* name, int32_t axis) {
  return enum_from({name, "axis"}, axis, ShardAxis::rows);
}

}  // namespace

octavo_code octavo_weight_shard(const octavo_weight* weight, int32_t axis, int64_t rank,
                                int64_t world, octavo_weight** result) {
  constexpr const char* kName = "weight_shard";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    const octavo::Weight& whole = value_of({kName, "weight"}, weight);
    slot.fill(octavo::shard(whole, axis_from(kName, axis), rank, world));
  });
}

octavo_code octavo_weight_unshard(const octavo_weight* const* parts, int64_t count, int32_t axis,
                                  octavo_weight** result) {
  constexpr const char* kName = "weight_unshard";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    const std::size_t length = checked_count({kName, "parts"}, parts, count);
    std::vector<octavo::Weight> all;
    for (std::size_t i = 0; i < length; ++i) {
      all.push_back(value_of({kName, "parts"}, parts[i]));
    }
    slot.fill(octavo::unshard(all, axis_from(kName, axis)));
  });
}

octavo_code octavo_checkpoint_shard(const octavo_checkpoint* checkpoint, const char* prefix,
                                    int32_t axis, int64_t rank, int64_t world,
                                    octavo_weight** result) {
  constexpr const char* kName = "checkpoint_shard";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    const octavo::Checkpoint& file = *value_of({kName, "checkpoint"}, checkpoint);
    slot.fill(octavo::read_shard(file, text_of({kName, "prefix"}, prefix), axis_from(kName, axis),
                                 rank, world));
  });
}
