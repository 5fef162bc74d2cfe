// SPDX-License-Identifier: Apache-2.0
// Rules for layers' outputs: named, with their number and the first layer, wherever a file is read.
#include "octavo/checkpoint/unapplied.hpp"

#include <fmt/format.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "checkpoint/support.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::unapplied_test {
namespace {

using Json = nlohmann::json;

LayerToWrite layer(const std::string& name) {
  return {name, quantize_weight(gaussians(float32, {8, 16}, 1), Scheme::int8_dynamic)};
}

Json rule() {
  return {{"num_bits", 8},
          {"type", "int"},
          {"strategy", "tensor"},
          {"dynamic", false},
          {"symmetric", true}};
}

/// A file of three layers whose configuration was changed, and a scale beside one of them.
std::string file_of(const std::string& first, const std::string& second, const Json& output,
                    float scale) {
  const std::vector<LayerToWrite> layers{layer("model.a"), layer("model.b"), layer("model.c")};
  write_checkpoint(first, layers);
  const Checkpoint made = open_checkpoint(first);
  Json config = Json::parse(made.metadata().at("quantization_config"));
  for (auto& group : config["config_groups"]) group["output_activations"] = output;
  std::vector<TensorToWrite> tensors;
  for (const TensorEntry& entry : made.entries()) {
    tensors.push_back({entry.name, entry.dtype, entry.shape,
                       [made, name = entry.name] { return made.bytes(name); }});
  }
  tensors.push_back({"model.b.output_scale", "F32", {}, [scale] {
                       std::vector<std::byte> bytes(sizeof scale);
                       std::memcpy(bytes.data(), &scale, sizeof scale);
                       return bytes;
                     }});
  write_safetensors(second, tensors, {{"quantization_config", config.dump()}});
  return second;
}

std::string sentence(int layers, const char* first) {
  return fmt::format(
      "{} layers have rules for their outputs (output_activations, output_scale), "
      "which are not applied: outputs stay as they are (the first: '{}')",
      layers, first);
}

using UnappliedRules = Scratch;

TEST_F(UnappliedRules, NameWhatIsDeclaredOrCalibrated) {
  const struct {
    Json output;
    float scale;
    std::vector<std::string> expected;
  } cases[] = {{nullptr, 1.0F, {}},
               {nullptr, 0.5F, {sentence(1, "model.b")}},
               {rule(), 1.0F, {sentence(3, "model.a")}}};
  for (const auto& row : cases) {
    const std::string file = file_of(this->path("first.safetensors"),
                                     this->path("second.safetensors"), row.output, row.scale);
    EXPECT_EQ(unapplied_rules(open_checkpoint(file)), row.expected);
    const std::string out = this->path("out.safetensors");
    std::vector<std::string> said;
    for (const std::string& rule : row.expected) said.push_back("dequantize_file: " + rule);
    EXPECT_EQ(dequantize_file(file, out).warnings, said);
    said.clear();
    for (const std::string& rule : row.expected) said.push_back("convert_file: " + rule);
    EXPECT_EQ(convert_file(file, out, {.format = Format::compressed_tensors}).warnings, said);
  }
}

}  // namespace
}  // namespace octavo::test::unapplied_test
