// SPDX-License-Identifier: Apache-2.0
// Folders that hold no model of transformers, or layers of another tool that are not known: no
// model is made of them.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/support.hpp"

namespace octavo::test::model_folder_test {
namespace {

namespace fs = std::filesystem;

TensorToWrite weight(const std::string& name, std::int64_t n = 64, std::int64_t k = 32) {
  std::vector<float> all(static_cast<std::size_t>(n * k));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(i % 17) - 8.0F;
  return stored(name, "F32", {n, k}, all);
}

template <class T>
TensorToWrite codes(const std::string& name, const char* dtype, std::int64_t n, std::int64_t k) {
  return stored(name, dtype, {n, k}, std::vector<T>(static_cast<std::size_t>(n * k), T{3}));
}

class ModelFolder : public Scratch {
 protected:
  void write(std::vector<TensorToWrite> tensors, const std::string& config,
             const char* file = "model.safetensors") const {
    fs::remove_all(path("in"));
    fs::create_directories(path("in"));
    write_safetensors(path("in/") + file, std::move(tensors));
    write_file(path("in/config.json"), config);
  }
  void expect_refused(Code code, const std::string& fragment, const std::string& in = "in") const {
    for (const Scheme scheme : {Scheme::int8_dynamic, Scheme::fp8_block, Scheme::llm_int8}) {
      expect_error(code, fragment,
                   [&] { quantize_file(path(in), path("out"), {.scheme = scheme}); });
      expect_error(code, fragment, [&] { estimate_quantization(path(in), {.scheme = scheme}); });
    }
    EXPECT_FALSE(fs::exists(path("out")));
  }
};

TEST_F(ModelFolder, AnAdapterIsNoModel) {
  for (const char* part :
       {"base.q_proj.lora_A.weight", "base.q_proj.lora_B.default.weight",
        "base.embed.lora_embedding_A", "base.q.lora_magnitude_vector", "base.q.hada_w1_a",
        "base.q.lokr_w1", "base.q.ia3_l", "base.q.oft_R.weight", "prompt_embeddings"}) {
    SCOPED_TRACE(part);
    write({weight("base.q_proj.weight"), weight(part)}, R"({"model_type": "llama"})");
    expect_refused(Code::invalid_argument,
                   std::string("must hold a model; got an adapter ('") + part + "')");
    expect_refused(Code::invalid_argument, "quantize_file: file", "in/model.safetensors");
  }
  write({weight("base.q_proj.weight")}, "{}", "adapter_model.safetensors");
  write_file(path("in/adapter_config.json"), "{}");
  expect_refused(Code::invalid_argument,
                 "got an adapter ('adapter_config.json'): merge it into its model first");
  expect_refused(Code::invalid_argument, "got an adapter", "in/adapter_model.safetensors");
  // A model that an adapter's declaration lies beside is one, as a file of its own.
  write({weight("base.q_proj.weight")}, "{}");
  write_file(path("in/adapter_config.json"), "{}");
  expect_refused(Code::invalid_argument, "got an adapter");
  quantize_file(path("in/model.safetensors"), path("q.safetensors"), {});
  EXPECT_EQ(1U, open_checkpoint(path("q.safetensors")).quantized_layers().size());
}

TEST_F(ModelFolder, APartOfADiffusersPipelineIsNoModelOfTransformers) {
  write({weight("blocks.0.to_q.weight")}, R"({"_class_name": "UNet2DConditionModel"})");
  expect_refused(Code::unsupported,
                 "got a part of a diffusers pipeline, _class_name \"UNet2DConditionModel\"");
  quantize_file(path("in/model.safetensors"), path("q.safetensors"), {});
  // A text encoder is a model of both.
  write({weight("model.layers.0.mlp.up_proj.weight")},
        R"({"_class_name": "X", "model_type": "llama"})");
  quantize_file(path("in"), path("out"), {});
  EXPECT_EQ(1U, open_checkpoint(path("out")).quantized_layers().size());
}

std::string declared(const std::string& body) {
  return R"({"model_type": "llama", "quantization_config": )" + body + "}";
}

TEST_F(ModelFolder, ADeclarationWhoseLayersAreNotKnownIsRefused) {
  const std::string layer = "model.layers.0.mlp.up_proj";
  const struct {
    const char* what;
    std::string config;
    std::vector<TensorToWrite> tensors;
    const char* fragment;
  } rows[] = {
      {"mxfp4",
       declared(R"({"quant_method": "mxfp4"})"),
       {codes<std::uint8_t>("model.layers.0.mlp.experts.gate_up_proj_blocks", "U8", 64, 16),
        weight("model.layers.0.self_attn.q_proj.weight")},
       "got 'mxfp4': its codes have 4 bits"},
      {"bitsandbytes nf4",
       declared(R"({"quant_method": "bitsandbytes", "load_in_4bit": true,)"
                R"( "bnb_4bit_quant_type": "nf4"})"),
       {codes<std::uint8_t>(layer + ".weight", "U8", 1024, 1),
        stored<float>(layer + ".weight.absmax", "F32", {32}, std::vector<float>(32, 1.0F))},
       "config.json must declare a quantisation whose layers are known; got 0 known layers, and "
       "tensor 'model.layers.0.mlp.up_proj.weight' of type U8"},
      {"hqq",
       declared(R"({"quant_method": "hqq"})"),
       {codes<std::uint8_t>(layer + ".W_q", "U8", 64, 32), weight(layer + ".meta", 4, 4)},
       "got 'hqq': its codes are packed by layer"},
      {"declared and float",
       declared(R"({"quant_method": "fp8"})"),
       {weight(layer + ".weight")},
       "config.json must declare a quantisation whose layers are known; got 0 known layers"},
      {"another tool",
       declared(R"({"quant_method": "mine"})"),
       {weight(layer + ".weight")},
       "quant_method must be one that Octavo reads; got 'mine'"},
      {"MLX",
       R"({"model_type": "llama", "quantization": {"group_size": 64, "bits": 4}})",
       {codes<std::uint32_t>(layer + ".weight", "U32", 64, 4), weight(layer + ".scales", 64, 1),
        weight(layer + ".biases", 64, 1), weight("model.layers.0.mlp.down_proj.weight")},
       ""},
      {"codes alone",
       R"({"model_type": "llama"})",
       {codes<std::int8_t>(layer + ".codes", "I8", 64, 32),
        weight("model.layers.0.mlp.down_proj.weight")},
       "'model.layers.0.mlp.up_proj.codes' must belong to a layer that is known; got codes of "
       "type I8"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.what);
    write(row.tensors, row.config);
    EXPECT_TRUE(open_checkpoint(path("in")).contains(row.tensors[0].name));
    for (const bool again : {false, true}) {
      try {
        quantize_file(path("in"), path("out"), {.requantize = again});
        ADD_FAILURE() << "no error";
      } catch (const Error& error) {
        EXPECT_NE(std::string::npos, std::string(error.what()).find(row.fragment)) << error.what();
      }
    }
    EXPECT_FALSE(fs::exists(path("out")));
  }
}

// Models keep tables of integers that are no codes.
TEST_F(ModelFolder, TablesOfIntegersAreCopied) {
  write({weight("model.layers.0.mlp.up_proj.weight"),
         codes<std::int32_t>("model.layers.0.relative_position_index", "I32", 8, 8),
         codes<std::uint8_t>("model.layers.0.attn.mask", "U8", 8, 8),
         stored<std::int32_t>("model.count", "I32", {2}, {1, 2})},
        R"({"model_type": "llama"})");
  quantize_file(path("in"), path("out"), {});
  const Checkpoint in = open_checkpoint(path("in")), out = open_checkpoint(path("out"));
  for (const char* name :
       {"model.layers.0.relative_position_index", "model.layers.0.attn.mask", "model.count"}) {
    EXPECT_EQ(in.bytes(name), out.bytes(name)) << name;
  }
}

}  // namespace
}  // namespace octavo::test::model_folder_test
