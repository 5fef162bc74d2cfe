// SPDX-License-Identifier: Apache-2.0
// Quantising a file: which layers, what is written, and that reading it back gives the same bits.
#include <cmath>
#include <limits>
#include <random>

#include "checkpoint/support.hpp"
#include "octavo/linear.hpp"
#include "octavo/llm_int8.hpp"
#include "octavo/quantize.hpp"

namespace octavo::test::quantize_file_test {
namespace {

constexpr const auto& kSchemes = kAllSchemes;

bool is_int8(Scheme scheme) {
  return scheme == Scheme::int8_dynamic || scheme == Scheme::int8_weight_only;
}

constexpr std::int64_t kN = 150, kK = 260;

std::vector<float> gaussian(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, 0.05F);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

class QuantizeFile : public Scratch {
 protected:
  void SetUp() override {
    weight_ = gaussian(kN * kK, 1);
    std::vector<std::uint16_t> half(kN * kK, 0x3F80);
    half[5] = 0xC000;
    write_safetensors(
        path("in"),
        {stored("model.embed_tokens.weight", "F32", {4, 3}, gaussian(12, 2)),
         stored("model.layers.0.mlp.up.weight", "F32", {kN, kK}, weight_),
         stored("model.layers.0.mlp.up.bias", "F32", {kN}, gaussian(kN, 3)),
         stored("model.layers.0.mlp.gate_proj.weight", "BF16", {kN, kK}, half),
         stored("model.layers.0.input_layernorm.weight", "F32", {kK}, gaussian(kK, 4)),
         stored("model.norms.q_norm.weight", "F32", {2, 2}, gaussian(4, 5)),
         stored("model.conv.weight", "F32", {2, 2, 1}, gaussian(4, 6)),
         stored("model.empty.weight", "F32", {0, 7}, std::vector<float>{}),
         stored<std::int64_t>("model.ids", "I64", {2}, {1, 2}),
         stored("lm_head.weight", "F32", {4, 3}, gaussian(12, 7))},
        {{"format", "pt"}});
  }

  QuantizeReport run(Scheme scheme, std::vector<std::string> ignore = {}) const {
    return quantize_file(path("in"), path("out"), {.scheme = scheme, .ignore = std::move(ignore)});
  }

  std::vector<float> weight_;
};

TEST_F(QuantizeFile, TakesTheLinearLayersAndCopiesTheRestByteForByte) {
  for (const Scheme scheme : kSchemes) {
    SCOPED_TRACE(scheme_name(scheme));
    const QuantizeReport report = run(scheme);
    const Checkpoint in = open_checkpoint(path("in")), out = open_checkpoint(path("out"));
    EXPECT_EQ((std::vector<std::string>{"model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up"}),
              out.quantized_layers());
    EXPECT_EQ(8, report.tensors_copied);
    EXPECT_EQ(in.file_bytes(), report.file_bytes_before);
    EXPECT_EQ(out.file_bytes(), report.file_bytes_after);
    EXPECT_EQ("pt", out.metadata().at("format"));
    for (const TensorEntry& e : in.entries()) {
      if (e.name.find("mlp") != std::string::npos && e.name.ends_with(".weight")) continue;
      EXPECT_EQ(in.bytes(e.name), out.bytes(e.name)) << e.name;
    }
  }
}

/// What the library's own quantisers make of the float weight.
Quantized expected(Scheme scheme, const TensorView& weight) {
  if (scheme == Scheme::llm_int8) {
    const VectorwiseQuant rows = int8_vectorwise_quant(weight);
    Tensor scale = Tensor::empty(DType::float32, {kN, 1});
    for (std::int64_t i = 0; i < kN; ++i) {
      scale.data_as<float>()[i] = rows.row_absmax.data_as<float>()[i] / 127.0F;
    }
    return {rows.codes, scale, {1, kWholeExtent}, {}};
  }
  const bool mx = scheme == Scheme::mxfp8;
  const Granularity cells = mx                            ? group(32)
                            : scheme == Scheme::fp8_block ? block(128, 128)
                                                          : per_token();
  return quantize(weight, {.dtype = is_int8(scheme) ? DType::int8 : DType::float8_e4m3fn,
                           .granularity = cells,
                           .rounding = mx ? ScaleRounding::power_of_two : ScaleRounding::none});
}

TEST_F(QuantizeFile, ReadingBackGivesTheQuantizersBits) {
  for (const Scheme scheme : kSchemes) {
    SCOPED_TRACE(scheme_name(scheme));
    run(scheme);
    const Quantized want = expected(scheme, view(weight_, {kN, kK}));
    const Weight got = open_checkpoint(path("out")).weight("model.layers.0.mlp.up");
    EXPECT_EQ(scheme_name(scheme), got.scheme);
    EXPECT_EQ(want.grid, got.codes.grid);
    ASSERT_EQ(want.data.numel(), got.codes.data.numel());
    ASSERT_EQ(want.scale.numel(), got.codes.scale.numel());
    EXPECT_EQ(0, std::memcmp(want.data.data(), got.codes.data.data(), kN * kK));
    EXPECT_EQ(0, std::memcmp(want.scale.data(), got.codes.scale.data(),
                             static_cast<std::size_t>(want.scale.numel()) * sizeof(float)));
  }
}

TEST_F(QuantizeFile, LlmInt8MultipliesOutlierColumnsInFloat) {
  run(Scheme::llm_int8);
  const Checkpoint file = open_checkpoint(path("out"));
  const std::string layer = "model.layers.0.mlp.up";
  std::vector<float> x(3 * kK);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 11) / 4.0F - 1.0F;
  x[5] = 40.0F;       // row 0, column 5
  x[kK + 9] = -6.0F;  // row 1, column 9: the threshold itself
  const TensorView input = view(x, {3, kK});
  const VectorwiseQuant q = int8_vectorwise_quant(input, {.threshold = 6.0F});
  ASSERT_EQ(2, q.outlier_cols.numel());
  const Tensor want =
      int8_mixed_scaled_mm(input, q.codes, file.tensor(layer + ".weight"), q.row_absmax,
                           file.tensor(layer + ".SCB"), {.outlier_cols = q.outlier_cols});
  const Tensor got = linear(input, pack(file.weight(layer)));
  ASSERT_EQ(want.numel(), got.numel());
  EXPECT_EQ(0, std::memcmp(want.data(), got.data(),
                           static_cast<std::size_t>(want.numel()) * sizeof(float)));
}

TEST_F(QuantizeFile, TheActivationRuleFollowsTheScheme) {
  const std::optional<Granularity> rules[] = {per_token(),  per_token(),  group(128), per_token(),
                                              std::nullopt, std::nullopt, group(32)};
  const float thresholds[] = {0, 0, 0, 6, 0, 0, 0};
  for (std::size_t i = 0; i < kSchemes.size(); ++i) {
    SCOPED_TRACE(scheme_name(kSchemes[i]));
    run(kSchemes[i]);
    const auto rule = open_checkpoint(path("out")).weight("model.layers.0.mlp.up").activation;
    ASSERT_EQ(rules[i].has_value(), rule.has_value());
    EXPECT_EQ(rules[i].has_value(), activation_rule(kSchemes[i]).has_value());
    if (!rule) continue;
    EXPECT_EQ(*rules[i], rule->spec.granularity);
    EXPECT_EQ(thresholds[i], rule->outlier_threshold);
    EXPECT_EQ(kSchemes[i] == Scheme::mxfp8, rule->spec.rounding == ScaleRounding::power_of_two);
  }
}

TEST_F(QuantizeFile, TheReportAgreesWithDequantizing) {
  for (const Scheme scheme : kSchemes) {
    SCOPED_TRACE(scheme_name(scheme));
    const QuantizeReport report = run(scheme);
    ASSERT_EQ(2U, report.layers.size());
    const auto& up = report.layers[0].name.ends_with("up") ? report.layers[0] : report.layers[1];
    EXPECT_EQ(kN, up.n);
    EXPECT_EQ(kK, up.k);
    EXPECT_EQ(kN * kK * 4, up.bytes_before);

    const Weight weight = open_checkpoint(path("out")).weight(up.name);
    const Tensor back = dequantize(weight.codes);
    double signal = 0, noise = 0, worst = 0;
    for (std::size_t i = 0; i < weight_.size(); ++i) {
      const double w = weight_[i];
      const double error = w - static_cast<double>(back.data_as<float>()[i]);
      signal += w * w;
      noise += error * error;
      worst = std::max(worst, std::abs(error));
    }
    // Both sums are made of float32 sums: 18 roundings each, of 2^-24.
    const double decibels = 2 * 10 / std::log(10.0) * 18 * 0x1p-24;
    EXPECT_NEAR(10 * std::log10(signal / noise), up.sqnr_db, decibels);
    EXPECT_DOUBLE_EQ(worst, up.max_error);
    const bool fp8 = weight.codes.data.dtype() == DType::float8_e4m3fn;
    EXPECT_GT(up.sqnr_db, fp8 ? 28.0 : 38.0);
    const bool mx = scheme == Scheme::mxfp8;
    EXPECT_EQ(kN * kK + (mx ? 1 : 4) * weight.codes.scale.numel(), up.bytes_after);
    if (!mx) {
      EXPECT_GE(up.saturated, scheme == Scheme::fp8_block ? 6 : kN);
    }
    EXPECT_LT(up.saturated, kN * kK / 50);
  }
}

TEST_F(QuantizeFile, IgnoreTakesExactNamesAndExpressionsAnchoredAtTheStart) {
  const std::string up = "model.layers.0.mlp.up", gate = "model.layers.0.mlp.gate_proj";
  struct Row {
    std::vector<std::string> ignore;
    std::vector<std::string> left;
  };
  const Row rows[] = {
      {{}, {gate, up}},          {{up}, {gate}},
      {{"re:.*up$"}, {gate}},    {{"re:model.layers.0.mlp.ga"}, {up}},
      {{"lm_head"}, {gate, up}},
  };
  for (const Row& row : rows) {
    run(Scheme::int8_dynamic, row.ignore);
    EXPECT_EQ(row.left, open_checkpoint(path("out")).quantized_layers());
  }
  expect_error(Code::invalid_argument, "pattern 're:(' must be a regular expression",
               [&] { run(Scheme::int8_dynamic, {"re:("}); });
}

TEST_F(QuantizeFile, WhatIsMisspeltOrLeavesNoLayerIsRefusedBeforeAnythingIsWritten) {
  for (const char* unknown : {"up", "re:up", "re:gate_proj$", "model.layers.0.mlp.upp", ""}) {
    expect_error(Code::invalid_argument,
                 std::string("quantize_file: ignore must name layers of the file; got '") + unknown,
                 [&] {
                   run(Scheme::int8_dynamic, {"re:.*gate_proj$", unknown});
                 });
  }
  expect_error(Code::invalid_argument, "(nearest: 'model.layers.0.mlp.up')",
               [&] { run(Scheme::fp8_block, {"model.layers.0.mlp.upp"}); });
  for (const std::vector<std::string>& all :
       {std::vector<std::string>{"re:model\\.layers\\.0\\.mlp"},
        std::vector<std::string>{"re:.*gate_proj$", "model.layers.0.mlp.up"}}) {
    expect_error(Code::invalid_argument, "must hold linear layers to quantise",
                 [&] { run(Scheme::int8_dynamic, all); });
  }
  EXPECT_FALSE(std::filesystem::exists(path("out")));
}

TEST_F(QuantizeFile, WhatMayBeALayerAndStaysInFloatIsAWarning) {
  const auto floats = [](std::int64_t count) {
    return std::vector<float>(static_cast<std::size_t>(count), 0.5F);
  };
  write_safetensors(path("in"), {stored("a.weight", "F32", {64, 64}, floats(4096)),
                                 stored("conv.weight", "F32", {64, 1, 4}, floats(256)),
                                 stored("embed.stack", "F32", {2, 64, 64}, floats(8192)),
                                 stored("h.bias", "F32", {64}, floats(64)),
                                 stored("mlp.experts.down_proj", "F32", {2, 64, 32}, floats(4096)),
                                 stored("o.kernel", "F32", {64, 64}, floats(4096)),
                                 stored("table", "F32", {64, 8}, floats(512))});
  const QuantizeReport report = run(Scheme::int8_dynamic);
  EXPECT_EQ(report.layers.size(), 1U);
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_NE(report.warnings[0].find("got 2 that may be some and stay in float, the first "
                                    "'mlp.experts.down_proj' [2, 64, 32]"),
            std::string::npos)
      << report.warnings[0];
}

TEST_F(QuantizeFile, TheConfigurationNamesTheMethodAndTheLayersLeftAlone) {
  const char* const methods[] = {"compressed-tensors", "compressed-tensors", "\"fp8\"",
                                 "bitsandbytes"};
  for (std::size_t i = 0; i < 4; ++i) {
    run(kSchemes[i], {"re:.*gate"});
    const std::string config = open_checkpoint(path("out")).metadata().at("quantization_config");
    EXPECT_NE(std::string::npos, config.find(methods[i])) << config;
    for (const char* name : {"lm_head", "model.embed_tokens", "model.layers.0.mlp.gate_proj"}) {
      EXPECT_NE(std::string::npos, config.find('"' + std::string(name) + '"')) << config;
    }
  }
}

TEST_F(QuantizeFile, MayReplaceItsInputAndRefusesToDoItTwice) {
  quantize_file(path("in"), path("in"), {});
  EXPECT_EQ(2U, open_checkpoint(path("in")).quantized_layers().size());
  expect_error(Code::invalid_argument, "must hold float weights; got 2 quantised layers",
               [&] { quantize_file(path("in"), path("in"), {}); });
}

TEST_F(QuantizeFile, AWeightThatIsNotFiniteIsRefusedAndNothingIsWritten) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const Scheme scheme : kSchemes) {
      write_safetensors(path("bad"), {stored<float>("p.weight", "F32", {1, 4}, {1, bad, 0, 0})});
      expect_error(Code::corrupt_data, "tensor 'p.weight' must be finite; got NaN or infinity at [",
                   [&] { quantize_file(path("bad"), path("out"), {.scheme = scheme}); });
      EXPECT_EQ((std::vector<std::string>{"bad", "in"}), listing());
    }
  }
}

TEST_F(QuantizeFile, AnAllZeroWeightIsExact) {
  for (const Scheme scheme : kSchemes) {
    write_safetensors(path("zero"), {stored("p.weight", "F32", {2, 4}, std::vector<float>(8))});
    const auto report = quantize_file(path("zero"), path("out"), {.scheme = scheme});
    EXPECT_TRUE(std::isinf(report.layers.at(0).sqnr_db));
    EXPECT_EQ(0.0, report.layers.at(0).max_error);
    EXPECT_EQ(0, report.layers.at(0).saturated);
  }
}

TEST_F(QuantizeFile, ProgressReachesTheTotal) {
  std::vector<std::int64_t> seen;
  std::int64_t all = 0;
  quantize_file(path("in"), path("out"), {.progress = [&](std::int64_t done, std::int64_t total) {
                  seen.push_back(done);
                  all = total;
                }});
  EXPECT_FALSE(seen.empty());
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(all, seen.back());
}

TEST(SchemeNames, AreReadInEverySpelling) {
  for (const Scheme scheme : kSchemes) EXPECT_EQ(scheme, scheme_from_name(scheme_name(scheme)));
  EXPECT_EQ(Scheme::fp8_dynamic, scheme_from_name("FP8_DYNAMIC"));
  EXPECT_EQ(Scheme::fp8_block, scheme_from_name("FP8_BLOCK"));
  EXPECT_EQ(Scheme::int8_dynamic, scheme_from_name("W8A8"));
  EXPECT_EQ(Scheme::int8_dynamic, scheme_from_name("INT8"));
  EXPECT_EQ(Scheme::llm_int8, scheme_from_name("LLM.int8"));
  EXPECT_EQ(Scheme::int8_weight_only, scheme_from_name("W8A16"));
  EXPECT_EQ(Scheme::fp8_weight_only, scheme_from_name("float8_weight_only"));
  EXPECT_EQ(Scheme::mxfp8, scheme_from_name("MXFP8"));
  for (const char* none : {"", "fp8", "FP8", "MXFP4", "int8-dynamic ", "int4"}) {
    EXPECT_EQ(std::nullopt, scheme_from_name(none)) << none;
  }
}

}  // namespace
}  // namespace octavo::test::quantize_file_test
