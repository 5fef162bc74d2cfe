// SPDX-License-Identifier: Apache-2.0
// The KV cache's quantisation: Octavo does not apply it, and convert_file carries it over.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/declared/kv_cache.hpp"
#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/support.hpp"
#include "checkpoint/text/json_text.hpp"

namespace octavo::test::kv_cache_test {
namespace {

namespace fs = std::filesystem;
using checkpoint::JsonTree;

std::string scheme_of(const std::string& declaration) {
  JsonTree tree;
  EXPECT_EQ(JsonTree::Problem::none,
            tree.parse(declaration, checkpoint::QuantizationConfig::kLimits));
  return checkpoint::kv_cache_scheme(tree.root());
}

constexpr const char* kFp8 =
    R"({"num_bits":8,"type":"float","strategy":"tensor","symmetric":true,"dynamic":false})";
constexpr const char* kInt8 =
    R"({"num_bits":8,"type":"int","strategy":"tensor","symmetric":true,"dynamic":false})";

TEST(KvCache, EveryDeclarationIsReadAsOneScheme) {
  const struct {
    const char* declaration;
    std::string want;
  } rows[] = {
      {"{}", ""},
      {R"({"kv_cache_scheme": null})", ""},
      {R"({"kv_cache_quant_algo": null})", ""},
      {R"({"kv_cache_quant_algo": "NVFP4"})", ""},
      {R"({"kv_cache_quant_algo": "FP8"})", kFp8},
      {R"({"kv_cache_quant_algo": "fp8"})", kFp8},
      {R"({"kv_cache_quant_algo": "INT8"})", kInt8},
      {R"({"kv_cache_scheme": {"type": "float", "num_bits": 8, "dynamic": false}})", kFp8},
      {R"({"kv_cache_scheme": {}})", kFp8},
      {R"({"kv_cache_scheme": {"type": "int", "num_bits": 8}})", kInt8},
      {R"({"kv_cache_scheme": {"type": "int", "num_bits": 4, "strategy": "channel",)"
       R"( "symmetric": false, "dynamic": true}})",
       R"({"num_bits":4,"type":"int","strategy":"channel","symmetric":false,"dynamic":true})"},
  };
  for (const auto& row : rows) EXPECT_EQ(row.want, scheme_of(row.declaration)) << row.declaration;
}

TEST(KvCache, NamesGoBesideTheProjections) {
  const struct {
    const char *name, *want;
  } rows[] = {
      {"a.0.self_attn.k_proj.k_scale", "a.0.self_attn.k_scale"},
      {"a.0.self_attn.v_proj.v_scale", "a.0.self_attn.v_scale"},
      {"a.0.self_attn.k_proj.k_zero_point", "a.0.self_attn.k_zero_point"},
      {"a.0.self_attn.v_proj.v_zero_point", "a.0.self_attn.v_zero_point"},
      {"a.0.self_attn.k_scale", "a.0.self_attn.k_scale"},
      {"a.0.self_attn.k_proj.v_scale", "a.0.self_attn.k_proj.v_scale"},
      {"a.0.self_attn.k_proj.weight_scale", "a.0.self_attn.k_proj.weight_scale"},
      {"a.0.self_attn.k_proj.bias", "a.0.self_attn.k_proj.bias"},
      {"k_scale", "k_scale"},
      {"", ""},
  };
  for (const auto& row : rows) EXPECT_EQ(row.want, checkpoint::kv_cache_name(row.name));
  for (const char* part : {"k_scale", "v_scale", "q_scale", "k_zero_point", "v_zero_point"}) {
    EXPECT_TRUE(checkpoint::is_of_kv_cache(part));
  }
  for (const char* part : {"", "weight_scale", "input_scale", "scale", "weight"}) {
    EXPECT_FALSE(checkpoint::is_of_kv_cache(part)) << part;
  }
}

constexpr const char* kModelOptFp8 =
    R"("quant_algo":"FP8","config_groups":{"group_0":{"targets":["Linear"],)"
    R"("input_activations":{"dynamic":false,"num_bits":8,"type":"float"},)"
    R"("weights":{"dynamic":false,"num_bits":8,"type":"float"}}})";

/// A model with two fp8 projections and scales of its cache.
class KvCacheFolder : public Scratch {
 protected:
  static constexpr const char* kAttention = "model.layers.0.self_attn";

  /// `inside`: whether the scales lie in the projections, as ModelOpt has them.
  void write(bool inside, const std::string& config, const std::string& own_file) const {
    fs::remove_all(path("in"));
    fs::create_directories(path("in"));
    std::vector<TensorToWrite> tensors;
    for (const char* letter : {"k", "v"}) {
      const std::string layer = std::string(kAttention) + "." + letter + "_proj";
      tensors.push_back(stored(layer + ".weight", "F8_E4M3", {16, 16},
                               std::vector<std::uint8_t>(256, std::uint8_t{0x38})));
      tensors.push_back(stored<float>(layer + ".weight_scale", "F32", {}, {0.5F}));
      tensors.push_back(stored<float>(layer + ".input_scale", "F32", {}, {0.25F}));
      const std::string stem = inside ? layer : std::string(kAttention);
      tensors.push_back(stored<float>(stem + "." + letter + "_scale", "F32", {},
                                      {letter[0] == 'k' ? 0.125F : 0.375F}));
    }
    write_safetensors(path("in/model.safetensors"), std::move(tensors));
    write_file(path("in/config.json"), config);
    if (!own_file.empty()) write_file(path("in/hf_quant_config.json"), own_file);
  }
  QuantizeReport convert(Format format) const {
    fs::remove_all(path("out"));
    return convert_file(path("in"), path("out"), {.format = format});
  }
};

std::string quantized(const std::string& body) {
  return R"({"architectures":["LlamaForCausalLM"],"quantization_config":{)" + body + "}}";
}

TEST_F(KvCacheFolder, SchemeAndScalesAreCarriedToCompressedTensors) {
  const std::string modelopt = std::string(R"("quant_method":"modelopt",)") + kModelOptFp8;
  const std::string compressed =
      R"("quant_method":"compressed-tensors","format":"float-quantized","config_groups":{"group_0":)"
      R"({"targets":["Linear"],"weights":{"num_bits":8,"type":"float","strategy":"tensor"},)"
      R"("input_activations":{"num_bits":8,"type":"float","strategy":"tensor","dynamic":false}}})";
  const struct {
    const char* what;
    bool inside;
    std::string config, own_file;
  } rows[] = {
      {"ModelOpt's config.json", true,
       quantized(modelopt + R"(,"kv_cache_scheme":{"dynamic":false,"num_bits":8,"type":"float"})"),
       ""},
      {"ModelOpt's own file", true, R"({"architectures":["LlamaForCausalLM"]})",
       R"({"producer":{"name":"modelopt"},"quantization":{"quant_algo":"FP8",)"
       R"("kv_cache_quant_algo":"FP8","exclude_modules":["lm_head"]}})"},
      {"both of ModelOpt", true,
       quantized(modelopt + R"(,"kv_cache_scheme":{"dynamic":false,"num_bits":8,"type":"float"})"),
       R"({"producer":{"name":"modelopt"},"quantization":{"quant_algo":"FP8",)"
       R"("kv_cache_quant_algo":"FP8"}})"},
      {"compressed-tensors", false, quantized(compressed + R"(,"kv_cache_scheme":)" + kFp8), ""},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.what);
    write(row.inside, row.config, row.own_file);
    const QuantizeReport report = convert(Format::compressed_tensors);
    const Checkpoint out = open_checkpoint(path("out"));
    const std::string config = read_file(path("out/config.json"));
    const auto body = checkpoint::json_field(config, "quantization_config");
    ASSERT_TRUE(body);
    EXPECT_EQ(kFp8, scheme_of(std::string(*body))) << config;
    const std::string stem = kAttention;
    EXPECT_EQ(0.125F, out.tensor(stem + ".k_scale").data_as<float>()[0]);
    EXPECT_EQ(0.375F, out.tensor(stem + ".v_scale").data_as<float>()[0]);
    EXPECT_FALSE(out.contains(stem + ".k_proj.k_scale"));
    EXPECT_EQ(2U, out.quantized_layers().size());
    EXPECT_FALSE(fs::exists(path("out/hf_quant_config.json")));
    // There and back again it is the same.
    fs::remove_all(path("again"));
    convert_file(path("out"), path("again"), {.format = Format::compressed_tensors});
    EXPECT_EQ(config, read_file(path("again/config.json")));
    for (const std::string& warning : report.warnings) {
      EXPECT_EQ(std::string::npos, warning.find("KV cache's quantisation must be")) << warning;
    }
  }
}

TEST_F(KvCacheFolder, OtherFormatsHaveNoFieldForItAndAWarningSaysSo) {
  const std::string modelopt = std::string(R"("quant_method":"modelopt",)") + kModelOptFp8;
  for (const bool declared : {true, false}) {
    write(true,
          quantized(modelopt +
                    (declared ? R"(,"kv_cache_scheme":{"num_bits":8,"type":"float"})" : "")),
          "");
    for (const Format format : {Format::fp8, Format::fp8_block, Format::bitsandbytes}) {
      SCOPED_TRACE(format_name(format));
      const QuantizeReport report = convert(format);
      int told = 0;
      for (const std::string& warning : report.warnings) {
        const bool about = warning.find("format compressed-tensors; got " +
                                        std::string(format_name(format))) != std::string::npos;
        told += about ? 1 : 0;
        EXPECT_TRUE(!about || warning.find(kFp8) != std::string::npos) << warning;
      }
      EXPECT_EQ(declared ? 1 : 0, told);
      const Checkpoint out = open_checkpoint(path("out"));
      EXPECT_EQ(0.125F,
                out.tensor(std::string(kAttention) + ".k_proj.k_scale").data_as<float>()[0]);
      EXPECT_EQ(std::string::npos, read_file(path("out/config.json")).find("kv_cache"));
    }
  }
}

}  // namespace
}  // namespace octavo::test::kv_cache_test
