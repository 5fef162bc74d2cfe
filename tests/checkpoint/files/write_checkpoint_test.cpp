// SPDX-License-Identifier: Apache-2.0
// Quantised layers that were read are written again without a bit changed.
#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

#include <fmt/format.h>

#include "checkpoint/same_weight.hpp"
#include "checkpoint/support.hpp"

namespace octavo::test::write_checkpoint_test {
namespace {

constexpr const auto& kSchemes = kAllSchemes;

class WriteCheckpoint : public Scratch {
 protected:
  void SetUp() override {
    std::mt19937 generator(2);
    std::normal_distribution<float> normal;
    const auto gaussian = [&](std::size_t count) {
      std::vector<float> values(count);
      for (float& v : values) v = normal(generator);
      return values;
    };
    write_safetensors(path("float"), {stored("m.q.weight", "F32", {130, 40}, gaussian(130 * 40)),
                                      stored("m.k.weight", "F32", {7, 40}, gaussian(7 * 40)),
                                      stored("m.q.bias", "F32", {130}, gaussian(130)),
                                      stored("m.embed.weight", "F32", {4, 3}, gaussian(12)),
                                      stored("m.norm.weight", "F32", {40}, gaussian(40))});
  }

  /// Everything that the file `from` holds, written by its canonical weights.
  void copy_of(const std::string& from, const std::string& to) const {
    const Checkpoint file = open_checkpoint(from);
    std::vector<LayerToWrite> layers;
    for (const std::string& name : file.quantized_layers()) {
      layers.push_back({name, file.weight(name)});
    }
    std::vector<TensorToWrite> others;
    for (const TensorEntry& e : file.entries()) {
      const bool part = std::any_of(layers.begin(), layers.end(), [&](const LayerToWrite& l) {
        return e.name.starts_with(l.name + ".") && !e.name.ends_with(".bias");
      });
      if (part) continue;
      others.push_back(
          {e.name, e.dtype, e.shape, [&file, name = e.name] { return file.bytes(name); }});
    }
    write_checkpoint(to, layers, std::move(others), {{"format", "pt"}});
  }

  static void expect_same_tensors(const std::string& a, const std::string& b) {
    const Checkpoint x = open_checkpoint(a), y = open_checkpoint(b);
    ASSERT_EQ(x.entries().size(), y.entries().size());
    for (std::size_t i = 0; i < x.entries().size(); ++i) {
      const TensorEntry &p = x.entries()[i], &q = y.entries()[i];
      EXPECT_EQ(p.name, q.name);
      EXPECT_EQ(p.dtype, q.dtype) << p.name;
      EXPECT_EQ(p.shape, q.shape) << p.name;
      EXPECT_EQ(x.bytes(p.name), y.bytes(q.name)) << p.name;
    }
  }
};

TEST_F(WriteCheckpoint, OfWhatQuantizeFileWroteIsTheSameFile) {
  for (const Scheme scheme : kSchemes) {
    SCOPED_TRACE(scheme_name(scheme));
    QuantizeFileOptions options{.scheme = scheme};
    if (scheme == Scheme::llm_int8) {
      options.outlier_columns = {{"m.k", {2, 39}}};
      options.outlier_threshold = 4.5F;
      options.whole_columns = true;
    }
    quantize_file(path("float"), path("first"), options);
    copy_of(path("first"), path("second"));
    expect_same_tensors(path("first"), path("second"));
    const auto config = [&](const char* file) {
      return open_checkpoint(path(file)).metadata().at("quantization_config");
    };
    EXPECT_EQ(config("first"), config("second"));
    EXPECT_EQ("pt", open_checkpoint(path("second")).metadata().at("format"));
  }
}

// 126.99999 and 127: one scale, two maxima.
TEST_F(WriteCheckpoint, KeepsMaximaThatTheDivisionRoundsTogether) {
  const float a = std::bit_cast<float>(0x42FDFFFFU), b = 127.0F;
  const float c = std::bit_cast<float>(0x42FE0001U), d = std::bit_cast<float>(0x42FE0002U);
  ASSERT_TRUE(a / 127.0F == b / 127.0F || c / 127.0F == d / 127.0F || b / 127.0F == c / 127.0F);
  write_safetensors(
      path("bnb"),
      {stored<std::int8_t>("p.weight", "I8", {4, 2}, {1, 2, 3, 4, 5, 6, 7, 8}),
       stored<float>("p.SCB", "F32", {4}, {a, b, c, d}),
       stored<std::uint8_t>("p.weight_format", "U8", {}, {0})},
      {{"quantization_config", R"({"quant_method":"bitsandbytes","llm_int8_threshold":6.0})"}});
  copy_of(path("bnb"), path("again"));
  expect_same_tensors(path("bnb"), path("again"));
}

TEST_F(WriteCheckpoint, WidensHalfPrecisionMaximaAndSaysRowWhereNothingDid) {
  write_safetensors(path("half"), {stored<std::int8_t>("p.weight", "I8", {2, 2}, {1, 2, 3, 4}),
                                   stored<std::uint16_t>("p.SCB", "F16", {2}, {0x3C00, 0x4248})});
  write_safetensors(path("brain"), {stored<std::int8_t>("p.weight", "I8", {2, 2}, {1, 2, 3, 4}),
                                    stored<std::uint16_t>("p.SCB", "BF16", {2}, {0x3F80, 0x4049})});
  const float second[] = {3.140625F, 3.140625F};
  for (const char* name : {"half", "brain"}) {
    copy_of(path(name), path("wide"));
    const Checkpoint wide = open_checkpoint(path("wide"));
    EXPECT_EQ(1.0F, wide.tensor("p.SCB").data_as<float>()[0]);
    EXPECT_EQ(second[0], wide.tensor("p.SCB").data_as<float>()[1]);
    EXPECT_EQ(std::vector<std::byte>{std::byte{0}}, wide.bytes("p.weight_format"));
  }
}

TEST_F(WriteCheckpoint, OfFusedAndOfFreshWeightsIsReadBack) {
  const std::vector<float> ones(6, 1.5F);
  const Weight one = quantize_weight(view(ones, {2, 3}), Scheme::llm_int8);
  const std::vector<Weight> shards{one, one};
  const std::vector<LayerToWrite> layers{{"a", fuse(shards)}, {"b", one}};
  write_checkpoint(path("out"), layers);
  const Weight fused = open_checkpoint(path("out")).weight("a");
  EXPECT_EQ(4, fused.codes.data.size(0));
  EXPECT_EQ(1.5F, fused.absmax.data_as<float>()[3]);
}

// As comfy-kitchen's files (tests/checkpoint/data/comfyui-int8-rotated), and with layers of other
// blocks and of none beside each other.
TEST_F(WriteCheckpoint, RotatedLayersAreComfyUIs) {
  std::vector<float> values(8 * 320);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 37) - 11.0F;
  std::vector<LayerToWrite> layers;
  for (const std::int32_t block : {0, 16, 64}) {
    layers.push_back({fmt::format("l{}", block),
                      quantize_weight(view(values, {8, 320}), Scheme::int8_dynamic, block)});
  }
  write_checkpoint(path("out"), layers, {}, {{"quantization_config", "an older one"}});
  const Checkpoint out = open_checkpoint(path("out"));
  const std::vector<std::byte> said = out.bytes("l16.comfy_quant");
  EXPECT_EQ(R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 16})",
            std::string_view(reinterpret_cast<const char*>(said.data()), said.size()));
  for (const LayerToWrite& layer : layers) expect_same_weight(out.weight(layer.name), layer.weight);
  const Weight fp8 = quantize_weight(view(values, {8, 320}), Scheme::fp8_dynamic, 16);
  const std::vector<LayerToWrite> others{{"a", fp8}};
  expect_error(Code::invalid_argument, "must have the codes, scales and activation rule",
               [&] { write_checkpoint(path("no"), others); });
}

// What no format can say: rows are rotated back.
TEST_F(WriteCheckpoint, RotatedLayersAreConvertedIntoPlainOnes) {
  std::vector<float> values(8 * 64);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 37) - 11.0F;
  const Weight rotated = quantize_weight(view(values, {8, 64}), Scheme::int8_dynamic, 64);
  const std::vector<LayerToWrite> layers{{"a.q_proj", rotated}};
  write_checkpoint(path("rotated"), layers);
  const Weight want = quantize_weight(float_values(rotated), Scheme::int8_dynamic);
  const QuantizeReport report = convert_file(path("rotated"), path("plain"), {});
  expect_same_weight(open_checkpoint(path("plain")).weight("a.q_proj"), want);
  const auto says = [](const std::string& w) {
    return w.find("rows are rotated back") != std::string::npos;
  };
  EXPECT_TRUE(std::ranges::any_of(report.warnings, says));
  dequantize_file(path("rotated"), path("floats"), {.dtype = DType::float32});
  expect_same_bits(open_checkpoint(path("floats")).tensor("a.q_proj.weight"),
                   float_values(rotated));
}

TEST_F(WriteCheckpoint, RefusesWhatAFileCannotSay) {
  const std::vector<float> ones(6, 1.5F);
  const TensorView w = view(ones, {2, 3});
  const Weight bnb = quantize_weight(w, Scheme::llm_int8);
  const Weight int8 = quantize_weight(w, Scheme::int8_dynamic);
  const auto refuse = [&](std::vector<LayerToWrite> layers, const char* fragment) {
    expect_error(Code::invalid_argument, fragment, [&] { write_checkpoint(path("out"), layers); });
    EXPECT_EQ(std::vector<std::string>{"float"}, listing());
  };
  refuse({}, "write_checkpoint: layers must have at least one; got none");
  refuse({{"a", bnb}, {"b", int8}},
         "layer 'b'.scheme must be that of the other layers, llm-int8; got int8-dynamic");
  Weight plain = bnb;
  plain.scheme = "none";
  refuse({{"a", plain}}, "layer 'a'.scheme must be one that files are quantised by; got 'none'");
  Weight other = bnb;
  other.activation->outlier_threshold = 3.0F;
  refuse(
      {{"a", bnb}, {"b", other}},
      "layer 'b' must have the other layers' threshold and whole_columns, 6 and false; got 3 and "
      "false");
  const char* const form =
      "layer 'a' must have the codes, scales and activation rule that quantize_file gives scheme ";
  other = bnb;
  other.absmax = {};
  refuse({{"a", other}}, form);
  other = bnb;
  other.activation.reset();
  refuse({{"a", other}}, form);
  for (const float bad : {-1.0F, HUGE_VALF}) {
    other = bnb;
    other.activation->outlier_threshold = bad;
    refuse({{"a", other}}, form);
  }
  other = int8;
  other.activation->static_scale = 0.5F;
  refuse({{"a", other}}, form);
  other = int8;
  other.activation->outlier_columns = Tensor::empty(DType::int64, {1});
  refuse({{"a", other}}, form);
  other = int8;
  other.codes.grid = ScaleGrid{};
  refuse({{"a", other}}, form);
}

}  // namespace
}  // namespace octavo::test::write_checkpoint_test
