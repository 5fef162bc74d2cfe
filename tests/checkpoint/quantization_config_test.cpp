// SPDX-License-Identifier: Apache-2.0
// Configurations from untrusted files: the limits, each in a sentence; groups and their targets.
#include "support.hpp"

namespace octavo::test {
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
      {targets("\"re:x\"" + times(1000, ",\"re:x\"")),
       "Checkpoint::weight: patterns must hold at most 1000 regular expressions; got more"},
      {targets("\"re:" + std::string(1001, 'x') + "\""),
       "must have at most 1000 bytes behind 're:'; got 1001"},
      {targets(R"("re:((a{100}){100}){100}")"),
       "pattern 're:((a{100}){100}){100}' must be a regular expression; got "},
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
      targets("\"re:q\"" + times(999, ",\"re:q\"")),
      targets("\"re:" + std::string(1000, 'x') + "\""),
  };
  for (const std::string& row : rows) EXPECT_EQ("int8-dynamic", file(row).weight("p").scheme);
}

TEST_F(Configuration, TheFirstGroupThatALayerFitsHolds) {
  const auto group = [](const char* name, const char* names, const char* rule) {
    return std::string("\"") + name + R"(":{"targets":[)" + names + R"(],"input_activations":)" +
           rule + "}";
  };
  const char* const none = "null";
  const char* const four_bits = R"({"num_bits":4,"type":"int"})";
  const char* const by_tensor = R"({"num_bits":8,"type":"int","strategy":"tensor"})";
  const std::string before = group("a", R"("m.b","re:m\\.[cd]")", none) + ",";
  const Layers layers{"m.a", "m.b", "m.c", "m.e", "m.f"};

  const Checkpoint by_class =
      file(groups(before + group("b", R"("m.c","m.e")", by_tensor) + "," +
                  group("c", R"("Linear")", four_bits) + "," + group("d", R"("m.f")", none)),
           layers);
  EXPECT_FALSE(by_class.weight("m.b").activation);
  EXPECT_FALSE(by_class.weight("m.c").activation);  // an expression of the first group
  EXPECT_EQ(per_tensor(), by_class.weight("m.e").activation->spec.granularity);
  for (const char* layer : {"m.a", "m.f"}) {
    expect_error(Code::unsupported, "input_activations must be of 8 bits; got 4",
                 [&] { by_class.weight(layer); });
  }

  const Checkpoint of_no_group = file(groups(before + group("b", R"("m.c")", by_tensor)), layers);
  EXPECT_EQ(per_token(), of_no_group.weight("m.e").activation->spec.granularity);
  const Checkpoint without_targets =
      file(groups(before + R"("b":{"input_activations":null},)" + group("c", "\"m.e\"", by_tensor)),
           layers);
  EXPECT_FALSE(without_targets.weight("m.e").activation);
}

}  // namespace
}  // namespace octavo::test
