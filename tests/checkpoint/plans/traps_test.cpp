// SPDX-License-Identifier: Apache-2.0
// What files mean where readers went wrong: types and orders of scales, halves of layers, numbers
// that a fast machine flushes.
#include <bit>
#include <cfenv>
#include <cmath>

#include "checkpoint/support.hpp"
#include "ops/helpers.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace octavo::test::traps_test {
namespace {

using Traps = Scratch;
using Bytes = std::vector<std::uint8_t>;

std::map<std::string, std::string> declared(const std::string& config) {
  return {{"quantization_config", config}};
}

Tensor dequantized(const Weight& w) { return dequantize(w.codes, float32); }

// Every bfloat16 is a float32 with the same high half.
TEST_F(Traps, ScalesOfBfloat16AreWidenedExactly) {
  std::vector<std::uint16_t> scales;
  for (std::uint32_t bits = 1; bits < 0x7F80; bits += 61) {
    scales.push_back(static_cast<std::uint16_t>(bits));
  }
  const auto n = static_cast<std::int64_t>(scales.size());
  write_safetensors(path("x"),
                    {stored("p.weight", "I8", {n, 1}, std::vector<std::int8_t>(scales.size(), 1)),
                     stored("p.weight_scale", "BF16", {n, 1}, scales)});
  const Tensor scale = open_checkpoint(path("x")).weight("p").codes.scale;
  for (std::size_t i = 0; i < scales.size(); ++i) {
    ASSERT_EQ(std::uint32_t{scales[i]} << 16U,
              std::bit_cast<std::uint32_t>(scale.data_as<float>()[i]));
  }
}

// vLLM takes the largest of three and quantises again; a scale for each row loses nothing.
TEST_F(Traps, QueryKeyAndValueWithAScaleEachAreFusedWithoutLoss) {
  std::vector<TensorToWrite> tensors;
  const std::vector<float> scales{0.5F, 3.0F, 0.001F};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string name(1, "qkv"[i]);
    Bytes codes;
    for (std::uint8_t c = 0; c < 64; ++c) codes.push_back(static_cast<std::uint8_t>(c + 40 * i));
    tensors.push_back(stored(name + ".weight", "F8_E4M3", {8, 8}, codes));
    tensors.push_back(stored<float>(name + ".weight_scale", "F32", {}, {scales[i]}));
  }
  write_safetensors(path("x"), tensors, declared(R"({"quant_method":"fp8"})"));
  const Checkpoint file = open_checkpoint(path("x"));
  const std::vector<Weight> parts{file.weight("q"), file.weight("k"), file.weight("v")};
  const Tensor all = dequantized(fuse(parts));
  for (std::size_t i = 0; i < 3; ++i) {
    const auto begin = static_cast<std::int64_t>(8 * i);
    expect_same_bits(copy(all.view().slice(0, begin, begin + 8), float32), dequantized(parts[i]));
  }
}

TEST_F(Traps, DeepSeeksExponentsRoundScalesOfActivationsBeforeTheyAreQuantized) {
  write_safetensors(
      path("x"),
      {stored("p.weight", "F8_E4M3", {1, 4}, Bytes{1, 2, 3, 4}),
       stored("p.weight_scale_inv", "F8_E8M0", {1, 1}, Bytes{130})},
      declared(R"({"quant_method":"fp8","weight_block_size":[4,4],"scale_fmt":"ue8m0"})"));
  const Weight w = open_checkpoint(path("x")).weight("p");
  EXPECT_EQ(8.0, at(w.codes.scale, 0, 0));
  const Tensor x = values(float32, {1, 4}, {1.0, -3.0, 0.3, 0.7});
  const QuantizeSpec& rule = w.activation->spec;
  const Quantized q = quantize(
      x, {.dtype = rule.dtype, .granularity = rule.granularity, .rounding = rule.rounding});
  EXPECT_EQ(0x1p-7, at(q.scale, 0, 0));  // 3 / 448 rounded up
  EXPECT_EQ(-384.0, at(q.data, 0, 1));   // 3 * 2^7
}

#if defined(__x86_64__)
// 2^-127 is a subnormal; the thread that asks may flush those.
TEST_F(Traps, TheSmallestExponentIsReadWhereSubnormalsAreFlushed) {
  constexpr unsigned kFlush = 0x8040;
  const auto block = stored("p.weight", "F8_E4M3", {1, 4}, Bytes{0x38, 2, 3, 4});
  write_safetensors(path("x"), {block, stored("p.weight_scale_inv", "F8_E8M0", {1, 1}, Bytes{0})});
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | kFlush);
  const Weight w = open_checkpoint(path("x")).weight("p");
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  EXPECT_EQ(kFlush, after & kFlush);
  EXPECT_EQ(0x00400000U, std::bit_cast<std::uint32_t>(w.codes.scale.data_as<float>()[0]));
}
#endif

TEST_F(Traps, TheLastExponentIsNoNumber) {
  for (const char* type : {"F8_E8M0", "U8"}) {
    write_safetensors(path("x"),
                      {stored("p.weight", "F8_E4M3", {1, 64}, Bytes(64, 0x38)),
                       stored("p.weight_scale", type, {1, 2}, Bytes{127, 255})},
                      declared(R"({"quant_method":"modelopt","quant_algo":"MXFP8"})"));
    const Weight w = open_checkpoint(path("x")).weight("p");
    EXPECT_EQ("mxfp8", w.scheme);
    EXPECT_EQ(1.0, at(dequantized(w), 0, 31));
    EXPECT_TRUE(std::isnan(at(dequantized(w), 0, 32)));
  }
}

// Blocks end where the weight does, along N and along K.
TEST_F(Traps, BlocksMayEndEarly) {
  constexpr std::int64_t kN = 130, kK = 257;
  const std::vector<float> scales{1, 2, 3, 4, 5, 6};
  const auto codes = stored("p.weight", "F8_E4M3", {kN, kK}, Bytes(kN * kK, 0x38));
  const struct {
    const char* scale;
    const char* config;
    std::vector<std::int64_t> shape;
  } rows[] = {
      {"p.weight_scale_inv", R"({"quant_method":"fp8","weight_block_size":[128,128]})", {2, 3}},
      {"p.weight_scale", R"({"quant_method":"modelopt","quant_algo":"fp8_pb_wo"})", {2, 1, 3, 1}},
      {"p.weight_scale",
       R"({"quant_method":"compressed-tensors","config_groups":{"g":{"targets":["Linear"],
           "weights":{"num_bits":8,"type":"float","strategy":"block",
           "block_structure":[128,128]}}}})",
       {2, 3}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.config);
    write_safetensors(path("x"), {codes, stored(row.scale, "F32", row.shape, scales)},
                      declared(row.config));
    const Tensor w = dequantized(open_checkpoint(path("x")).weight("p"));
    EXPECT_EQ(1.0, at(w, 127, 127));
    EXPECT_EQ(2.0, at(w, 127, 128));
    EXPECT_EQ(3.0, at(w, 0, 256));
    EXPECT_EQ(6.0, at(w, 129, 256));
  }
}

// The same bytes mean half as much, and what is -0 elsewhere is no number.
TEST_F(Traps, FnuzCodesMeanHalf) {
  const Bytes codes{0x38, 0x41, 0xB8, 0x80};
  const auto scale = stored<float>("p.weight_scale", "F32", {1}, {2.0F});
  write_safetensors(path("x"), {stored("p.weight", "F8_E4M3", {1, 4}, codes), scale});
  const Tensor fn = dequantized(open_checkpoint(path("x")).weight("p"));
  write_safetensors(path("x"), {stored("p.weight", "F8_E4M3FNUZ", {1, 4}, codes), scale});
  const Tensor fnuz = dequantized(open_checkpoint(path("x")).weight("p"));
  for (std::int64_t j = 0; j < 3; ++j) EXPECT_EQ(at(fn, 0, j), 2.0 * at(fnuz, 0, j));
  EXPECT_EQ(0.0, at(fn, 0, 3));
  EXPECT_TRUE(std::isnan(at(fnuz, 0, 3)));
}

// transformers writes "_inv" without blocks, too, and its static scale has a name of its own.
TEST_F(Traps, OneInverseScaleIsAMultiplierOfAll) {
  write_safetensors(path("x"),
                    {stored("p.weight", "F8_E4M3", {200, 200}, Bytes(40000, 0x38)),
                     stored<float>("p.weight_scale_inv", "F32", {}, {0.5F}),
                     stored<float>("p.activation_scale", "F32", {}, {0.25F})},
                    declared(R"({"quant_method":"fp8","activation_scheme":"static",
                                 "weight_block_size":null})"));
  const Weight w = open_checkpoint(path("x")).weight("p");
  EXPECT_EQ("fp8-dynamic", w.scheme);
  EXPECT_EQ(0.5, at(dequantized(w), 199, 199));
  EXPECT_EQ(0.25F, w.activation->static_scale);
}

// GPTQ's first form stores a zero point less one, as a byte: 0 is 255.
TEST_F(Traps, ZeroPointsOfGptqAreOneMoreInTheFirstFormAndWrap) {
  const auto word = [](int a, int b, int c, int d) {
    return a | b << 8 | c << 16 | static_cast<int>(static_cast<unsigned>(d) << 24U);
  };
  const std::vector<TensorToWrite> tensors{
      stored<std::int32_t>("p.qweight", "I32", {1, 4},
                           {word(0, 1, 128, 255), word(7, 7, 7, 7), 0, 0}),
      stored<std::int32_t>("p.qzeros", "I32", {1, 1}, {word(127, 255, 0, 254)}),
      stored<float>("p.scales", "F32", {1, 4}, {0.5F, 1.0F, 1.0F, 1.0F})};
  const auto zero_points = [&](const char* config) {
    write_safetensors(path("x"), tensors, declared(config));
    const Weight w = open_checkpoint(path("x")).weight("p");
    EXPECT_EQ(-128.0, at(w.codes.data, 0, 0));
    EXPECT_EQ(127.0, at(w.codes.data, 0, 3));
    std::vector<double> all;
    for (std::int64_t i = 0; i < 4; ++i) all.push_back(at(w.codes.azp, i, 0) + 128.0);
    return all;
  };
  EXPECT_EQ((std::vector<double>{128, 0, 1, 255}),
            zero_points(R"({"quant_method":"gptq","bits":8,"group_size":-1})"));
  EXPECT_EQ((std::vector<double>{127, 255, 0, 254}),
            zero_points(R"({"quant_method":"gptq","bits":8,"group_size":-1,
                            "checkpoint_format":"gptq_v2"})"));
}

// compressed-tensors' older act-order: the group of each column beside the packed codes.
TEST_F(Traps, PackedColumnsInAnotherOrderAreBroughtTogether) {
  const auto word = [](int a) { return a | (a + 1) << 8 | (a + 2) << 16 | (a + 3) << 24; };
  write_safetensors(
      path("x"),
      {stored<std::int32_t>("p.weight_packed", "I32", {1, 1}, {word(100)}),
       stored<std::int64_t>("p.weight_shape", "I64", {2}, {1, 4}),
       stored<float>("p.weight_scale", "F32", {1, 2}, {1.0F, 10.0F}),
       stored<std::int32_t>("p.weight_g_idx", "I32", {4}, {1, 0, 0, 1})},
      declared(R"({"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":
               {"g":{"targets":["Linear"],"weights":{"num_bits":8,"type":"int",
               "strategy":"group","group_size":2,"actorder":"group"}}}})"));
  const Weight w = open_checkpoint(path("x")).weight("p");
  expect_same_bits(w.columns, values(int64, {4}, {1, 2, 0, 3}));
  expect_same_bits(w.codes.data, values(int8, {1, 4}, {-27, -26, -28, -25}));
  const Tensor x = values(float32, {1, 4}, {1, 2, 3, 4});
  const Tensor ordered = values(float32, {1, 4}, {2, 3, 1, 4});
  const double y = -28 * 10 * 1 - 27 * 2 - 26 * 3 - 25 * 10 * 4;
  EXPECT_EQ(y, at(linear(ordered, pack(w, nullptr, true)), 0, 0));
}

/// One half of a layer, in each dialect.
TEST_F(Traps, HalfALayerOfAnyDialectNamesTheOther) {
  const Bytes codes(16, 1);
  const auto matrix = [&](const char* name, const char* type) {
    return stored(name, type, {4, 4}, codes);
  };
  const auto words = stored("p.qweight", "I32", {1, 4}, std::vector<std::int32_t>(4));
  const auto scale = [](const char* name) { return stored<float>(name, "F32", {1}, {1.0F}); };
  const struct {
    TensorToWrite tensor;
    const char* fragment;
  } rows[] = {
      {words, "tensor 'p.qweight' of type I32 must have its scale beside it"},
      {stored("p.weight_packed", "I32", {4, 1}, std::vector<std::int32_t>(4)),
       "tensor 'p.weight_packed' of type I32 must have its scale beside it"},
      {matrix("p._weight_qdata", "I8"), "tensor 'p._weight_qdata' of type I8 must have its scale"},
      {matrix("p.weight._data", "I8"), "tensor 'p.weight._data' of type I8 must have its scale"},
      {scale("p._weight_scale"),
       "tensor 'p._weight_scale' must have its weight beside it; got no "
       "tensor 'p._weight_qdata'"},
      {scale("p.weight._scale"), "got no tensor 'p.weight._data'"},
      {scale("p.scale_weight"), "got no tensor 'p.weight'"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.fragment);
    write_safetensors(path("x"), {row.tensor});
    const Checkpoint file = open_checkpoint(path("x"));
    EXPECT_EQ(std::vector<std::string>{"p"}, file.quantized_layers());
    expect_error(Code::corrupt_data, row.fragment, [&] { file.weight("p"); });
  }
}

/// What is beside codes and scales and makes no sense.
TEST_F(Traps, PartsThatDoNotFitAreErrors) {
  const char* const gptq = R"({"quant_method":"gptq","bits":8,"group_size":4})";
  const char* const group = R"({"quant_method":"compressed-tensors","config_groups":{"g":{
      "targets":["Linear"],"weights":{"num_bits":8,"type":"int","strategy":"group",
      "group_size":4}}}})";
  const auto qweight = stored("p.qweight", "I32", {2, 4}, std::vector<std::int32_t>(8));
  const auto scales = stored("p.scales", "F32", {2, 4}, std::vector<float>(8, 1.0F));
  const auto g_idx = [](std::vector<std::int32_t> of) {
    const auto count = static_cast<std::int64_t>(of.size());
    return stored("p.g_idx", "I32", {count}, of);
  };
  const auto packed = stored("p.weight_packed", "I32", {4, 1}, std::vector<std::int32_t>(4));
  const auto one = stored("p.weight_scale", "F32", {4, 1}, std::vector<float>(4, 1.0F));
  const auto shape = [](std::int64_t n, std::int64_t k) {
    return stored<std::int64_t>("p.weight_shape", "I64", {2}, {n, k});
  };
  const auto torchao = stored("p._weight_qdata", "I8", {4, 4}, std::vector<std::int8_t>(16));
  const auto torchao_scale = stored<float>("p._weight_scale", "F32", {1}, {1.0F});
  const auto quanto = stored("p.weight._data", "I8", {4, 4}, std::vector<std::int8_t>(16));
  const auto quanto_scale = stored<float>("p.weight._scale", "F32", {1}, {1.0F});
  const auto weight = stored("p.weight", "I8", {4, 4}, std::vector<std::int8_t>(16));
  const auto bytes = stored("p.weight", "U8", {4, 4}, Bytes(16));
  const auto text = [](const std::string& said) {
    const Bytes characters(said.begin(), said.end());
    return stored("p.comfy_quant", "U8", {static_cast<std::int64_t>(said.size())}, characters);
  };
  const struct {
    std::vector<TensorToWrite> tensors;
    std::map<std::string, std::string> metadata;
    Code code;
    const char* fragment;
  } rows[] = {
      {{qweight, scales}, {}, Code::corrupt_data, "layer 'p' must be declared by"},
      {{qweight, one}, {}, Code::corrupt_data, "goes with 'p.weight_scale'; got I32"},
      {{qweight, stored<float>("p.scales", "F32", {1, 4}, {1, 1, 1, 1})},
       declared(gptq),
       Code::corrupt_data,
       "tensor 'p.scales'.shape must be [2, 4]; got [1, 4]"},
      {{qweight, scales, g_idx({0, 0, 0, 1, 1, 1, 1, 1})},
       declared(gptq),
       Code::corrupt_data,
       "tensor 'p.g_idx' must give each group 4 columns; got column 3 in group 1 where group 0 has "
       "to be"},
      {{qweight, scales, g_idx({0, 0, 0, -1, 1, 1, 1, 1})},
       declared(gptq),
       Code::corrupt_data,
       "got column 3 in group -1 where group 0"},
      {{qweight, scales, g_idx({0, 0})},
       declared(gptq),
       Code::corrupt_data,
       "tensor 'p.g_idx' must hold 8 integers; got int32 [2]"},
      {{qweight, scales, stored("p.qzeros", "I32", {2, 2}, std::vector<std::int32_t>(4))},
       declared(gptq),
       Code::corrupt_data,
       "tensor 'p.qzeros'.shape must be [2, 1]; got [2, 2]"},
      {{packed, one}, {}, Code::corrupt_data, "tensor 'p.weight_shape' must be there"},
      {{packed, one, shape(4, 9)},
       {},
       Code::corrupt_data,
       "tensor 'p.weight_shape' must be N = 4 and a K of 1 words of four codes; got [4, 9]"},
      {{packed, one, shape(4, -1)},
       {},
       Code::corrupt_data,
       "tensor 'p.weight_shape' must be N = 4"},
      {{packed, one, shape(5, 4)}, {}, Code::corrupt_data, "tensor 'p.weight_shape' must be N = 4"},
      {{packed, one, shape(4, 4),
        stored("p.weight_zero_point", "I32", {3, 1}, std::vector<std::int32_t>(3))},
       declared(group),
       Code::corrupt_data,
       "tensor 'p.weight_zero_point'.shape must be [1, groups]; got [3, 1]"},
      {{weight, stored("p.weight_scale", "F32", {4, 1}, std::vector<float>(4, 1.0F)),
        stored<std::int32_t>("p.weight_zero_point", "I32", {4, 1}, {0, 0, 128, 0})},
       {},
       Code::corrupt_data,
       "tensor 'p.weight_zero_point' must be inside the range of int8; got 128"},
      {{weight, one, stored<float>("p.pre_quant_scale", "F32", {1}, {1.0F})},
       {},
       Code::unsupported,
       "layer 'p' must come without tensor 'p.pre_quant_scale'"},
      {{weight, one, stored("p.qweight", "I32", {1, 4}, std::vector<std::int32_t>(4))},
       {},
       Code::corrupt_data,
       "layer 'p' must have one weight; got 'p.weight' and 'p.qweight'"},
      {{torchao, torchao_scale},
       {},
       Code::corrupt_data,
       "metadata 'p.weight' must describe tensor 'p._weight_qdata', as torchao writes it; got "
       "none"},
      {{torchao, torchao_scale},
       {{"p.weight", R"({"_type":"NVFP4Tensor"})"}},
       Code::unsupported,
       "metadata 'p.weight'._type must be Int8Tensor, Float8Tensor or IntxUnpackedToInt8Tensor; "
       "got "
       "'NVFP4Tensor'"},
      {{torchao, torchao_scale},
       {{"p.weight", R"({"_type":"Int8Tensor","_data":{"block_size":[0,4]}})"}},
       Code::corrupt_data,
       "metadata 'p.weight'.block_size must be two positive integers"},
      {{torchao, torchao_scale},
       {{"p.weight", R"({"_type":"Int8Tensor","_data":{"block_size":[1,4],"act_quant_kwargs":
                         {"_data":{"granularity":{"_type":"PerAxis"}}}}})"}},
       Code::unsupported,
       "metadata 'p.weight'.granularity must be PerRow, PerTensor or PerGroup; got 'PerAxis'"},
      {{torchao, torchao_scale},
       {{"p.weight", "["}},
       Code::corrupt_data,
       "'p.weight' must be JSON"},
      {{quanto, quanto_scale, stored<float>("p.input_scale", "F32", {}, {0.5F})},
       {},
       Code::corrupt_data,
       "layer 'p' must be declared by quanto_qmap.json, since its input_scale is calibrated"},
      {{bytes, one}, {}, Code::corrupt_data, "tensor 'p.weight' must hold I8 or a float of 8 bits"},
      {{weight, one, text(R"({"format":"nvfp4"})")},
       {},
       Code::unsupported,
       "ComfyUI's format must be float8_e4m3fn, float8_e5m2, int8_tensorwise or int8_blockwise; "
       "got "
       "'nvfp4'"},
      {{weight, one, text(R"({"format":"float8_e5m2"})")},
       {},
       Code::corrupt_data,
       "tensor 'p.weight' must hold float8_e5m2; got int8"},
      {{weight, one, text("{")},
       {},
       Code::corrupt_data,
       "tensor 'p.comfy_quant' must be a JSON object; got '{'"},
      {{weight, one, text(R"({"format":"int8_blockwise","group_size":0})")},
       {},
       Code::corrupt_data,
       "group_size must be a positive integer; got '0'"},
      {{weight, one},
       {{"_quantization_metadata", "[]"}},
       Code::corrupt_data,
       "'quantization_config' must be a JSON object; got 2 bytes, '[]'"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.fragment);
    write_safetensors(path("x"), row.tensors, row.metadata);
    expect_error(row.code, row.fragment, [&] { open_checkpoint(path("x")).weight("p"); });
  }
}

// A static zero point that nobody declares counts; one against its declaration is an error.
TEST_F(Traps, ZeroPointsOfStaticActivationsAreNotIgnored) {
  const auto tensors = [](std::int8_t zero) {
    return std::vector<TensorToWrite>{
        stored("p.weight", "I8", {1, 4}, std::vector<std::int8_t>{1, 2, 3, 4}),
        stored<float>("p.weight_scale", "F32", {1}, {1.0F}),
        stored<float>("p.input_scale", "F32", {1}, {0.25F}),
        stored("p.input_zero_point", "I8", {1}, std::vector<std::int8_t>{zero})};
  };
  const auto group = [](const char* symmetric) {
    return declared(std::string(R"({"quant_method":"compressed-tensors","config_groups":{"g":{
        "weights":{"strategy":"tensor"},"input_activations":{"num_bits":8,"type":"int",
        "strategy":"tensor","dynamic":false,"symmetric":)") +
                    symmetric + "}}}}");
  };
  write_safetensors(path("x"), tensors(-7));
  const Weight open = open_checkpoint(path("x")).weight("p");
  EXPECT_TRUE(open.activation->spec.azp);
  EXPECT_EQ(-7, open.activation->static_azp);
  // x = 0 is code -7, and the product takes it back.
  const Tensor zeros = values(float32, {1, 4}, {0, 0, 0, 0});
  EXPECT_EQ(0.0, at(linear(zeros, pack(open)), 0, 0));
  const Tensor x = values(float32, {1, 4}, {0.25, 0.5, 0.75, 1});
  EXPECT_EQ(0.25 + 1 + 2.25 + 4, at(linear(x, pack(open)), 0, 0));

  write_safetensors(path("x"), tensors(-7), group("true"));
  expect_error(Code::corrupt_data,
               "tensor 'p.input_zero_point' must be 0, since 'quantization_config' says that "
               "activations are symmetric; got -7",
               [&] { open_checkpoint(path("x")).weight("p"); });
  write_safetensors(path("x"), tensors(0), group("true"));
  EXPECT_FALSE(open_checkpoint(path("x")).weight("p").activation->spec.azp);
  std::vector<TensorToWrite> without = tensors(0);
  without.pop_back();
  write_safetensors(path("x"), without, group("false"));
  expect_error(Code::corrupt_data, "tensor 'p.input_zero_point' must be there",
               [&] { open_checkpoint(path("x")).weight("p"); });
}

}  // namespace
}  // namespace octavo::test::traps_test
