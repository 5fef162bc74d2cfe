// SPDX-License-Identifier: Apache-2.0
// Which of compressed-tensors' config_groups counts for a layer, in every order of names,
// expressions and classes: the tool's own matcher said so
// (tests/checkpoint/data/make_config_groups.py).
#include <array>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "checkpoint/support.hpp"
#include "support/source_folder.hpp"

namespace octavo::test::config_groups_test {
namespace {

constexpr std::array<const char*, 3> kLayers{
    "model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"};
constexpr std::array<const char*, 7> kTargets{"model.layers.0.mlp.down_proj",
                                              "re:.*down_proj$",
                                              R"(re:.*layers\\.0.*)",
                                              "Linear",
                                              "Module",
                                              "Embedding",
                                              "LlamaAttention"};

/// The activations of a group are quantised in groups of a length of its own.
std::int64_t length_of(std::int64_t group) { return 4 * (group + 1); }

/// A configuration with the groups of "0,3|2": numbers of kTargets.
std::string configuration(const std::string& groups) {
  std::string all;
  std::istringstream each(groups);
  std::string targets;
  for (std::int64_t group = 0; std::getline(each, targets, '|'); ++group) {
    std::string names, number;
    std::istringstream list(targets);
    while (std::getline(list, number, ',')) {
      names += std::string(names.empty() ? "\"" : ",\"") + kTargets.at(std::stoul(number)) + '"';
    }
    all += std::string(all.empty() ? "\"" : ",\"") + std::to_string(group) + R"(":{"targets":[)" +
           names + R"(],"input_activations":{"num_bits":8,"type":"int","strategy":"group",)" +
           R"("dynamic":true,"group_size":)" + std::to_string(length_of(group)) + "}}";
  }
  return R"({"quant_method":"compressed-tensors","config_groups":{)" + all + "}}";
}

class ConfigGroups : public Scratch {};

TEST_F(ConfigGroups, CountInTheOrderOfTheirTool) {
  std::ifstream lines(in_checkout("tests/checkpoint/data/config-groups.expected.txt"));
  std::vector<TensorToWrite> tensors;
  for (const char* layer : kLayers) {
    tensors.push_back(
        stored<std::int8_t>(std::string(layer) + ".weight", "I8", {1, 4}, {1, 2, 3, 4}));
    tensors.push_back(stored<float>(std::string(layer) + ".weight_scale", "F32", {1}, {1}));
  }
  std::string line;
  int compared = 0;
  while (std::getline(lines, line)) {
    SCOPED_TRACE(line);
    std::istringstream fields(line);
    std::string groups, winner;
    fields >> groups;
    write_safetensors(path("x"), tensors, {{"quantization_config", configuration(groups)}});
    const Checkpoint file = open_checkpoint(path("x"));
    for (const char* layer : kLayers) {
      fields >> winner;
      const Granularity got = file.weight(layer).activation.value().spec.granularity;
      if (winner == "-") {
        EXPECT_EQ(per_token(), got) << layer;
      } else {
        EXPECT_EQ(group(length_of(std::stoll(winner))), got) << layer;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 500);
}

}  // namespace
}  // namespace octavo::test::config_groups_test
