// SPDX-License-Identifier: Apache-2.0
// convert_file on what transformers reads in some forms only: experts of mixtures, uneven blocks.
#include <filesystem>
#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "checkpoint/same_weight.hpp"
#include "checkpoint/support.hpp"
#include "kit/operands/random.hpp"

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

std::string joined(const std::vector<std::string>& warnings) {
  std::string all;
  for (const std::string& warning : warnings) all += warning + "\n";
  return all;
}

/// What makes a folder's model another one, by either operation that the command line has for it.
struct Writer {
  const char* name;
  std::function<QuantizeReport(const std::string& in, const std::string& out)> write;
};
std::vector<Writer> writers(Format format, Scheme scheme) {
  return {{"convert",
           [=](const std::string& in, const std::string& out) {
             return convert_file(in, out, {.format = format});
           }},
          {"requantise", [=](const std::string& in, const std::string& out) {
             return quantize_file(in, out, {.scheme = scheme, .requantize = true});
           }}};
}

// transformers has experts in modules of their own, of which bitsandbytes quantises none.
TEST_F(ConvertExperts, ExpertsAreInFloatBesideLayersOfBitsandbytes) {
  for (const bool stacked : {false, true}) {
    for (const Writer& writer : writers(Format::bitsandbytes, Scheme::llm_int8)) {
      SCOPED_TRACE(std::string(writer.name) + (stacked ? ", stacked" : ""));
      for (const char* name : {"in", "out", "float", "only", "none"}) fs::remove_all(path(name));
      Tensors tensors;
      if (stacked) {
        for (const auto& [name, n, k] :
             {std::tuple("gate_up_proj", 32, 256), {"down_proj", 256, 16}}) {
          const std::string stack = std::string("m.experts.") + name;
          tensors.push_back(stored(stack, "I8", {2, n, k}, codes(2 * n * k, 7)));
          tensors.push_back(stored(stack + "_weight_scale", "F32", {2, n, 1}, scales(2 * n)));
          tensors.push_back(stored(stack + "_bias", "F32", {2, n}, scales(2 * n)));
        }
      } else {
        add_layer(tensors, "m.experts.0.up_proj", 8, kForms[0]);
        add_layer(tensors, "m.experts.1.up_proj", 8, kForms[0]);
      }
      fs::create_directories(path("only"));
      write_safetensors(path("only/model.safetensors"), tensors);
      EXPECT_THROW(writer.write(path("only"), path("none")), Error);
      EXPECT_FALSE(fs::exists(path("none")));

      add_layer(tensors, "m.q_proj", 12, kForms[0]);
      fs::create_directories(path("in"));
      write_safetensors(path("in/model.safetensors"), std::move(tensors));
      write_file(path("in/config.json"), R"({"dtype": "float32"})");
      const QuantizeReport report = writer.write(path("in"), path("out"));
      EXPECT_NE(std::string::npos,
                joined(report.warnings).find("got 2 tensors of experts that stay in float"))
          << joined(report.warnings);
      dequantize_file(path("in"), path("float"));
      const Checkpoint out = open_checkpoint(path("out")), plain = open_checkpoint(path("float"));
      EXPECT_EQ(std::vector<std::string>{"m.q_proj"}, out.quantized_layers());
      for (const TensorEntry& entry : plain.entries()) {
        if (entry.name.find("experts") == std::string::npos) continue;
        ASSERT_TRUE(out.contains(entry.name)) << entry.name;
        EXPECT_EQ(plain.bytes(entry.name), out.bytes(entry.name)) << entry.name;
      }
      const std::string config = read_file(path("out/config.json"));
      EXPECT_EQ(!stacked, config.find("m.experts.1.up_proj") != std::string::npos) << config;
    }
  }
}

// Of a folder, which transformers loads; a file is as it was asked for.
TEST_F(ConvertExperts, BlocksThatDoNotFitStayInFloat) {
  for (const Writer& writer : writers(Format::fp8_block, Scheme::fp8_block)) {
    SCOPED_TRACE(writer.name);
    for (const char* name : {"in", "out", "float"}) fs::remove_all(path(name));
    Tensors tensors;
    add_layer(tensors, "m.uneven", 192, kForms[0]);
    add_layer(tensors, "m.small", 72, kForms[0]);
    add_layer(tensors, "m.even", 256, kForms[0]);
    for (const char* name : {"m.experts.up", "m.experts.uneven"}) {
      const std::int64_t n = name == std::string("m.experts.up") ? 128 : 130;
      tensors.push_back(stored(name, "I8", {2, n, kColumns}, codes(2 * n * kColumns, 9)));
      tensors.push_back(
          stored(std::string(name) + "_weight_scale", "F32", {2, n, 1}, scales(2 * n)));
    }
    fs::create_directories(path("in"));
    write_safetensors(path("in/model.safetensors"), std::move(tensors));
    write_file(path("in/config.json"), R"({"dtype": "float32"})");
    const QuantizeReport report = writer.write(path("in"), path("out"));
    EXPECT_NE(std::string::npos, joined(report.warnings).find("got 2 that stay in float"))
        << joined(report.warnings);
    dequantize_file(path("in"), path("float"));
    const Checkpoint out = open_checkpoint(path("out")), plain = open_checkpoint(path("float"));
    EXPECT_EQ((std::vector<std::string>{"m.even", "m.experts.0.up", "m.experts.1.up", "m.small"}),
              out.quantized_layers());
    for (const char* name : {"m.uneven.weight", "m.experts.uneven"}) {
      EXPECT_EQ(plain.bytes(name), out.bytes(name)) << name;
    }
    EXPECT_NE(std::string::npos, read_file(path("out/config.json")).find("\"m.uneven\""));
    writer.write(path("in/model.safetensors"), path("file"));
    EXPECT_EQ(7U, open_checkpoint(path("file")).quantized_layers().size());
  }
}

}  // namespace
}  // namespace octavo::test::convert_experts_test
