// SPDX-License-Identifier: Apache-2.0
// Heads whose weight is the embeddings': no file has them, and readers make quantised layers of
// linear modules that the configuration does not name.
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/plan/quantize_plan.hpp"
#include "checkpoint/support.hpp"
#include "checkpoint/text/json_text.hpp"
#include "checkpoint/text/json_tree.hpp"

namespace octavo::test::tied_heads_test {
namespace {

namespace fs = std::filesystem;
using checkpoint::JsonTree;
using checkpoint::JsonValue;

constexpr Scheme kSchemes[] = {Scheme::int8_dynamic, Scheme::fp8_dynamic, Scheme::fp8_block,
                               Scheme::llm_int8};
constexpr Format kFormats[] = {Format::compressed_tensors, Format::fp8, Format::fp8_block,
                               Format::bitsandbytes};
/// Where each format has the names of what stays in float, in the order of Format.
constexpr const char* kLists[] = {"ignore", "ignored_layers", "modules_to_not_convert",
                                  "llm_int8_skip_modules"};

struct Model {
  const char* name;
  const char* layer;      ///< a linear layer of it
  const char* embedding;  ///< the table that the head shares
  const char* head;
};
constexpr Model kModels[] = {
    {"LlamaForCausalLM", "model.layers.0.mlp.up_proj", "model.embed_tokens", "lm_head"},
    {"BertForMaskedLM", "bert.encoder.layer.0.output.dense", "bert.embeddings.word_embeddings",
     "cls.predictions.decoder"},
    {"WhisperForConditionalGeneration", "model.decoder.layers.0.fc1", "model.decoder.embed_tokens",
     "proj_out"},
    {"XLNetLMHeadModel", "transformer.layer.0.ff.layer_1", "transformer.word_embedding", "lm_loss"},
    {"T5ForConditionalGeneration", "encoder.block.0.layer.0.SelfAttention.q", "shared", "lm_head"},
};

/// How often the list of a configuration has that name; -1: there is no such list.
int times_listed(const std::string& configuration, const char* list, const std::string& name) {
  JsonTree tree;
  if (tree.parse(configuration, checkpoint::QuantizationConfig::kLimits) !=
      JsonTree::Problem::none) {
    return -1;
  }
  const JsonValue names = tree.root()[list];
  if (!names.is_array()) return -1;
  int times = 0;
  for (const JsonValue item : names.items()) times += item.text() == name ? 1 : 0;
  return times;
}

Format format_of(Scheme scheme) {
  if (scheme == Scheme::llm_int8) return Format::bitsandbytes;
  return scheme == Scheme::fp8_block ? Format::fp8_block : Format::compressed_tensors;
}

const char* list_of(Format format) { return kLists[static_cast<std::size_t>(format)]; }

class TiedHeads : public Scratch {
 protected:
  void write(const Model& model, bool with_head = false) const {
    fs::remove_all(path("in"));
    fs::create_directories(path("in"));
    const auto weight = [](const char* name) {
      std::vector<float> all(128 * 128);
      for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(i % 29) - 14.0F;
      return stored(std::string(name) + ".weight", "F32", {128, 128}, all);
    };
    std::vector<TensorToWrite> tensors{weight(model.layer), weight(model.embedding)};
    if (with_head) tensors.push_back(weight(model.head));
    write_safetensors(path("in/model.safetensors"), std::move(tensors));
    write_file(path("in/config.json"),
               std::string(R"({"architectures": [")") + model.name + "\"]}");
  }
  std::string written(const std::string& folder) const {
    const std::string config = read_file(path(folder) + "/config.json");
    return std::string(checkpoint::json_field(config, "quantization_config").value_or(""));
  }
  void expect_converted(const Model& model, Format format) const {
    SCOPED_TRACE(std::string(model.name) + " to " + std::string(format_name(format)));
    fs::remove_all(path("converted"));
    convert_file(path("q"), path("converted"), {.format = format});
    EXPECT_EQ(1, times_listed(written("converted"), list_of(format), model.head))
        << written("converted");
    EXPECT_EQ(std::vector<std::string>{model.layer},
              open_checkpoint(path("converted")).quantized_layers());
  }
};

TEST_F(TiedHeads, AreInTheListOfWhatStaysInFloat) {
  for (const Model& model : kModels) {
    for (const bool with_head : {false, true}) {
      write(model, with_head);
      const Checkpoint in = open_checkpoint(path("in"));
      for (const Scheme scheme : kSchemes) {
        SCOPED_TRACE(std::string(model.name) + " " + std::string(scheme_name(scheme)));
        const auto plan = checkpoint::plan_quantization(in, {.scheme = scheme});
        EXPECT_EQ(1, times_listed(plan.config.value_or(""), list_of(format_of(scheme)), model.head))
            << plan.config.value_or("");
      }
    }
  }
}

TEST_F(TiedHeads, StayThereFromEverySchemeInEveryFormat) {
  write(kModels[1]);
  for (const Scheme scheme : kSchemes) {
    SCOPED_TRACE(scheme_name(scheme));
    fs::remove_all(path("q"));
    quantize_file(path("in"), path("q"), {.scheme = scheme});
    EXPECT_EQ(1, times_listed(written("q"), list_of(format_of(scheme)), kModels[1].head));
    for (const Format format : kFormats) expect_converted(kModels[1], format);
  }
}

// A class each, a format each; the second is the one above.
TEST_F(TiedHeads, StayThereInEveryClass) {
  for (const std::size_t i : {0U, 2U, 3U, 4U}) {
    write(kModels[i]);
    fs::remove_all(path("q"));
    quantize_file(path("in"), path("q"), {.scheme = kSchemes[i % std::size(kSchemes)]});
    expect_converted(kModels[i], kFormats[(i + 1) % std::size(kFormats)]);
  }
}

// Their source says nothing of them: its config.json alone names the class.
TEST_F(TiedHeads, AreFoundWhereTheSourceDoesNotNameThem) {
  const Model& model = kModels[2];
  write(model);
  quantize_file(path("in"), path("q"), {.scheme = Scheme::int8_dynamic});
  std::string config = read_file(path("q/config.json"));
  const std::string head = std::string("\"") + model.head + "\"";
  ASSERT_NE(std::string::npos, config.find(head));
  config.replace(config.find(head), head.size(), "\"other\"");
  write_file(path("q/config.json"), config);
  convert_file(path("q"), path("converted"), {.format = Format::bitsandbytes});
  EXPECT_EQ(1, times_listed(written("converted"), "llm_int8_skip_modules", model.head));
  EXPECT_EQ(1, times_listed(written("converted"), "llm_int8_skip_modules", "other"));
}

}  // namespace
}  // namespace octavo::test::tied_heads_test
