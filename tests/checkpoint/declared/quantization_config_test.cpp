// SPDX-License-Identifier: Apache-2.0
// Configurations from untrusted files: the limits, each in a sentence; groups and their targets.
#include <limits>
#include <optional>

#include "checkpoint/support.hpp"
#include "octavo/layers.hpp"

namespace octavo::test::quantization_config_test {
namespace {

using Layers = std::vector<std::string>;

class Configuration : public Scratch {
 protected:
  /// A file with those layers, int8 with a scale a channel, and that configuration.
  Checkpoint file(const std::string& config, const Layers& layers = {"p"}) const {
    std::vector<TensorToWrite> tensors;
    for (const std::string& layer : layers) {
      tensors.push_back(stored<std::int8_t>(layer + ".weight", "I8", {1, 4}, {1, 2, 3, 4}));
      tensors.push_back(stored<float>(layer + ".weight_scale", "F32", {1}, {1}));
    }
    write_safetensors(path("x"), tensors, {{"quantization_config", config}});
    return open_checkpoint(path("x"));
  }
};

std::string groups(const std::string& inside) {
  return R"({"quant_method":"compressed-tensors","config_groups":{)" + inside + "}}";
}
std::string targets(const std::string& names) {
  return groups(R"("g":{"targets":[)" + names + "]}");
}

std::string times(std::size_t n, const std::string& text) {
  std::string all;
  for (std::size_t i = 0; i < n; ++i) all += text;
  return all;
}

std::string expressions(int count) {
  std::string all = "\"p.none\"";
  for (int i = 0; i < count; ++i) all += ",\"re:x" + std::to_string(i) + "$\"";
  return all;
}

std::string many_groups(int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += ",\"" + std::to_string(i) + "\":{\"targets\":[]}";
  return all;
}

TEST_F(Configuration, BeyondALimitIsRefusedWithIt) {
  const struct {
    std::string config;
    const char* fragment;
  } rows[] = {
      {"{\"a\":" + std::string(100000, '['),
       "'quantization_config' must nest at most 32 levels; got 100005 bytes, '{\"a\":[["},
      {"{}" + std::string(std::size_t{64} << 20, ' '),
       "must have at most 67108864 bytes; got 67108866 bytes, '{}   "},
      {"{\"a\":[0" + times(8'000'000, ",0") + "]}", "must hold at most 8000000 values; got "},
      {"{\"" + std::string(65537, 'k') + "\":0}",
       "must have keys of at most 65536 bytes; got 65543 bytes, '{\"kkk"},
      {R"({"a":{"b":1,"c":2,"b":1}})",
       "must have each key of an object once; got 25 bytes, '{\"a\":{\"b\":1,\"c\":2,\"b\":1}}'"},
      {"{\"a\":1e999}", "must be a JSON object; got 11 bytes, '{\"a\":1e999}'"},
      {"{\"\":-}", "must be a JSON object; got "},
      {targets(expressions(1001)),
       "Checkpoint::weight: patterns must hold at most 1000 regular expressions; got more"},
      {targets("\"re:" + std::string(1001, 'x') + "\""),
       "must have at most 1000 bytes behind 're:'; got 1001"},
      {targets(R"("re:((a{100}){100}){100}")"),
       "pattern 're:((a{100}){100}){100}' must be a regular expression; got "},
      {groups("\"g\":{\"targets\":[]}" + many_groups(10'000)),
       "'quantization_config' must have at most 10000 groups of layers; got more"},
      {targets("\"p\",1"), "config_groups.targets must hold strings; got '1'"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.fragment);
    const Checkpoint checkpoint = file(row.config);
    for (int again = 0; again < 2; ++again) {
      expect_error(Code::corrupt_data, row.fragment, [&] { checkpoint.weight("p"); });
    }
  }
}

TEST_F(Configuration, AtALimitIsRead) {
  const std::string rows[] = {
      "{\"a\":" + std::string(31, '[') + std::string(31, ']') + "}",
      "{\"" + std::string(65536, 'k') + "\":0}",
      groups("\"g\":{\"targets\":[]}" + many_groups(9'999)),
      targets(expressions(1000)),
      targets("\"re:" + std::string(1000, 'x') + "\""),
  };
  for (const std::string& row : rows) EXPECT_EQ("int8-dynamic", file(row).weight("p").scheme);
}

// compressed-tensors' order (tests/python/test_config_groups.py holds it to the tool's own
// matcher).
TEST_F(Configuration, ANameGoesBeforeAnExpressionBeforeAClass) {
  const auto group = [](const char* name, const char* names, const char* rule) {
    return std::string("\"") + name + R"(":{"targets":[)" + names + R"(],"input_activations":)" +
           rule + "}";
  };
  const char* const none = "null";
  const char* const four_bits = R"({"num_bits":4,"type":"int"})";
  const char* const by_tensor = R"({"num_bits":8,"type":"int","strategy":"tensor"})";
  const Layers layers{"m.a", "m.b", "m.c", "m.e", "m.f"};

  const Checkpoint by_class =
      file(groups(group("c", R"("Linear")", four_bits) + "," +
                  group("a", R"("m.b","re:m\\.[ce]")", none) + "," +
                  group("b", R"("m.c")", by_tensor) + "," + group("d", R"("Embedding")", none)),
           layers);
  EXPECT_FALSE(by_class.weight("m.b").activation);
  EXPECT_EQ(per_tensor(), by_class.weight("m.c").activation->spec.granularity);
  EXPECT_FALSE(by_class.weight("m.e").activation);
  for (const char* layer : {"m.a", "m.f"}) {
    expect_error(Code::unsupported, "input_activations must be of 8 bits; got 4",
                 [&] { by_class.weight(layer); });
  }

  const Checkpoint of_no_group = file(groups(group("a", R"("Embedding","LlamaAttention")", none) +
                                             "," + group("b", R"("m.c")", by_tensor)),
                                      layers);
  EXPECT_EQ(per_token(), of_no_group.weight("m.e").activation->spec.granularity);
  const Checkpoint without_targets =
      file(groups(R"("b":{"input_activations":null},)" + group("c", "\"m.e\"", by_tensor)), layers);
  EXPECT_FALSE(without_targets.weight("m.a").activation);
  EXPECT_TRUE(without_targets.weight("m.e").activation);
}

TEST_F(Configuration, AClassWhoseLayersAreNotKnownIsNamed) {
  const Checkpoint other = file(targets(R"("FalconLinear","m.a")"), {"m.a", "m.b"});
  EXPECT_EQ("int8-weight-only", other.weight("m.a").scheme);
  expect_error(Code::unsupported,
               "config_groups.targets must be names, expressions, Linear, Embedding or Module; got "
               "'FalconLinear', and no file says which layers are of that class",
               [&] { other.weight("m.b"); });
  EXPECT_EQ("int8-weight-only", file(targets(R"("MoELinear","Linear")")).weight("p").scheme);
}

// What a class's table says is an embedding takes the group of embeddings, if there is one.
TEST_F(Configuration, ATableTakesTheGroupOfEmbeddings) {
  const std::string group =
      R"("e":{"targets":["Embedding"],"weights":{"num_bits":8,"type":"int","strategy":"tensor"}})";
  write_safetensors(
      path("model.safetensors"),
      {stored<std::int8_t>("model.embed_tokens.weight", "I8", {2, 2}, {1, 2, 3, 4}),
       stored<float>("model.embed_tokens.weight_scale", "F32", {1}, {1}),
       stored<std::int8_t>("model.layers.0.mlp.up_proj.weight", "I8", {2, 2}, {1, 2, 3, 4}),
       stored<float>("model.layers.0.mlp.up_proj.weight_scale", "F32", {2}, {1, 2})});
  const std::string linear =
      R"("l":{"targets":["Linear"],"weights":{"num_bits":8,"type":"int","strategy":"channel"}})";
  write_file(
      path("config.json"),
      R"({"model_type":"llama","architectures":["LlamaForCausalLM"],"quantization_config":)" +
          groups(linear + "," + group) + "}");
  const Checkpoint model = open_checkpoint(folder_.string());
  EXPECT_EQ(ScaleGrid{}, model.weight("model.embed_tokens").codes.grid);
  expect_error(Code::invalid_argument,
               "load_linear: prefixes must name linear layers; got 'model.embed_tokens', a table",
               [&] { load_linear(model, Layers{"model.embed_tokens"}); });
  EXPECT_EQ((ScaleGrid{1, kWholeExtent}), model.weight("model.layers.0.mlp.up_proj").codes.grid);
}

TEST_F(Configuration, APresetIsARule) {
  const struct {
    const char* preset;
    const char* type;
    const char* scheme;
    std::optional<Granularity> activation;
  } rows[] = {
      {"W8A8", "I8", "int8-dynamic", per_token()},
      {"int8", "I8", "int8-dynamic", per_token()},
      {"W8A16", "I8", "int8-weight-only", std::nullopt},
      {"FP8_DYNAMIC", "F8_E4M3", "fp8-dynamic", per_token()},
      {"FP8_BLOCK", "F8_E4M3", "fp8-block", group(128)},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.preset);
    write_safetensors(
        path("x"),
        {stored<std::uint8_t>("p.weight", row.type, {1, 4}, {1, 2, 3, 4}),
         stored<float>("p.weight_scale", "F32", {1, 1}, {1})},
        {{"quantization_config", groups(std::string("\"") + row.preset + R"(":["Linear"])")}});
    const Weight w = open_checkpoint(path("x")).weight("p");
    EXPECT_EQ(row.scheme, w.scheme);
    ASSERT_EQ(row.activation.has_value(), w.activation.has_value());
    if (!w.activation) continue;
    EXPECT_EQ(*row.activation, w.activation->spec.granularity);
  }
  expect_error(Code::unsupported,
               "or a preset with codes of 8 bits that Octavo reads; got preset 'W4A16'",
               [&] { file(groups(R"("W4A16":["Linear"])")).weight("p"); });
}

// What a configuration says of layers by their names, against what the file holds.
TEST_F(Configuration, AListedLayerThatIsQuantizedIsAnErrorThatNamesIt) {
  const struct {
    const char* config;
    const char* layer;
    bool left;
  } rows[] = {
      {R"({"quant_method":"compressed-tensors","ignore":["m.a"]})", "m.a", true},
      {R"({"quant_method":"compressed-tensors","ignore":["m.a"]})", "m.ab", false},
      {R"({"quant_method":"compressed-tensors","ignore":["m"]})", "m.a", false},
      {R"({"quant_method":"compressed-tensors","ignore":["re:.*gate$"]})", "m.gate", true},
      {R"({"quant_method":"compressed-tensors","ignore":["re:gate$"]})", "m.gate", false},
      {R"({"quant_method":"compressed-tensors","ignore":["Linear"]})", "m.a", false},
      {R"({"quant_method":"fp8","ignored_layers":["m"]})", "m.a", true},
      {R"({"quant_method":"fp8","modules_to_not_convert":["gate"]})", "m.gate", true},
      {R"({"quant_method":"fp8","modules_to_not_convert":["gate"]})", "m.gate_proj", false},
      {R"({"quant_method":"fp8","modules_to_not_convert":["m.1"]})", "m.10.a", false},
      {R"({"quant_method":"modelopt","quant_algo":"W8A16","ignore":["m.*"]})", "m.a", true},
      {R"({"quant_method":"modelopt","quant_algo":"W8A16","exclude_modules":["m.?"]})", "m.a.b",
       true},
      {R"({"quant_method":"modelopt","quant_algo":"W8A16","ignore":["*.[!b]"]})", "m.a", true},
      {R"({"quant_method":"modelopt","quant_algo":"W8A16","ignore":["*.[!a]"]})", "m.a", false},
      {R"({"quantization":{"quant_algo":"W8A16","exclude_modules":["m.a"]}})", "m.a", true},
      {R"({"quantization":{"quant_algo":"W8A16","exclude_modules":["a"]}})", "m.a", false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(row.config) + " " + row.layer);
    const bool fp8 = std::string_view(row.config).find("fp8") != std::string_view::npos;
    const std::string layer = row.layer;
    write_safetensors(
        path("x"),
        {stored<std::uint8_t>(layer + ".weight", fp8 ? "F8_E4M3" : "I8", {1, 4}, {1, 2, 3, 4}),
         stored<float>(layer + ".weight_scale", "F32", {1}, {1})},
        {{"quantization_config", row.config}});
    const Checkpoint file = open_checkpoint(path("x"));
    if (!row.left) {
      EXPECT_TRUE(file.weight(layer).codes.scale.defined());
      continue;
    }
    expect_error(Code::corrupt_data,
                 "tensor '" + layer +
                     ".weight' must be a float weight, since "
                     "'quantization_config' leaves layer '" +
                     layer + "' alone; got codes with scale '" + layer + ".weight_scale'",
                 [&] { file.weight(layer); });
  }
}

TEST_F(Configuration, ALayerThatIsListedAsQuantizedAndIsNotIsAnErrorThatNamesIt) {
  const char* const rows[] = {
      R"({"quant_method":"compressed-tensors","config_groups":{"g":{"targets":["p"]}}})",
      R"({"p":{"weights":"qint8","activations":"none"}})",
      R"({"quantization":{"quant_algo":"MIXED_PRECISION",
          "quantized_layers":{"p":{"quant_algo":"FP8"}}}})",
  };
  for (const char* row : rows) {
    SCOPED_TRACE(row);
    write_safetensors(path("x"),
                      {stored<float>("p.weight", "F32", {1, 2}, {1, 2}),
                       stored<float>("q.weight", "F32", {1, 2}, {1, 2})},
                      {{"quantization_config", row}});
    const Checkpoint file = open_checkpoint(path("x"));
    EXPECT_EQ("none", file.weight("q").scheme);
    expect_error(Code::corrupt_data,
                 "tensor 'p.weight' must be quantised, since the file declares layer 'p' so; got "
                 "F32 without a scale",
                 [&] { file.weight("p"); });
  }
}

TEST_F(Configuration, AMethodThatIsNotReadIsNamed) {
  const struct {
    const char* config;
    const char* fragment;
  } rows[] = {
      {R"({"quant_method":"awq","bits":4})", "got 'awq': its codes have 4 bits"},
      {R"({"w_bit":4,"q_group_size":128})", "got 'awq': its codes have 4 bits"},
      {R"({"quant_method":"gguf"})", "got 'gguf': its blocks belong to GGUF files"},
      {R"({"quant_method":"new\u0001one"})", "must be one that Octavo reads; got 'new"},
      {R"({"quant_method":"gptq","bits":4})", "'quantization_config'.bits must be 8; got '4'"},
      {R"({"bits":3,"group_size":128,"desc_act":false})", ".bits must be 8; got '3'"},
      {R"({"quant_method":"gptq","bits":8,"checkpoint_format":"marlin"})",
       "checkpoint_format must be gptq or gptq_v2; got 'marlin'"},
      {R"({"quant_method":"modelopt","quant_algo":"NVFP4"})",
       "quant_algo must be one with codes of 8 bits that Octavo reads; got 'NVFP4'"},
      {R"({"p":{"weights":"qint4"}})", "weights must be a type of 8 bits; got 'qint4'"},
      {R"({"quant_method":"compressed-tensors","sparsity_config":{"format":"sparse-24-bitmask"}})",
       "sparsity_config.format must be dense, since sparse weights are not read"},
      {R"({"quant_method":"compressed-tensors",
           "transform_config":{"config_groups":{"R1":{"type":"hadamard"}}}})",
       "transform_config must be empty, since layers with rotations are not read"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.config);
    expect_error(Code::unsupported, row.fragment, [&] { file(row.config).weight("p"); });
  }
}

// A layer in float needs no configuration; what a method that is not read calls a layer does.
TEST_F(Configuration, AMethodThatIsNotReadIsNamedWhereNoTensorIsKnown) {
  write_safetensors(path("x"),
                    {stored<std::uint8_t>("p.W_q", "U8", {1, 2}, {1, 2}),
                     stored<float>("embed.weight", "F32", {1, 2}, {1, 2}),
                     stored<std::int8_t>("e.weight", "I8", {1, 2}, {1, 2}),
                     stored<float>("e.weight_scales", "F32", {1}, {1})},
                    {{"quantization_config", R"({"quant_method":"hqq"})"}});
  const Checkpoint file = open_checkpoint(path("x"));
  for (const char* layer : {"p", "e"}) {
    expect_error(Code::unsupported, "got 'hqq': its codes are packed by layer",
                 [&] { file.weight(layer); });
  }
}

TEST_F(Configuration, RulesOfActivationsAreTheDeclaredOnes) {
  const struct {
    const char* config;
    const char* scheme;
    std::optional<Granularity> granularity;
    float bound = std::numeric_limits<float>::infinity();
    ScaleRounding rounding = ScaleRounding::none;
  } rows[] = {
      {R"({"quant_method":"compressed-tensors","config_groups":{"g":{"targets":["Linear"],
           "weights":{"num_bits":8,"type":"float","strategy":"tensor"},
           "input_activations":null}}})",
       "fp8-weight-only", std::nullopt},
      {R"({"quant_method":"compressed-tensors","config_groups":{"g":{"targets":["Linear"],
           "weights":{"num_bits":8,"type":"float","strategy":"tensor"},
           "input_activations":{"num_bits":8,"type":"float","strategy":"tensor","dynamic":true}}}})",
       "fp8-dynamic", per_tensor()},
      {R"({"quant_method":"fbgemm_fp8","activation_scale_ub":1200.0})", "fp8-dynamic", per_token(),
       1200.0F},
      {R"({"quant_method":"fp8","activation_scheme":"dynamic","weight_block_size":[4,4],
           "scale_fmt":"ue8m0"})",
       "fp8-block", group(4), std::numeric_limits<float>::infinity(), ScaleRounding::power_of_two},
      {R"({"quant_method":"modelopt","quant_algo":"fp8_pc_pt"})", "fp8-dynamic", per_token()},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.config);
    write_safetensors(path("x"),
                      {stored<std::uint8_t>("p.weight", "F8_E4M3", {1, 4}, {1, 2, 3, 4}),
                       stored<float>("p.weight_scale", "F32", {1}, {1})},
                      {{"quantization_config", row.config}});
    const Weight w = open_checkpoint(path("x")).weight("p");
    EXPECT_EQ(row.scheme, w.scheme);
    ASSERT_EQ(row.granularity.has_value(), w.activation.has_value());
    if (!w.activation) continue;
    EXPECT_EQ(*row.granularity, w.activation->spec.granularity);
    EXPECT_EQ(row.bound, w.activation->spec.scale_ub);
    EXPECT_EQ(row.rounding, w.activation->spec.rounding);
  }
}

TEST_F(Configuration, TheKindOfCodesIsTheDeclaredOne) {
  expect_error(Code::corrupt_data,
               "tensor 'p.weight' must hold floats, as 'quantization_config' declares; got int8",
               [&] { file(R"({"quant_method":"fp8"})").weight("p"); });
}

}  // namespace
}  // namespace octavo::test::quantization_config_test
