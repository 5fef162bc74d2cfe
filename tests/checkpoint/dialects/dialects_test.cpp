// SPDX-License-Identifier: Apache-2.0
// Every dialect is read into the same canonical weight; half a layer is an error.
#include <bit>
#include <limits>

#include "checkpoint/support.hpp"

namespace octavo::test::dialects_test {
namespace {

using Dialects = Scratch;
using Shape = std::vector<std::int64_t>;

constexpr std::int64_t kN = 3, kK = 4;
const std::vector<std::int8_t> kCodes{1, -2, 3, -4, 127, -127, 0, 5, 6, 7, -8, 9};

TensorToWrite codes(const char* dtype, const char* name = "p.weight") {
  return stored(name, dtype, {kN, kK}, kCodes);
}

std::vector<float> floats(const Tensor& tensor) {
  const auto* data = tensor.data_as<float>();
  return {data, data + tensor.numel()};
}

/// One way to write the layer "p", and what has to be read.
struct Row {
  const char* name;
  std::vector<TensorToWrite> tensors;
  const char* config;
  const char* scheme;
  ScaleGrid grid;
  std::vector<float> scale;
  Granularity activation;
  DType activation_type;
  float threshold;
};

const float kTwoThirds = 2.0F / 127.0F;

std::vector<Row> rows() {
  const std::vector<float> channel{0.5F, 0.25F, 2.0F};
  const std::vector<std::uint16_t> bf16{0x3F00, 0x3E80, 0x4000};
  const std::vector<std::uint16_t> fp16{0x3800, 0x3400, 0x4000};
  const std::vector<float> scb{2.0F, 0.0F, 254.0F};
  const ScaleGrid row{1, kWholeExtent}, whole{};
  const auto with = [](const char* dtype, TensorToWrite scale) {
    return std::vector<TensorToWrite>{codes(dtype), std::move(scale)};
  };
  const char* const group = R"({"quant_method":"compressed-tensors","config_groups":{"g":{
      "targets":["Linear"],"weights":{"strategy":"group","group_size":2},
      "input_activations":{"num_bits":8,"type":"float","strategy":"group","group_size":2}}}})";
  const char* const block = R"({"quant_method":"compressed-tensors","config_groups":{"g":{
      "weights":{"strategy":"block","block_structure":[2,3]},
      "input_activations":{"num_bits":8,"type":"float","strategy":"tensor"}}}})";
  return {
      {"compressed-tensors int8", with("I8", stored("p.weight_scale", "F32", {kN, 1}, channel)), "",
       "int8-dynamic", row, channel, per_token(), DType::int8, 0},
      {"int8, scale of one dimension", with("I8", stored("p.weight_scale", "F32", {kN}, channel)),
       "", "int8-dynamic", row, channel, per_token(), DType::int8, 0},
      {"compressed-tensors fp8, bf16 scale",
       with("F8_E4M3", stored("p.weight_scale", "BF16", {kN, 1}, bf16)), "", "fp8-dynamic", row,
       channel, per_token(), DType::float8_e4m3fn, 0},
      {"compressed-tensors fp8, fp16 scale",
       with("F8_E4M3", stored("p.weight_scale", "F16", {kN, 1}, fp16)), "", "fp8-dynamic", row,
       channel, per_token(), DType::float8_e4m3fn, 0},
      {"vLLM, scalar scale",
       with("F8_E4M3", stored<float>("p.weight_scale", "F32", {}, {0.5F})),
       R"({"quant_method":"fp8","activation_scheme":"dynamic"})",
       "fp8-dynamic",
       whole,
       {0.5F},
       per_token(),
       DType::float8_e4m3fn,
       0},
      {"AutoFP8, scale of one element",
       with("F8_E4M3", stored<float>("p.weight_scale", "F32", {1}, {0.5F})),
       "",
       "fp8-dynamic",
       whole,
       {0.5F},
       per_token(),
       DType::float8_e4m3fn,
       0},
      {"fnuz codes",
       with("F8_E4M3FNUZ", stored<float>("p.weight_scale", "F32", {1, 1}, {0.5F})),
       "",
       "fp8-dynamic",
       whole,
       {0.5F},
       per_token(),
       DType::float8_e4m3fn,
       0},
      {"compressed-tensors fp8, groups",
       with("F8_E4M3", stored<float>("p.weight_scale", "F32", {kN, 2}, {1, 2, 3, 4, 5, 6})),
       group,
       "fp8-block",
       {1, 2},
       {1, 2, 3, 4, 5, 6},
       octavo::group(2),
       DType::float8_e4m3fn,
       0},
      {"compressed-tensors fp8, ragged blocks",
       with("F8_E4M3", stored<float>("p.weight_scale", "F32", {2, 2}, {1, 2, 3, 4})),
       block,
       "fp8-block",
       {2, 3},
       {1, 2, 3, 4},
       per_tensor(),
       DType::float8_e4m3fn,
       0},
      {"DeepSeek blocks, undeclared: one block of 128x128 covers all",
       with("F8_E4M3", stored<float>("p.weight_scale_inv", "F32", {1, 1}, {0.5F})),
       "",
       "fp8-block",
       {128, 128},
       {0.5F},
       octavo::group(128),
       DType::float8_e4m3fn,
       0},
      {"Hugging Face blocks, declared",
       with("F8_E4M3", stored<float>("p.weight_scale_inv", "F32", {2, 1}, {0.5F, 4})),
       R"({"quant_method":"fp8","weight_block_size":[2,4]})",
       "fp8-block",
       {2, 4},
       {0.5F, 4},
       octavo::group(4),
       DType::float8_e4m3fn,
       0},
      {"DeepSeek V4, e8m0: byte 0 is a subnormal",
       with("F8_E4M3", stored<std::uint8_t>("p.scale", "F8_E8M0", {1, 1}, {0})),
       "",
       "fp8-block",
       {128, 128},
       {std::bit_cast<float>(0x00400000U)},
       octavo::group(128),
       DType::float8_e4m3fn,
       0},
      {"bitsandbytes",
       with("I8", stored("p.SCB", "F32", {kN}, scb)),
       "",
       "llm-int8",
       row,
       {kTwoThirds, 0.0F, 2.0F},
       per_token(),
       DType::int8,
       6.0F},
      {"bitsandbytes, threshold declared",
       with("I8", stored("p.SCB", "F32", {kN}, scb)),
       R"({"quant_method":"bitsandbytes","llm_int8_threshold":3.5})",
       "llm-int8",
       row,
       {kTwoThirds, 0.0F, 2.0F},
       per_token(),
       DType::int8,
       3.5F},
  };
}

TEST_F(Dialects, EachIsReadIntoTheCanonicalForm) {
  for (const Row& row : rows()) {
    SCOPED_TRACE(row.name);
    std::map<std::string, std::string> metadata;
    if (*row.config != '\0') metadata["quantization_config"] = row.config;
    write_safetensors(path("x"), row.tensors, metadata);
    const Checkpoint file = open_checkpoint(path("x"));
    EXPECT_EQ(std::vector<std::string>{"p"}, file.quantized_layers());

    const Weight weight = file.weight("p");
    EXPECT_EQ(row.scheme, weight.scheme);
    EXPECT_EQ(row.grid, weight.codes.grid);
    EXPECT_EQ(0, std::memcmp(kCodes.data(), weight.codes.data.data(), kCodes.size()));
    EXPECT_EQ(dtype_from_name(row.tensors[0].dtype), weight.codes.data.dtype());
    EXPECT_EQ(2, weight.codes.scale.rank());
    EXPECT_EQ(row.scale, floats(weight.codes.scale));
    ASSERT_TRUE(weight.activation.has_value());
    EXPECT_EQ(row.activation, weight.activation->spec.granularity);
    EXPECT_EQ(row.activation_type, weight.activation->spec.dtype);
    EXPECT_EQ(row.threshold, weight.activation->outlier_threshold);
    EXPECT_EQ(weight.scheme == "llm-int8", weight.activation->vectorwise);
  }
}

TEST_F(Dialects, EachCanBePacked) {
  for (const Row& row : rows()) {
    SCOPED_TRACE(row.name);
    std::map<std::string, std::string> metadata;
    if (*row.config != '\0') metadata["quantization_config"] = row.config;
    write_safetensors(path("x"), row.tensors, metadata);
    const PackedWeight packed = pack(open_checkpoint(path("x")).weight("p"));
    EXPECT_EQ(kK, packed.k());
    EXPECT_EQ(kN, packed.n());
    EXPECT_EQ(row.threshold, packed.activation()->outlier_threshold);
    const Quantized q = unpack(packed);
    const Tensor back = copy(q.data.view().transposed(), q.data.dtype());
    EXPECT_EQ(0, std::memcmp(kCodes.data(), back.data(), kCodes.size()));
  }
}

TEST_F(Dialects, APlainWeightHasNoScaleAndNoRule) {
  write_safetensors(path("x"), {stored<float>("p.weight", "F32", {1, 2}, {1, 2}),
                                stored<float>("p.scale", "F32", {1}, {1})});
  const Checkpoint file = open_checkpoint(path("x"));
  const Weight weight = file.weight("p");
  EXPECT_EQ("none", weight.scheme);
  EXPECT_FALSE(weight.codes.scale.defined());
  EXPECT_FALSE(weight.activation.has_value());
  EXPECT_TRUE(file.quantized_layers().empty());
  EXPECT_EQ(2, pack(weight).k());
}

TEST_F(Dialects, ActivationsMayBeDeclaredToStayAsTheyAre) {
  write_safetensors(path("x"),
                    {codes("I8"), stored<float>("p.weight_scale", "F32", {kN, 1}, {1, 2, 3})},
                    {{"quantization_config",
                      R"({"quant_method":"compressed-tensors","config_groups":{
                          "a":{"targets":["re:q.*"],"weights":{"strategy":"tensor"}},
                          "b":{"targets":["p"],"weights":{"strategy":"channel"},
                               "input_activations":null}}})"}});
  EXPECT_FALSE(open_checkpoint(path("x")).weight("p").activation.has_value());
}

TEST_F(Dialects, StaticActivationsHaveTheFilesScale) {
  const auto scale = stored<float>("p.weight_scale", "F32", {1}, {0.5F});
  const auto input = stored<float>("p.input_scale", "F32", {1}, {0.25F});
  const auto zero = stored<std::int8_t>("p.input_zero_point", "I8", {1}, {-7});
  const std::string group = R"({"quant_method":"compressed-tensors","config_groups":{"g":{
      "weights":{"strategy":"tensor"},"input_activations":{"num_bits":8,"type":"int",
      "strategy":"tensor","symmetric":false,"dynamic":)";
  const struct {
    const char* name;
    std::vector<TensorToWrite> tensors;
    std::string config;
    float scale;
    std::int32_t azp;
  } cases[] = {
      {"vLLM, declared",
       {codes("F8_E4M3"), scale, input},
       R"({"quant_method":"fp8","activation_scheme":"static"})",
       0.25F,
       0},
      {"undeclared", {codes("F8_E4M3"), scale, input}, "", 0.25F, 0},
      {"declared dynamic",
       {codes("F8_E4M3"), scale, input},
       R"({"quant_method":"fp8","activation_scheme":"dynamic"})",
       0.0F,
       0},
      {"compressed-tensors, zero points",
       {codes("I8"), scale, input, zero},
       group + "false}}}}",
       0.25F,
       -7},
      {"compressed-tensors, dynamic",
       {codes("I8"), scale, input, zero},
       group + "true}}}}",
       0.0F,
       0},
  };
  for (const auto& row : cases) {
    SCOPED_TRACE(row.name);
    std::map<std::string, std::string> metadata;
    if (!row.config.empty()) metadata["quantization_config"] = row.config;
    write_safetensors(path("x"), row.tensors, metadata);
    const Weight weight = open_checkpoint(path("x")).weight("p");
    EXPECT_EQ(row.scale, weight.activation->static_scale);
    EXPECT_EQ(row.azp, weight.activation->static_azp);
    const bool tensor = weight.activation->spec.granularity == per_tensor();
    EXPECT_TRUE(tensor || row.scale == 0.0F);
    EXPECT_EQ(row.scale, pack(weight).activation()->static_scale);
  }
}

struct Wrong {
  const char* name;
  std::vector<TensorToWrite> tensors;
  const char* config;
  Code code;
  const char* fragment;
};

std::vector<Wrong> wrong() {
  const auto scale = [](Shape shape, std::size_t count, const char* name = "p.weight_scale") {
    return stored(name, "F32", std::move(shape), std::vector<float>(count, 1.0F));
  };
  const auto format = [](std::uint8_t value) {
    return stored<std::uint8_t>("p.weight_format", "U8", {}, {value});
  };
  const Code corrupt = Code::corrupt_data;
  return {
      {"no such layer",
       {codes("I8", "q.weight")},
       "",
       Code::invalid_argument,
       "got no tensor 'p.weight' (nearest: 'q.weight')"},
      {"codes without scale",
       {codes("I8")},
       "",
       corrupt,
       "tensor 'p.weight' of type I8 must have its scale beside it"},
      {"fp8 codes without scale",
       {codes("F8_E5M2")},
       R"({"quant_method":"fp8"})",
       corrupt,
       "tensor 'p.weight' of type F8_E5M2 must have its scale beside it"},
      {"scale without codes",
       {scale({kN, 1}, 3)},
       "",
       corrupt,
       "tensor 'p.weight_scale' must have its weight beside it"},
      {"SCB without codes",
       {scale({kN}, 3, "p.SCB")},
       "",
       corrupt,
       "tensor 'p.SCB' must have its weight beside it"},
      {"float weight with a scale",
       {stored<float>("p.weight", "F32", {1, 1}, {1}), scale({1, 1}, 1)},
       "",
       corrupt,
       "tensor 'p.weight'.dtype must be an 8-bit type that goes with 'p.weight_scale'; got F32"},
      {"int8 with a block scale",
       {codes("I8"), scale({1, 1}, 1, "p.weight_scale_inv")},
       "",
       corrupt,
       "goes with 'p.weight_scale_inv'; got I8"},
      {"two scales",
       {codes("I8"), scale({kN, 1}, 3), scale({kN}, 3, "p.SCB")},
       "",
       corrupt,
       "must have one scale; got 'p.SCB' and 'p.weight_scale'"},
      {"scale of the wrong length",
       {codes("I8"), scale({4, 1}, 4)},
       "",
       corrupt,
       "tensor 'p.weight_scale'.shape must be [3, 1] or [1, 1]"},
      {"transposed scale", {codes("F8_E4M3"), scale({1, 3}, 3)}, "", corrupt, "got [1, 3]"},
      {"scale of integers",
       {codes("I8"), stored("p.weight_scale", "I8", {kN, 1}, std::vector<std::int8_t>{1, 1, 1})},
       "",
       corrupt,
       "must be F32, BF16, F16 or F8_E8M0"},
      {"scale against its declaration",
       {codes("F8_E4M3"), scale({kN, 1}, 3, "p.weight_scale_inv")},
       R"({"quant_method":"fp8","weight_block_size":[2,2]})",
       corrupt,
       "must be [2, 2] for"},
      {"static activations without a scale",
       {codes("F8_E4M3"), scale({1}, 1)},
       R"({"quant_method":"fp8","activation_scheme":"static"})",
       corrupt,
       "tensor 'p.input_scale' must be there"},
      {"two static scales",
       {codes("F8_E4M3"), scale({1}, 1), scale({2}, 2, "p.input_scale")},
       "",
       corrupt,
       "tensor 'p.input_scale' must have one element; got [2]"},
      {"a static scale of 0",
       {codes("F8_E4M3"), scale({1}, 1), stored<float>("p.input_scale", "F32", {}, {0.0F})},
       "",
       corrupt,
       "tensor 'p.input_scale' must be a finite number above 0; got 0"},
      {"tiled codes of another shape",
       {codes("I8"), scale({kN}, 3, "p.SCB"), format(2)},
       "",
       corrupt,
       "tensor 'p.weight'.shape must be [8, a multiple of 32] for 3 rows in order col_turing; got "
       "[3, 4]"},
      {"unknown tiling",
       {codes("I8"), scale({kN}, 3, "p.SCB"), format(9)},
       "",
       Code::unsupported,
       "tensor 'p.weight_format' must be one byte: 0 (row), 1 (col32), 2 (col_turing) or 3 "
       "(col_ampere); got 9"},
      {"a tiling of several bytes",
       {codes("I8"), scale({kN}, 3, "p.SCB"),
        stored<std::uint8_t>("p.weight_format", "U8", {3}, {'r', 'o', 'w'})},
       "",
       Code::unsupported,
       "got 3 bytes"},
      {"zero points of floats",
       {codes("F8_E4M3"), scale({kN, 1}, 3),
        stored("p.weight_zero_point", "I8", {kN, 1}, std::vector<std::int8_t>{0, 1, 0})},
       "",
       corrupt,
       "tensor 'p.weight_zero_point' must be all zero, since codes are floats; got others"},
      {"zero points against their declaration",
       {codes("I8"), scale({kN, 1}, 3),
        stored("p.weight_zero_point", "I8", {kN, 1}, std::vector<std::int8_t>{0, 1, 0})},
       R"({"quant_method":"compressed-tensors","config_groups":{"g":{
           "weights":{"strategy":"channel","symmetric":true}}}})",
       corrupt,
       "must be all zero, since 'quantization_config' says that weights are symmetric"},
      {"declared zero points that are not there",
       {codes("I8"), scale({kN, 1}, 3)},
       R"({"quant_method":"compressed-tensors","config_groups":{"g":{
           "weights":{"strategy":"channel","symmetric":false}}}})",
       corrupt,
       "tensor 'p.weight_zero_point' must be there, since 'quantization_config' says that weights "
       "are not symmetric; got none"},
      {"zero points of another shape",
       {codes("I8"), scale({kN, 1}, 3), stored<std::int8_t>("p.weight_zero_point", "I8", {1}, {1})},
       "",
       corrupt,
       "tensor 'p.weight_zero_point' must have shape [3, 1], as the scale; got [1]"},
      {"weight of three dimensions",
       {stored("p.weight", "I8", {1, kN, kK}, kCodes), scale({kN, 1}, 3)},
       "",
       Code::invalid_argument,
       "must be 2-D, [N, K]; got [1, 3, 4]"},
      {"four-bit weight",
       {stored<std::uint8_t>("p.weight", "F4", {1, 2}, {1})},
       "",
       Code::unsupported,
       "must be F32, F16, BF16, or an 8-bit type"},
      {"config is no JSON",
       {codes("I8"), scale({kN, 1}, 3)},
       "{",
       corrupt,
       "'quantization_config' must be a JSON object"},
      {"config is an array",
       {codes("I8"), scale({kN, 1}, 3)},
       "[]",
       corrupt,
       "must be a JSON object"},
      {"block size is text",
       {codes("F8_E4M3"), scale({1, 1}, 1, "p.weight_scale_inv")},
       R"({"quant_method":"fp8","weight_block_size":"128"})",
       corrupt,
       "weight_block_size must be two positive integers"},
      {"block size 0",
       {codes("F8_E4M3"), scale({1, 1}, 1, "p.weight_scale_inv")},
       R"({"quant_method":"fp8","weight_block_size":[0,128]})",
       corrupt,
       "be a positive integer"},
      {"threshold below 0",
       {codes("I8"), scale({kN}, 3, "p.SCB")},
       R"({"quant_method":"bitsandbytes","llm_int8_threshold":-1})",
       corrupt,
       "llm_int8_threshold must be a float32 number not below 0"},
      {"four-bit activations",
       {codes("I8"), scale({kN, 1}, 3)},
       R"({"quant_method":"compressed-tensors","config_groups":{"g":{
           "input_activations":{"num_bits":4,"type":"int"}}}})",
       Code::unsupported,
       "must be of 8 bits; got 4"},
      {"target that is no expression",
       {codes("I8"), scale({kN, 1}, 3)},
       R"({"quant_method":"compressed-tensors","config_groups":{"g":{"targets":["re:("]}}})",
       corrupt,
       "must be a regular expression"},
  };
}

TEST_F(Dialects, HalfALayerIsAnErrorThatNamesTheTensor) {
  for (const Wrong& row : wrong()) {
    SCOPED_TRACE(row.name);
    std::map<std::string, std::string> metadata;
    if (*row.config != '\0') metadata["quantization_config"] = row.config;
    write_safetensors(path("x"), row.tensors, metadata);
    const Checkpoint file = open_checkpoint(path("x"));
    expect_error(row.code, row.fragment, [&] { file.weight("p"); });
  }
}

TEST_F(Dialects, QuantizedLayersNamesBothHalvesOnce) {
  write_safetensors(path("x"), {codes("I8", "b.weight"), codes("F8_E4M3", "a.weight"),
                                stored<float>("a.weight_scale", "F32", {}, {1}),
                                stored<float>("orphan.SCB", "F32", {1}, {1}),
                                stored<float>("norm.scale", "F32", {1}, {1}),
                                stored<float>("plain.weight", "F32", {1, 1}, {1})});
  EXPECT_EQ((std::vector<std::string>{"a", "b", "orphan"}),
            open_checkpoint(path("x")).quantized_layers());
}

}  // namespace
}  // namespace octavo::test::dialects_test
