// SPDX-License-Identifier: Apache-2.0
// Layout files: what they say of a model of one's own, and what is wrong with them.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/models/layout_file.hpp"
#include "checkpoint/support.hpp"

namespace octavo::test::layout_file_test {
namespace {

namespace fs = std::filesystem;
using checkpoint::Architecture;
using checkpoint::architecture_of_layout;
using checkpoint::ModuleKind;

/// The example of layout_file.hpp, with one name for each kind.
constexpr const char* kLayout =
    R"({"class": "MyForCausalLM", "prefix": "model",
        "linear": ["model.layers.*.attn.qkv"], "conv1d": ["model.layers.*.conv"],
        "experts": ["model.layers.*.moe.experts.gate_up_proj",
                    "model.layers.*.moe.experts.down_proj"],
        "interleaved_experts": ["model.layers.*.mixed.experts.gate_up_proj"],
        "embedding": ["model.embed"], "float": ["head"], "tied": {"head": "model.embed"},
        "renamed": {"transformer": "model"}})";

TEST(LayoutFile, EveryFieldIsRead) {
  const Architecture made = architecture_of_layout(kLayout);
  EXPECT_EQ("MyForCausalLM", made.name);
  EXPECT_EQ("model", made.prefix);
  const struct {
    const char* tensor;
    ModuleKind kind;
    const char* module;
  } rows[] = {
      {"model.layers.12.attn.qkv", ModuleKind::linear, "model.layers.12.attn.qkv"},
      {"layers.12.attn.qkv", ModuleKind::linear, "model.layers.12.attn.qkv"},
      {"transformer.layers.12.attn.qkv", ModuleKind::linear, "model.layers.12.attn.qkv"},
      {"model.layers.0.conv", ModuleKind::conv1d, "model.layers.0.conv"},
      {"model.layers.0.moe.experts.down_proj", ModuleKind::experts,
       "model.layers.0.moe.experts.down_proj"},
      {"model.layers.0.mixed.experts.gate_up_proj", ModuleKind::interleaved_experts,
       "model.layers.0.mixed.experts.gate_up_proj"},
      {"transformer.embed", ModuleKind::embedding, "model.embed"},
      {"head", ModuleKind::kept_linear, "head"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.tensor);
    const auto found = made.find(row.tensor);
    ASSERT_TRUE(found);
    EXPECT_EQ(row.kind, found->kind);
    EXPECT_EQ(row.module, found->module);
  }
  EXPECT_FALSE(made.find("model.layers.attn.qkv"));
  EXPECT_FALSE(made.find("model.layers.x.attn.qkv"));
  EXPECT_TRUE(made.is_tied("head"));
  EXPECT_TRUE(made.interleaves_experts());
}

TEST(LayoutFile, EveryFieldIsOptional) {
  for (const char* text :
       {"{}", R"({"linear":null,"tied":null,"class":null})", R"({"linear":[]})"}) {
    const Architecture made = architecture_of_layout(text);
    EXPECT_TRUE(made.modules().empty());
    EXPECT_FALSE(made.find("x"));
    EXPECT_FALSE(made.name.empty());
  }
}

TEST(LayoutFile, WhatIsWrongIsNamed) {
  std::string deep = "a";
  for (int i = 0; i < 100'000; ++i) deep += ".a";
  const struct {
    std::string text;
    const char* fragment;
  } rows[] = {
      {"", "layout: file must be a JSON object; got 0 bytes"},
      {"{", "layout: file must be a JSON object; got 1 bytes, '{'"},
      {"[]", "layout: file must be a JSON object"},
      {"7", "layout: file must be a JSON object"},
      {R"({"linear":[]} x)", "layout: file must be a JSON object"},
      {R"({"linear":[],"linear":[]})", "layout: file must be a JSON object"},
      {R"({"liner":[]})",
       "layout: fields must be class, prefix, linear, conv1d, experts, "
       "interleaved_experts, embedding, float, tied or renamed; got 'liner'"},
      {R"({"":1})", "layout: fields must be"},
      {R"({"class":7})", "layout: class must be a string; got '7'"},
      {R"({"class":["A"]})", "layout: class must be a string"},
      {R"({"prefix":{}})", "layout: prefix must be a string"},
      {R"({"linear":"a"})", "layout: linear must be a list of names; got"},
      {R"({"conv1d":{}})", "layout: conv1d must be a list of names"},
      {R"({"experts":1})", "layout: experts must be a list of names; got '1'"},
      {R"({"interleaved_experts":true})", "layout: interleaved_experts must be a list of names"},
      {R"({"embedding":"a"})", "layout: embedding must be a list of names"},
      {R"({"float":0})", "layout: float must be a list of names"},
      {R"({"linear":[7]})", "layout: linear must hold names of at most 64 parts; got '7'"},
      {R"({"linear":["a",null]})", "layout: linear must hold names of at most 64 parts"},
      {R"({"linear":[["a"]]})", "layout: linear must hold names of at most 64 parts"},
      {R"({"float":[""]})", "layout: float must hold names of at most 64 parts"},
      {R"({"float":["a..b"]})", "layout: float must hold names of at most 64 parts"},
      {R"({"float":[".a"]})", "layout: float must hold names of at most 64 parts"},
      {R"({"float":["a."]})", "layout: float must hold names of at most 64 parts"},
      {R"({"linear":[")" + deep + "\"]}", "layout: linear must hold names of at most 64 parts"},
      {R"({"tied":["a"]})", "layout: tied must be an object of names"},
      {R"({"tied":{"a":1}})", "layout: tied must be a string; got '1'"},
      {R"({"renamed":"a"})", "layout: renamed must be an object of names"},
      {R"({"renamed":{"a":{}}})", "layout: renamed must be a string"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text.substr(0, 60));
    expect_error(Code::invalid_argument, row.fragment,
                 [&] { (void)architecture_of_layout(row.text); });
  }
}

/// A model of the class that kLayout describes.
class LayoutFolder : public Scratch {
 protected:
  LayoutFolder() {
    fs::create_directories(path("in"));
    const auto weight = [](const std::string& name, std::vector<std::int64_t> shape) {
      std::int64_t count = 1;
      for (const std::int64_t extent : shape) count *= extent;
      std::vector<float> all(static_cast<std::size_t>(count));
      for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(i % 13) - 6.0F;
      return stored(name, "F32", std::move(shape), all);
    };
    write_safetensors(
        path("in/model.safetensors"),
        {weight("transformer.embed.weight", {64, 32}), weight("head.weight", {64, 32}),
         weight("transformer.layers.0.attn.qkv.weight", {96, 32}),
         weight("transformer.layers.1.attn.qkv.weight", {96, 32}),
         weight("transformer.layers.0.conv.weight", {32, 96})});
    write_file(path("in/config.json"),
               R"({"model_type": "mine", "architectures": ["MyForCausalLM"], "vocab_size": 64})");
    write_file(path("mine.json"), kLayout);
  }
};

TEST_F(LayoutFolder, SaysWhatIsQuantizedAndWhatIsKept) {
  quantize_file(path("in"), path("out"),
                {.scheme = Scheme::int8_dynamic,
                 .ignore = {"transformer.layers.0.conv"},
                 .layout = path("mine.json")});
  const Checkpoint out = open_checkpoint(path("out"), path("mine.json"));
  EXPECT_EQ(
      (std::vector<std::string>{"transformer.layers.0.attn.qkv", "transformer.layers.1.attn.qkv"}),
      out.quantized_layers());
  const std::string config = read_file(path("out/config.json"));
  EXPECT_NE(std::string::npos, config.find("\"head\"")) << config;
  EXPECT_EQ("F32", out.entries().at(0).dtype);
  EXPECT_TRUE(out.contains("head.weight"));

  // The Conv1D is transposed, which the layout alone says of it.
  quantize_file(path("in"), path("llm"), {.scheme = Scheme::llm_int8, .layout = path("mine.json")});
  EXPECT_EQ(
      "[96, 32]",
      shape_string(open_checkpoint(path("llm")).weight("transformer.layers.0.conv").codes.data));
  expect_error(Code::invalid_argument, "which is a Conv1D's [K, N]",
               [&] { quantize_file(path("in"), path("other"), {.layout = path("mine.json")}); });
  EXPECT_FALSE(fs::exists(path("other")));
  dequantize_file(path("llm"), path("float"), {.layout = path("mine.json")});
  EXPECT_EQ(
      "[32, 96]",
      shape_string(open_checkpoint(path("float")).tensor("transformer.layers.0.conv.weight")));
}

TEST_F(LayoutFolder, ATiedHeadIsKeptWhereNoFileHasIt) {
  write_file(path("mine.json"), R"({"linear": ["transformer.layers.*.attn.qkv"], "conv1d": [],
    "float": ["head", "transformer.layers.*.conv"], "embedding": ["transformer.embed"],
    "tied": {"head": "transformer.embed"}})");
  std::vector<float> ones(32 * 32, 1.0F);
  write_safetensors(path("in/model.safetensors"),
                    {stored("transformer.embed.weight", "F32", {32, 32}, ones),
                     stored("transformer.layers.0.attn.qkv.weight", "F32", {32, 32}, ones)});
  for (const Scheme scheme :
       {Scheme::int8_dynamic, Scheme::fp8_dynamic, Scheme::fp8_block, Scheme::llm_int8}) {
    fs::remove_all(path("out"));
    quantize_file(path("in"), path("out"), {.scheme = scheme, .layout = path("mine.json")});
    EXPECT_NE(std::string::npos, read_file(path("out/config.json")).find("\"head\""));
  }
}

TEST_F(LayoutFolder, AFileThatIsNotThereOrWrongIsRefusedByEveryOperation) {
  const auto expect_refused = [&](Code code, const std::string& layout, const char* fragment) {
    SCOPED_TRACE(layout);
    expect_error(code, fragment,
                 [&] { quantize_file(path("in"), path("out"), {.layout = path(layout)}); });
    expect_error(code, fragment,
                 [&] { estimate_quantization(path("in"), {.layout = path(layout)}); });
    EXPECT_FALSE(fs::exists(path("out")));
  };
  expect_refused(Code::unavailable, "none.json", "none.json'");
  write_file(path("wrong.json"), R"({"linear": 3})");
  expect_refused(Code::invalid_argument, "wrong.json", "layout: linear must be a list of names");
}

}  // namespace
}  // namespace octavo::test::layout_file_test
