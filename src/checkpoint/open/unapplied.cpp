// SPDX-License-Identifier: Apache-2.0
// Rules for what layers give, which are none of their weights'.
#include "octavo/checkpoint/unapplied.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/open/plain_fp8.hpp"
#include "checkpoint/text/sentence.hpp"
#include "core/data/convert.hpp"
#include "octavo/status.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

constexpr const char* kUnapplied = "unapplied_rules";

/// A layer whose rule cannot be had says so where it is read.
bool declares_output(const Checkpoint& file, const std::string& layer) {
  try {
    return file.impl().config().layer(layer).quantized_output;
  } catch (const Error&) {
    return false;
  }
}

/// 1 is what an uncalibrated scale is.
bool has_output_scale(const Checkpoint& file, const std::string& layer) {
  const std::string name = layer + ".output_scale";
  if (!file.contains(name)) return false;
  const Tensor scale = copy(file.tensor(name), DType::float32);
  const auto* first = scale.data_as<float>();
  return std::any_of(first, first + scale.numel(), [](float value) { return value != 1.0F; });
}

}  // namespace

std::vector<std::string> unapplied_rules(const Checkpoint& file) {
  return at_edge(kUnapplied, [&] {
    std::vector<std::string> layers = file.quantized_layers();
    std::erase_if(layers, [&](const std::string& layer) {
      return !declares_output(file, layer) && !has_output_scale(file, layer);
    });
    std::vector<std::string> found;
    if (!layers.empty()) {
      found.push_back(
          fmt::format("{} layers have rules for their outputs (output_activations, output_scale), "
                      "which are not applied: outputs stay as they are (the first: {})",
                      layers.size(), in_quotes(layers[0])));
    }
    const auto plain = std::ranges::find_if(
        file.entries(), [&](const TensorEntry& entry) { return is_plain_fp8(file.impl(), entry); });
    if (plain != file.entries().end()) {
      found.push_back(
          fmt::format("fp8 tensors are values as they are, since neither a declaration nor a scale "
                      "is in {} (the first: {})",
                      in_quotes(file.path()), in_quotes(plain->name)));
    }
    return found;
  });
}

}  // namespace octavo
