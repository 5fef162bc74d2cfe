// SPDX-License-Identifier: Apache-2.0
// Models of a class that is not known: taken by names, which is said; what names leave open is
// refused or guessed at.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/plan/quantize_plan.hpp"
#include "checkpoint/support.hpp"

namespace octavo::test::unknown_model_test {
namespace {

namespace fs = std::filesystem;

TensorToWrite weight(const std::string& name, std::int64_t n, std::int64_t k) {
  std::vector<float> all(static_cast<std::size_t>(n * k));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(i % 17) - 8.0F;
  return stored(name, "F32", {n, k}, all);
}

class UnknownModel : public Scratch {
 protected:
  UnknownModel() { fs::create_directories(path("in")); }
  void write(std::vector<TensorToWrite> tensors, const char* config) const {
    write_safetensors(path("in/model.safetensors"), std::move(tensors));
    write_file(path("in/config.json"), config);
  }
  /// What would be written: the plan of it takes no writing.
  checkpoint::WritePlan plan(const QuantizeFileOptions& options = {}) const {
    return checkpoint::plan_quantization(open_checkpoint(path("in")), options);
  }
};

std::vector<std::string> layers(const checkpoint::WritePlan& plan) {
  std::vector<std::string> names;
  for (const checkpoint::LayerPlan& layer : plan.files.at(0).layers) names.push_back(layer.name);
  std::sort(names.begin(), names.end());
  return names;
}

TEST_F(UnknownModel, ALineSaysWhatWasTakenAndWhatWasLeft) {
  write({weight("a.blocks.0.up.weight", 64, 32), weight("a.blocks.1.up.weight", 64, 32),
         weight("a.embed.weight", 96, 32), weight("a.blocks.0.norm.weight", 4, 32)},
        R"({"model_type": "mine", "vocab_size": 96})");
  const QuantizeReport report = quantize_file(path("in"), path("out"), {});
  ASSERT_EQ(1U, report.warnings.size());
  EXPECT_EQ(
      "quantize_file: tensors that a model of type 'mine', which is not known, has are taken by "
      "their names: 2 as linear layers, the first 'a.blocks.0.up.weight'; 2 stay in float, the "
      "first 'a.blocks.0.norm.weight'",
      report.warnings[0]);
  EXPECT_EQ((std::vector<std::string>{"a.blocks.0.up", "a.blocks.1.up"}),
            open_checkpoint(path("out")).quantized_layers());
  EXPECT_EQ(report.warnings, estimate_quantization(path("in"), {}).warnings);
}

// A table of ids has as many rows as config.json says that there are ids.
TEST_F(UnknownModel, WhatMayBeATableOfIdsIsRefusedOrGuessed) {
  const char* const configs[] = {R"({"model_type": "mine", "vocab_size": 96})",
                                 R"({"model_type": "mine", "type_vocab_size": 96})",
                                 R"({"architectures": ["Mine"], "audio_vocab": 96})"};
  for (const char* config : configs) {
    SCOPED_TRACE(config);
    write({weight("a.blocks.0.up.weight", 64, 32), weight("a.words.weight", 96, 32)}, config);
    expect_error(Code::invalid_argument,
                 "'a.words.weight' of 96 rows, which may be a linear layer or a table of ids",
                 [&] { quantize_file(path("in"), path("out"), {}); });
    EXPECT_FALSE(fs::exists(path("out")));
    expect_error(Code::invalid_argument, "(--layout), or be guessed at (--guess)",
                 [&] { estimate_quantization(path("in"), {}); });
    EXPECT_EQ((std::vector<std::string>{"a.blocks.0.up", "a.words"}),
              layers(plan({.guess = true})));
    EXPECT_EQ(std::vector<std::string>{"a.blocks.0.up"}, layers(plan({.ignore = {"a.words"}})));
  }
}

TEST_F(UnknownModel, WhatNamesSayIsNotOpen) {
  const struct {
    const char* tensor;
    const char* config;
    bool quantized;
  } rows[] = {
      {"a.words.weight", R"({"model_type": "mine", "vocab_size": 95})", true},
      {"a.words.weight", R"({"model_type": "mine", "vocab_size": "96"})", true},
      {"a.words.weight", R"({"model_type": "mine", "vocab_size": 96.0})", true},
      {"a.words.weight", R"({"model_type": "mine", "hidden_size": 96})", true},
      {"a.layers.3.words.weight", R"({"model_type": "mine", "vocab_size": 96})", true},
      {"a.embed_words.weight", R"({"model_type": "mine", "vocab_size": 96})", false},
      {"lm_head.weight", R"({"model_type": "mine", "vocab_size": 96})", false},
      {"a.words.weight",
       R"({"model_type": "mine", "vocab_size": 99999999999999999999999999999999999999})", true},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(row.tensor) + row.config);
    write({weight("a.blocks.0.up.weight", 64, 32), weight(row.tensor, 96, 32)}, row.config);
    EXPECT_EQ(row.quantized ? 2U : 1U, layers(plan()).size());
  }
}

// What a known class has no module for follows its name inside numbered layers, else it stays.
TEST_F(UnknownModel, WhatAKnownClassHasNotIsSaid) {
  write({weight("model.layers.0.mlp.up_proj.weight", 64, 32),
         weight("model.layers.0.extra.weight", 64, 32), weight("model.more.weight", 64, 32)},
        R"({"architectures": ["LlamaForCausalLM"]})");
  for (const bool guess : {false, true}) {
    const checkpoint::WritePlan planned = plan({.guess = guess});
    ASSERT_EQ(1U, planned.warnings.size());
    EXPECT_NE(std::string::npos, planned.warnings[0].find("LlamaForCausalLM of transformers"))
        << planned.warnings[0];
    EXPECT_NE(std::string::npos,
              planned.warnings[0].find("the first 'model.layers.0.extra.weight'"))
        << planned.warnings[0];
    EXPECT_EQ((std::vector<std::string>{"model.layers.0.extra", "model.layers.0.mlp.up_proj"}),
              layers(planned));
    EXPECT_NE(std::string::npos, planned.config.value_or("").find("\"model.more\""));
  }
}

TEST_F(UnknownModel, AKnownClassSaysNothing) {
  write({weight("model.layers.0.mlp.up_proj.weight", 64, 32),
         weight("model.embed_tokens.weight", 96, 32)},
        R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 96})");
  const checkpoint::WritePlan planned = plan();
  EXPECT_TRUE(planned.warnings.empty());
  EXPECT_EQ(std::vector<std::string>{"model.layers.0.mlp.up_proj"}, layers(planned));
}

// A file has no config.json, and nothing says what it is of.
TEST_F(UnknownModel, ABareFileIsTakenByNames) {
  write_safetensors(path("bare.safetensors"),
                    {weight("a.words.weight", 96, 32), weight("b.embed.weight", 96, 32)});
  const QuantizeReport report =
      quantize_file(path("bare.safetensors"), path("q.safetensors"), {.scheme = Scheme::llm_int8});
  for (const std::string& warning : report.warnings) {
    EXPECT_EQ(std::string::npos, warning.find("taken by their names")) << warning;
  }
  EXPECT_EQ(std::vector<std::string>{"a.words"},
            open_checkpoint(path("q.safetensors")).quantized_layers());
}

}  // namespace
}  // namespace octavo::test::unknown_model_test
