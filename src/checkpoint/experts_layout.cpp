// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/experts_layout.hpp"

#include <fmt/format.h>

#include <string_view>

#include "checkpoint/impl.hpp"
#include "checkpoint/safetensors_dtype.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::string_view kBoth = "gate_up_proj", kDown = "down_proj";

/// [E, 2 I, H] beside [E, H, I]; the other order is [E, H, 2 I] beside [E, I, H].
bool rows_are_outputs(const TensorEntry& both, const TensorEntry& down) {
  return both.shape.size() == 3 && down.shape.size() == 3 && both.shape[0] == down.shape[0] &&
         both.shape[1] == 2 * down.shape[2] && both.shape[2] == down.shape[1];
}

}  // namespace

std::vector<ExpertRows> expert_layers(const Checkpoint& in, const TensorEntry& entry) {
  const std::size_t dot = entry.name.rfind('.');
  if (entry.shape.size() != 3 || dot == std::string::npos || entry.begin == entry.end ||
      !is_wide(dtype_of_name(entry.dtype))) {
    return {};
  }
  const std::string stem = entry.name.substr(0, dot);
  const std::string_view part = std::string_view(entry.name).substr(dot + 1);
  if (part != kBoth && part != kDown) return {};
  const TensorEntry* both = in.impl().header.find(fmt::format("{}.{}", stem, kBoth));
  const TensorEntry* down = in.impl().header.find(fmt::format("{}.{}", stem, kDown));
  if (both == nullptr || down == nullptr || !rows_are_outputs(*both, *down)) return {};
  std::vector<ExpertRows> layers;
  const std::int64_t rows = entry.shape[1];
  for (std::int64_t expert = 0; expert < entry.shape[0]; ++expert) {
    const std::int64_t first = expert * rows;
    if (part == kDown) {
      layers.push_back({fmt::format("{}.{}.down_proj", stem, expert), first, rows});
      continue;
    }
    layers.push_back({fmt::format("{}.{}.gate_proj", stem, expert), first, rows / 2});
    layers.push_back({fmt::format("{}.{}.up_proj", stem, expert), first + rows / 2, rows / 2});
  }
  return layers;
}

}  // namespace octavo::checkpoint
