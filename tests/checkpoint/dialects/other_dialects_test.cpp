// SPDX-License-Identifier: Apache-2.0
// Dialects whose tools are not run here: files made after their sources, and what is refused by
// name.
#include <string>
#include <vector>

#include "checkpoint/support.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::other_dialects_test {
namespace {

using Tensors = std::vector<TensorToWrite>;
using Layers = std::vector<std::string>;
using Words = std::vector<std::int32_t>;

class OtherDialects : public Scratch {
 protected:
  Checkpoint file(const Tensors& tensors, const std::string& config = "") const {
    std::map<std::string, std::string> said;
    if (!config.empty()) said.emplace("quantization_config", config);
    write_safetensors(path("x"), tensors, said);
    return open_checkpoint(path("x"));
  }
};

TensorToWrite number(const std::string& name, float value) {
  return stored<float>(name, "F32", {}, {value});
}
TensorToWrite fp8(const std::string& layer) {  // 1, -2, 0.5, 448
  return stored<std::uint8_t>(layer + ".weight", "F8_E4M3", {2, 2}, {0x38, 0xC0, 0x30, 0x7E});
}

TEST_F(OtherDialects, MistralsNamesAreRead) {
  const Checkpoint in =
      file({fp8("layers.0.attention.wq"), number("layers.0.attention.wq.qscale_weight", 0.5F),
            number("layers.0.attention.wq.qscale_act", 0.25F)});
  EXPECT_EQ(Layers{"layers.0.attention.wq"}, in.quantized_layers());
  const Weight w = in.weight("layers.0.attention.wq");
  EXPECT_EQ("fp8-dynamic", w.scheme);
  EXPECT_EQ(0.25F, w.activation.value().static_scale);
  EXPECT_EQ(-1.0, at(float_values(w), 0, 1));
  EXPECT_EQ(224.0, at(float_values(w), 1, 1));
}

TEST_F(OtherDialects, MlxsFloatZeroPointsAreNamed) {
  const auto words =
      stored<std::uint32_t>("a.weight", "U32", {2, 16}, std::vector<std::uint32_t>(32));
  const auto scales = stored<float>("a.scales", "F32", {2, 1}, {1, 1});
  const auto biases = stored<float>("a.biases", "F32", {2, 1}, {1, 1});
  const Checkpoint affine = file({words, scales, biases});
  EXPECT_EQ(Layers{"a"}, affine.quantized_layers());
  expect_error(Code::unsupported, "got 'a.biases', MLX's floats: scale * code + bias has no exact",
               [&] { affine.weight("a"); });
  expect_error(Code::unsupported,
               "codes of type U32 with scales and no biases, as in other modes of MLX", [&] {
                 file({words, scales}).weight("a");
               });
}

TEST_F(OtherDialects, ComfysFlagsKeepActivations) {
  const auto flag = [](const std::string& text) {
    return stored<char>("a.comfy_quant", "U8", {static_cast<std::int64_t>(text.size())},
                        {text.begin(), text.end()});
  };
  const struct {
    const char* flags;
    bool activation;
  } rows[] = {
      {R"({"format":"float8_e4m3fn"})", true},
      {R"({"format":"float8_e4m3fn","full_precision_matrix_mult":false})", true},
      {R"({"format":"float8_e4m3fn","full_precision_matrix_mult":true})", false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.flags);
    const Checkpoint in = file(
        {fp8("a"), number("a.weight_scale", 0.5F), number("a.input_scale", 2), flag(row.flags)});
    EXPECT_EQ(row.activation, in.weight("a").activation.has_value());
  }
  for (const std::int64_t elements : {0, 2}) {  // of the mark for the whole file
    const std::vector<std::uint8_t> mark(static_cast<std::size_t>(elements));
    const Checkpoint in =
        file({fp8("a"), number("a.scale_weight", 0.5F), number("a.scale_input", 2),
              stored("scaled_fp8", "F8_E4M3", {elements}, mark)});
    EXPECT_EQ(elements == 0, in.weight("a").activation.has_value()) << elements;
  }
}

/// One column block of 8 bits: four rows in a word, as GPTQ packs them.
Tensors gptq(const std::string& layer, std::int32_t groups, std::int32_t zeros) {
  const auto count = static_cast<std::size_t>(groups);
  return {stored(layer + ".qweight", "I32", {2, 4}, Words(8, 0x04030201)),
          stored(layer + ".scales", "F32", {groups, 4}, std::vector<float>(4 * count, 0.5F)),
          stored(layer + ".qzeros", "I32", {groups, 1}, Words(count, zeros))};
}

Tensors gptq_model() {
  Tensors all = gptq("m.a", 1, 0x01010101);
  for (TensorToWrite& tensor : gptq("m.b", 2, 0x01010101)) all.push_back(std::move(tensor));
  all.push_back(stored<float>("m.head.weight", "F32", {1, 2}, {1, 2}));
  return all;
}

TEST_F(OtherDialects, GptqmodelsDynamicRulesAreTheLayers) {
  const auto config = [](int bits, const char* dynamic) {
    return R"({"quant_method":"gptq","bits":)" + std::to_string(bits) +
           R"(,"group_size":-1,"sym":false,"dynamic":{)" + dynamic + "}}";
  };
  const Checkpoint other_group = file(gptq_model(), config(8, R"("+:.*b$":{"group_size":4})"));
  EXPECT_EQ((ScaleGrid{1, kWholeExtent}), other_group.weight("m.a").codes.grid);
  EXPECT_EQ((ScaleGrid{1, 4}), other_group.weight("m.b").codes.grid);

  const Checkpoint of_four = file(gptq_model(), config(4, R"("m\\.a":{"bits":8},".*":{})"));
  EXPECT_EQ("int8-weight-only", of_four.weight("m.a").scheme);
  EXPECT_EQ("none", of_four.weight("m.head").scheme);
  expect_error(Code::unsupported, "bits must be 8; got '4'", [&] { of_four.weight("m.b"); });

  const Checkpoint skipped = file(gptq_model(), config(8, R"("-:.*b$":{},"+:.*b$":{"bits":4})"));
  expect_error(Code::corrupt_data, "leaves layer 'm.b' alone", [&] { skipped.weight("m.b"); });
}

TEST_F(OtherDialects, AutoRoundsPackingsDifferInZeroPoints) {
  const auto config = [](const std::string& packing, const std::string& more = "") {
    return R"({"quant_method":"auto-round","bits":8,"group_size":-1,"sym":false,"data_type":"int",)"
           R"("packing_format":")" +
           packing + "\"" + more + "}";
  };
  const struct {
    const char* packing;
    double first;  ///< (1 - zero point) * 0.5, whose byte is 1
  } rows[] = {{"auto_round:auto_gptq", -0.5}, {"auto_round:gptqmodel", 0}, {"auto_round", 0}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.packing);
    const Weight w = file(gptq("m.a", 1, 0x01010101), config(row.packing)).weight("m.a");
    EXPECT_EQ("int8-weight-only", w.scheme);
    EXPECT_EQ(row.first, at(float_values(w), 0, 0));
    EXPECT_EQ(row.first + 1.5, at(float_values(w), 0, 3));
  }
  const std::string good = "auto_round:auto_gptq";
  const Checkpoint extra =
      file(gptq_model(),
           config(good,
                  R"(,"extra_config":{".*b":{"bits":4},"m.b":{"group_size":4},"a$":{"bits":16}})"));
  EXPECT_EQ((ScaleGrid{1, 4}), extra.weight("m.b").codes.grid);
  expect_error(Code::corrupt_data, "leaves layer 'm.a' alone", [&] { extra.weight("m.a"); });
  const std::pair<std::string, const char*> refused[] = {
      {config("auto_round:auto_awq"), "packing_format must be auto_round:auto_gptq, "},
      {config(good, R"(,"act_bits":8)"), "act_bits must be 16 or more"},
      {config(good, R"(,"extra_config":{"m.a":{"data_type":"mx_fp"}})"), "data_type must be int"},
      {config(good, R"(,"extra_config":{"m.a":{"bits":2}})"), "bits must be 8; got '2'"},
  };
  for (const auto& [said, fragment] : refused) {
    expect_error(Code::unsupported, fragment,
                 [&, &text = said] { file(gptq_model(), text).weight("m.a"); });
  }
}

TEST_F(OtherDialects, QuarksPatternsAreTheLayers) {
  const auto rule = [](const char* dtype, const char* scheme, const char* more = "") {
    return std::string(R"({"weight":{"ch_axis":0,"symmetric":true,"dtype":")") + dtype +
           R"(","qscheme":")" + scheme + "\"" + more + R"(},"input_tensors":null})";
  };
  const auto config = [](const std::string& all, const std::string& more) {
    return R"({"quant_method":"quark","global_quant_config":)" + all + "," + more + "}";
  };
  const Tensors tensors{fp8("m.a"), number("m.a.weight_scale", 2), fp8("m.b"),
                        stored<float>("m.b.weight_scale", "F32", {2}, {2, 4})};
  const Checkpoint in =
      file(tensors, config(rule("fp8_e4m3", "per_tensor"),
                           R"("exclude":["*lm_head"],"layer_quant_config":{"*.b":)" +
                               rule("fp8_e4m3", "per_channel") + R"(,"m.?":)" +
                               rule("fp8_e4m3", "per_tensor") + "}"));
  EXPECT_EQ(ScaleGrid{}, in.weight("m.a").codes.grid);
  EXPECT_EQ((ScaleGrid{1, kWholeExtent}), in.weight("m.b").codes.grid);
  EXPECT_FALSE(in.weight("m.b").activation);
  const std::pair<std::string, const char*> refused[] = {
      {config(rule("int4", "per_tensor"), R"("exclude":[])"), "dtype fp8_e4m3 or int8; got 'int4'"},
      {config(rule("fp8_e4m3", "per_block"), R"("exclude":[])"), "got 'per_block'"},
      {config(rule("fp8_e4m3", "per_tensor"), R"("layer_type_quant_config":{"Linear":{}})"),
       "layer_type_quant_config must be empty"},
  };
  for (const auto& [said, fragment] : refused) {
    expect_error(Code::unsupported, fragment,
                 [&, &text = said] { file(tensors, text).weight("m.a"); });
  }
  expect_error(Code::corrupt_data, "leaves layer 'm.a' alone", [&] {
    file(tensors, config(rule("fp8_e4m3", "per_tensor"), R"("exclude":["m.*"])")).weight("m.a");
  });
}

TEST_F(OtherDialects, Mxfp8HasGroupsOfThirtyTwo) {
  expect_error(Code::corrupt_data, "weight_block_size must be [1, 32] of mxfp8", [&] {
    file({fp8("m.a")}, R"({"quant_method":"mxfp8","weight_block_size":[1,16]})").weight("m.a");
  });
}

}  // namespace
}  // namespace octavo::test::other_dialects_test
