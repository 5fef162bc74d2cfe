// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/steps/other_tensors.hpp"

#include <algorithm>
#include <utility>

#include "checkpoint/dialects/matrix_place.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/text/sentence.hpp"
#include "octavo/checkpoint/unapplied.hpp"

namespace octavo::checkpoint {

WritePlan plan_of_others(const char* operation, const Checkpoint& in, const LayerTensors& tensors,
                         const std::set<std::string>& cut,
                         const std::function<bool(const TensorEntry&)>& elsewhere) {
  const bool widened = in.impl().gguf && elsewhere && std::ranges::any_of(in.entries(), elsewhere);
  if (tensors.layers().empty() && !widened) {
    refuse(Code::invalid_argument, "{}: {} must hold quantised layers; got none among {} tensors",
           operation, in_quotes(in.path()), in.entries().size());
  }
  WritePlan plan{.operation = operation};
  for (const std::string& rule : unapplied_rules(in)) {
    plan.warnings.push_back(fmt::format("{}: {}", operation, rule));
  }
  for (const CheckpointFile& file : in.files()) plan.files.push_back({.name = file.name});
  for (const TensorEntry& entry : in.entries()) {
    if (tensors.is_part(entry) || (elsewhere && elsewhere(entry))) continue;
    ++plan.tensors_copied;
    FilePlan& file = plan.files[entry.file];
    std::string stack;
    std::vector<ExpertLayer> biases = expert_biases(in, entry, stack);
    if (!biases.empty() && cut.contains(stack)) {
      cut_biases(file, in, entry, std::move(biases));
    } else {
      file.copy(entry);
    }
  }
  return plan;
}

void cut_biases(FilePlan& file, const Checkpoint& in, const TensorEntry& entry,
                std::vector<ExpertLayer> biases) {
  MadePlan& made = file.made.emplace_back();
  made.entry = &entry;
  made.bytes = entry.end - entry.begin;
  for (const ExpertLayer& bias : biases) {
    made.outputs.push_back(file.add({bias.layer + ".bias", entry.dtype, {bias.at.k}}));
  }
  made.make = [&in, &entry, biases = std::move(biases)](LayerReport&) {
    std::vector<Tensor> parts;
    for (const ExpertLayer& bias : biases) {
      parts.push_back(read_matrix(in.impl(), entry, bias.at));
    }
    return parts;
  };
}

}  // namespace octavo::checkpoint
