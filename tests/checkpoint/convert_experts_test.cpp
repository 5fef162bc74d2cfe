// SPDX-License-Identifier: Apache-2.0
// convert_file on what transformers reads in some forms only: experts of mixtures, uneven blocks.
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "kit/random.hpp"
#include "same_weight.hpp"
#include "support.hpp"

namespace octavo::test::convert_experts_test {
namespace {

namespace fs = std::filesystem;

/// Bytes from -127 to 127.
std::vector<std::int8_t> codes(std::int64_t count, std::uint64_t seed) {
  const kit::Random random(seed);
  std::vector<std::int8_t> all(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<std::int8_t>(random.uniform(i) * 255.0 - 127.5);
  }
  return all;
}

std::vector<float> scales(std::int64_t count) {
  std::vector<float> all(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = 0.01F + 0.001F * static_cast<float>(i % 7);
  return all;
}

using Tensors = std::vector<TensorToWrite>;
constexpr std::int64_t kColumns = 256;

/// How an int8 layer [n, 256] is stored.
struct Form {
  const char* name;
  std::int64_t scale_rows, scale_columns;  ///< 0 rows: one for each of the layer
  bool azp, is_static, bitsandbytes;
};
constexpr Form kForms[] = {
    {"channel", 0, 1, false, false, false}, {"channel, zero points", 0, 1, true, false, false},
    {"groups", 0, 2, false, false, false},  {"groups, zero points", 0, 2, true, false, false},
    {"tensor", 1, 1, false, false, false},  {"tensor, zero point", 1, 1, true, false, false},
    {"static", 0, 1, false, true, false},   {"bitsandbytes", 0, 1, false, false, true}};

void add_layer(Tensors& all, const std::string& name, std::int64_t n, const Form& form) {
  const std::int64_t rows = form.scale_rows == 0 ? n : form.scale_rows;
  const std::int64_t cells = rows * form.scale_columns;
  all.push_back(stored(name + ".weight", "I8", {n, kColumns}, codes(n * kColumns, all.size())));
  if (form.bitsandbytes) {
    all.push_back(stored(name + ".SCB", "F32", {n}, scales(n)));
    all.push_back(stored<std::uint8_t>(name + ".weight_format", "U8", {}, {0}));
    return;
  }
  all.push_back(stored(name + ".weight_scale", "F32", {rows, form.scale_columns}, scales(cells)));
  if (form.azp) {
    all.push_back(
        stored(name + ".weight_zero_point", "I8", {rows, form.scale_columns}, codes(cells, 3)));
  }
  if (form.is_static) all.push_back(stored<float>(name + ".input_scale", "F32", {1}, {0.5F}));
}

class ConvertExperts : public Scratch {};

// Nothing but packed codes of int8 experts is read by transformers.
TEST_F(ConvertExperts, Int8ExpertsGoPackedIntoCompressedTensorsWhateverTheirForm) {
  constexpr const char* kExperts[] = {"m.experts.0.up_proj", "m.experts.1.up_proj"};
  for (const Form& form : kForms) {
    for (const bool others : {false, true}) {
      SCOPED_TRACE(form.name);
      Tensors tensors;
      for (const char* expert : kExperts) add_layer(tensors, expert, 10, form);
      if (others) add_layer(tensors, "m.q_proj", 12, form);
      write_safetensors(path("in"), std::move(tensors));
      convert_file(path("in"), path("out"), {.format = Format::compressed_tensors});
      const Checkpoint in = open_checkpoint(path("in")), out = open_checkpoint(path("out"));
      EXPECT_EQ(in.quantized_layers(), out.quantized_layers());
      for (const std::string& layer : in.quantized_layers()) {
        const bool expert = layer != "m.q_proj";
        EXPECT_EQ(expert, out.contains(layer + ".weight_packed")) << layer;
        EXPECT_EQ(expert, out.contains(layer + ".weight_shape")) << layer;
        EXPECT_EQ(!expert, out.contains(layer + ".weight")) << layer;
        Weight want = in.weight(layer);
        if (form.bitsandbytes) {  // its rule has no form in compressed-tensors
          want.absmax = {};
          want.scheme = "int8-dynamic";
          want.activation = activation_rule(Scheme::int8_dynamic);
        }
        expect_same_weight(out.weight(layer), want);
      }
      const std::string& config = out.declarations().at(0).text;
      for (const char* said : {R"("targets":["re:.*\\.experts\\..*"])", "pack-quantized"}) {
        EXPECT_NE(std::string::npos, config.find(said)) << config;
      }
      EXPECT_EQ(others, config.find(R"("targets":["Linear"])") != std::string::npos) << config;
      EXPECT_EQ(others, config.find("mixed-precision") != std::string::npos) << config;
    }
  }
}

// K in no words of four: these stay as codes, and no group may say that all experts are packed.
TEST_F(ConvertExperts, PackedExpertsBesideOthersAreNamed) {
  Tensors tensors;
  add_layer(tensors, "m.experts.0.up_proj", 8, kForms[0]);
  const char* odd = "m.experts.0.down_proj";
  tensors.push_back(stored(std::string(odd) + ".weight", "I8", {8, 6}, codes(48, 1)));
  tensors.push_back(stored(std::string(odd) + ".weight_scale", "F32", {8, 1}, scales(8)));
  write_safetensors(path("in"), std::move(tensors));
  convert_file(path("in"), path("out"), {.format = Format::compressed_tensors});
  const Checkpoint in = open_checkpoint(path("in")), out = open_checkpoint(path("out"));
  EXPECT_TRUE(out.contains("m.experts.0.up_proj.weight_packed"));
  EXPECT_TRUE(out.contains("m.experts.0.down_proj.weight"));
  EXPECT_EQ(std::string::npos, out.declarations().at(0).text.find("re:"));
  for (const std::string& layer : in.quantized_layers()) {
    expect_same_weight(out.weight(layer), in.weight(layer));
  }
}

}  // namespace
}  // namespace octavo::test::convert_experts_test
