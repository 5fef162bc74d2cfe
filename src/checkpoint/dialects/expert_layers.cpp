// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/dialects/expert_layers.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>

#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/dtype.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::string_view kGateUp = "gate_up_proj", kDown = "down_proj", kBias = "_bias";
/// The layers of kGateUp, in the order of their rows.
constexpr std::array<std::string_view, 2> kHalves{"gate_proj", "up_proj"};

/// "x.experts." and "gate_up_proj".
struct Parts {
  explicit Parts(std::string_view name)
      : stem(name.substr(0, name.rfind('.') + 1)), last(name.substr(stem.size())) {}
  std::string_view stem, last;
};

ExpertRows rows_of_part(bool interleaved, std::int64_t n, std::size_t part, std::size_t parts) {
  const auto number = static_cast<std::int64_t>(part), count = static_cast<std::int64_t>(parts);
  if (interleaved && parts > 1) return {number, count, n / count};
  return {number * (n / count), 1, n / count};
}

MatrixPlace place_of(const std::vector<std::int64_t>& shape, bool inputs, std::int64_t expert,
                     const ExpertRows& rows) {
  const std::int64_t begin = expert * shape[1] * shape[2];
  const std::int64_t row = inputs ? 1 : shape[2], column = inputs ? shape[2] : 1;
  return {rows.count, shape[inputs ? 1 : 2], begin + rows.first * row, rows.step * row, column};
}

std::span<const std::string_view> parts_of(const std::string_view& last) {
  if (last == kGateUp) return kHalves;
  return {&last, 1};
}

}  // namespace

std::optional<bool> rows_are_inputs(const TensorEntry& gate_up, const TensorEntry& down) {
  const auto& both = gate_up.shape;
  const auto& one = down.shape;
  if (both.size() != 3 || one.size() != 3 || both[0] != one[0]) return std::nullopt;
  if (both[1] == 2 * one[2] && both[2] == one[1]) return false;
  if (both[2] == 2 * one[1] && both[1] == one[2]) return true;
  return std::nullopt;
}

std::optional<std::string> partner_of(std::string_view stack) {
  const Parts name(stack);
  if (name.last != kGateUp && name.last != kDown) return std::nullopt;
  return fmt::format("{}{}", name.stem, name.last == kGateUp ? kDown : kGateUp);
}

std::optional<ExpertLayer> layer_of_stack(const StackOfLayer& layer, const TensorEntry& entry,
                                          const StackOrder& order) {
  const Parts name(layer.stack);
  const auto parts = parts_of(name.last);
  if (layer.expert >= entry.shape[0] || layer.part >= parts.size()) return std::nullopt;
  const std::int64_t n = entry.shape[order.rows_are_inputs ? 2 : 1];
  const ExpertRows rows = rows_of_part(order.interleaved, n, layer.part, parts.size());
  return ExpertLayer{fmt::format("{}{}.{}", name.stem, layer.expert, parts[layer.part]),
                     layer.expert, rows,
                     place_of(entry.shape, order.rows_are_inputs, layer.expert, rows)};
}

std::vector<ExpertLayer> layers_of_stack(std::string_view stack, const TensorEntry& entry,
                                         const StackOrder& order) {
  std::vector<ExpertLayer> layers;
  StackOfLayer at{std::string(stack)};
  for (; at.expert < entry.shape[0]; ++at.expert) {
    for (at.part = 0; auto layer = layer_of_stack(at, entry, order); ++at.part) {
      layers.push_back(*std::move(layer));
    }
  }
  return layers;
}

std::vector<StackOfLayer> stacks_of_layer(std::string_view layer) {
  const Parts part(layer);
  if (part.stem.empty()) return {};
  const Parts number(part.stem.substr(0, part.stem.size() - 1));
  std::int64_t expert = -1;
  const char* const end = number.last.data() + number.last.size();
  const auto read = std::from_chars(number.last.data(), end, expert);
  const bool is_number = read.ec == std::errc() && read.ptr == end && expert >= 0 &&
                         (number.last[0] != '0' || number.last.size() == 1);
  if (!is_number) return {};
  std::vector<StackOfLayer> found{{fmt::format("{}{}", number.stem, part.last), expert, 0}};
  const auto* const half = std::ranges::find(kHalves, part.last);
  if (half != kHalves.end()) {
    found.push_back({fmt::format("{}{}", number.stem, kGateUp), expert,
                     static_cast<std::size_t>(half - kHalves.begin())});
  }
  return found;
}

std::vector<ExpertLayer> float_experts(const Checkpoint& in, const TensorEntry& entry) {
  if (entry.shape.size() != 3 || entry.begin == entry.end || entry.shape[0] > kMostExperts ||
      !is_wide(dtype_of_name(entry.dtype))) {
    return {};
  }
  const auto other = partner_of(entry.name);
  const TensorEntry* partner = other ? in.impl().header.find(*other) : nullptr;
  if (partner == nullptr) return {};
  const bool is_down = Parts(entry.name).last == kDown;
  const auto inputs = is_down ? rows_are_inputs(*partner, entry) : rows_are_inputs(entry, *partner);
  if (!inputs) return {};
  return layers_of_stack(entry.name, entry, {*inputs, in.impl().model().interleaves(entry.name)});
}

std::vector<ExpertLayer> expert_biases(const Checkpoint& in, const TensorEntry& entry,
                                       std::string& stack) {
  if (entry.shape.size() != 2 || entry.begin == entry.end || entry.shape[0] > kMostExperts ||
      !entry.name.ends_with(kBias)) {
    return {};
  }
  stack = entry.name.substr(0, entry.name.size() - kBias.size());
  if (!partner_of(stack)) return {};
  // The bias as a stack [E, N, 1], whose layers' columns are biases.
  TensorEntry column = entry;
  column.shape.push_back(1);
  std::vector<ExpertLayer> layers =
      layers_of_stack(stack, column, {false, in.impl().model().interleaves(stack)});
  for (ExpertLayer& layer : layers) {
    const MatrixPlace& at = layer.at;
    layer.at = {1, at.n, at.begin, at.n * at.row_step, at.row_step};
  }
  return layers;
}

}  // namespace octavo::checkpoint
