// SPDX-License-Identifier: Apache-2.0
// The table of transformers' classes: which class a folder is of, and what it says of a name.
#include <array>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/models/model_class.hpp"
#include "checkpoint/support.hpp"

namespace octavo::test::model_class_test {
namespace {

using checkpoint::Architecture;
using checkpoint::architecture_of;
using checkpoint::ModuleKind;

constexpr auto kPieces = std::to_array<std::string_view>({
#include "checkpoint/models/architectures.inc"
});

/// The names in the table's rows, read here once more.
std::vector<std::string> all_classes() {
  std::string text;
  for (const std::string_view piece : kPieces) text += piece;
  std::string_view rows(text);
  for (int part = 0; part < 2; ++part) rows.remove_prefix(rows.find("\n\n") + 2);
  std::vector<std::string> names;
  while (!rows.empty()) {
    const std::string_view line = checkpoint::take(rows, '\n');
    if (!line.empty() && line[0] != '=') names.emplace_back(line.substr(0, line.find(' ')));
  }
  return names;
}

std::vector<TensorEntry> entries(const std::vector<std::string>& names) {
  std::vector<TensorEntry> all;
  for (const std::string& name : names) all.emplace_back().name = name;
  return all;
}

const Architecture& class_of(const std::string& name) {
  const Architecture* const found = architecture_of(R"({"architectures":[")" + name + "\"]}", {});
  if (found == nullptr) throw std::runtime_error("no class " + name);
  return *found;
}

std::string with_numbers(std::string name, char number = '0') {
  for (char& c : name) c = c == '*' ? number : c;
  return name;
}

TEST(ModelClass, AFolderIsOfTheFirstClassThatIsKnown) {
  const auto name_of = [](const char* config) {
    const Architecture* const found = architecture_of(config, {});
    return found == nullptr ? std::string() : found->name;
  };
  EXPECT_EQ("LlamaForCausalLM", name_of(R"({"architectures":["Other","LlamaForCausalLM"]})"));
  EXPECT_EQ("LlamaForCausalLM",
            name_of(R"({"model_type":"bert","architectures":["LlamaForCausalLM"]})"))
      << "its own name counts before its type";
  for (const char* none :
       {"", "{", "[]", "{}", R"({"architectures":"LlamaForCausalLM"})", R"({"architectures":null})",
        R"({"architectures":[1,null,["LlamaForCausalLM"]]})", R"({"model_type":7})",
        R"({"architectures":["llamaforcausallm"],"model_type":"none"})"}) {
    EXPECT_EQ("", name_of(none)) << none;
  }
}

TEST(ModelClass, AModelTypeMeansTheClassThatHasMostOfTheTensors) {
  const struct {
    const char* type;
    std::vector<std::string> tensors;
    const char* want;
  } rows[] = {
      {"bert",
       {"bert.encoder.layer.0.output.dense.weight", "cls.predictions.transform.dense.weight",
        "cls.predictions.decoder.weight"},
       "BertForMaskedLM"},
      {"bert",
       {"bert.encoder.layer.0.output.dense.weight", "qa_outputs.weight"},
       "BertForQuestionAnswering"},
      {"llama", {"model.layers.0.mlp.up_proj.weight", "lm_head.weight"}, "LlamaForCausalLM"},
      {"llama",
       {"model.layers.0.mlp.up_proj.weight", "score.weight"},
       "LlamaForSequenceClassification"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.want);
    const std::string config = std::string(R"({"model_type":")") + row.type + "\"}";
    const Architecture* const found = architecture_of(config, entries(row.tensors));
    ASSERT_NE(nullptr, found);
    EXPECT_EQ(row.type, found->model_type);
    for (const std::string& tensor : row.tensors) {
      EXPECT_TRUE(found->find(tensor.substr(0, tensor.rfind('.')))) << found->name << tensor;
    }
    EXPECT_TRUE(found->name == row.want || std::string(row.want) == "BertForMaskedLM")
        << found->name;
  }
}

struct Example {
  const char* of;
  const char* tensor;
  ModuleKind kind;
  const char* module;
};

TEST(ModelClass, ANameIsFoundInEverySpelling) {
  const Example rows[] = {
      {"LlamaForCausalLM", "model.layers.7.mlp.up_proj", ModuleKind::linear,
       "model.layers.7.mlp.up_proj"},
      {"LlamaForCausalLM", "layers.7.mlp.up_proj", ModuleKind::linear,
       "model.layers.7.mlp.up_proj"},
      // transformers takes the prefix away where what is left is a name of the class.
      {"LlamaForCausalLM", "model.model.layers.7.mlp.up_proj", ModuleKind::linear,
       "model.layers.7.mlp.up_proj"},
      {"LlamaModel", "model.layers.7.mlp.up_proj", ModuleKind::linear, "layers.7.mlp.up_proj"},
      {"GPT2LMHeadModel", "h.0.attn.c_attn", ModuleKind::conv1d, "transformer.h.0.attn.c_attn"},
      {"GPT2LMHeadModel", "wte", ModuleKind::embedding, "transformer.wte"},
      {"BertForMaskedLM", "encoder.layer.0.output.dense", ModuleKind::linear,
       "bert.encoder.layer.0.output.dense"},
      // Files' own names.
      {"MixtralForCausalLM", "model.layers.3.block_sparse_moe.experts.12.w1", ModuleKind::expert,
       "model.layers.3.mlp.experts.12.w1"},
      {"MixtralForCausalLM", "model.layers.3.block_sparse_moe.gate", ModuleKind::parameter,
       "model.layers.3.mlp.gate"},
      {"MixtralForCausalLM", "layers.3.block_sparse_moe.gate", ModuleKind::parameter,
       "model.layers.3.mlp.gate"},
      {"Qwen2VLForConditionalGeneration", "model.layers.0.mlp.up_proj", ModuleKind::linear,
       "model.language_model.layers.0.mlp.up_proj"},
      {"Qwen2VLForConditionalGeneration", "model.language_model.layers.0.mlp.up_proj",
       ModuleKind::linear, "model.language_model.layers.0.mlp.up_proj"},
      {"Qwen2VLForConditionalGeneration", "visual.blocks.11.attn.qkv", ModuleKind::linear,
       "model.visual.blocks.11.attn.qkv"},
      {"Qwen2VLForConditionalGeneration", "visual.merger.mlp.2", ModuleKind::linear,
       "model.visual.merger.mlp.2"},
      {"GraniteMoeForCausalLM", "model.layers.4.block_sparse_moe.input_linear", ModuleKind::experts,
       "model.layers.4.block_sparse_moe.experts.gate_up_proj"},
      {"GraniteMoeForCausalLM", "model.layers.4.block_sparse_moe.output_linear",
       ModuleKind::experts, "model.layers.4.block_sparse_moe.experts.down_proj"},
  };
  for (const Example& row : rows) {
    SCOPED_TRACE(std::string(row.of) + " " + row.tensor);
    const auto found = class_of(row.of).find(row.tensor);
    ASSERT_TRUE(found);
    EXPECT_EQ(row.kind, found->kind);
    EXPECT_EQ(row.module, found->module);
  }
  for (const char* other : {"layers.x.mlp.up_proj", "model.layers.7.mlp", "model.layers.7",
                            "model.layers.7.mlp.up_proj.lora", "model.layers.*.mlp.up_proj",
                            "model.layers.7.mlp.up_proj.", "model.layers.7.mlp.up_proj.="}) {
    EXPECT_FALSE(class_of("LlamaForCausalLM").find(other)) << other;
  }
}

TEST(ModelClass, AKindIsWhatTheModuleIs) {
  const Example rows[] = {
      {"T5ForConditionalGeneration", "shared", ModuleKind::embedding, nullptr},
      {"T5ForConditionalGeneration", "encoder.block.0.layer.1.DenseReluDense.wo",
       ModuleKind::protected_linear, nullptr},
      {"T5ForConditionalGeneration", "encoder.block.0.layer.1.DenseReluDense.wi",
       ModuleKind::linear, nullptr},
      {"T5ForConditionalGeneration",
       "decoder.block.0.layer.0.SelfAttention.relative_attention_bias", ModuleKind::embedding,
       nullptr},
      {"GptOssForCausalLM", "model.layers.0.mlp.experts.gate_up_proj",
       ModuleKind::interleaved_experts, nullptr},
      {"Qwen3VLMoeForConditionalGeneration",
       "model.language_model.layers.0.mlp.experts.gate_up_proj", ModuleKind::experts, nullptr},
      {"LlamaForCausalLM", "lm_head", ModuleKind::kept_linear, nullptr},
      {"LlamaForCausalLM", "model.embed_tokens", ModuleKind::embedding, nullptr},
      {"Llama4ForConditionalGeneration", "language_model.model.layers.0.feed_forward.router",
       ModuleKind::other_linear, nullptr},
  };
  for (const Example& row : rows) {
    SCOPED_TRACE(std::string(row.of) + " " + row.tensor);
    const auto found = class_of(row.of).find(row.tensor);
    ASSERT_TRUE(found);
    EXPECT_EQ(row.kind, found->kind);
    EXPECT_EQ(row.tensor, found->module);
  }
  EXPECT_TRUE(class_of("GptOssForCausalLM").interleaves_experts());
  EXPECT_FALSE(class_of("Qwen3VLMoeForConditionalGeneration").interleaves_experts());
}

TEST(ModelClass, TiesAndWhatIsPassedOverAreTheClass) {
  EXPECT_TRUE(class_of("LlamaForCausalLM").is_tied("lm_head"));
  EXPECT_FALSE(class_of("LlamaForCausalLM").is_tied("lm_head2"));
  EXPECT_FALSE(class_of("LlamaForCausalLM").is_tied("model.embed_tokens"));
  EXPECT_TRUE(class_of("BertForMaskedLM").is_tied("cls.predictions.decoder"));
  EXPECT_TRUE(class_of("T5ForConditionalGeneration").is_tied("encoder.embed_tokens"));
  EXPECT_TRUE(class_of("DeepseekV3ForCausalLM").passes_over("model.layers.61.eh_proj.weight"));
  EXPECT_FALSE(class_of("DeepseekV3ForCausalLM").passes_over("model.layers.60.eh_proj.weight"));
  EXPECT_EQ((std::vector<std::string>{"model.norm", "norm"}),
            class_of("LlamaForCausalLM").spellings("model.norm"));
  EXPECT_EQ(std::vector<std::string>{"lm_head"}, class_of("LlamaForCausalLM").spellings("lm_head"));
}

/// The name with "*" for its numbers.
std::string with_stars(const std::string& name) {
  std::string made;
  std::string_view rest = name;
  while (!rest.empty()) {
    const std::string_view part = checkpoint::take(rest, '.');
    if (!made.empty()) made += '.';
    made += checkpoint::is_number(part) ? std::string_view("*") : part;
  }
  return made;
}

bool is_merged(ModuleKind kind) {
  return kind == ModuleKind::expert || kind == ModuleKind::remade || kind == ModuleKind::parameter;
}

// What the class renames is a name that its files have, and what comes out is a module of it with
// the same kind, unless loading makes another tensor of it.
TEST(ModelClass, EveryRowOfTheTableIsWhole) {
  const std::vector<std::string> names = all_classes();
  ASSERT_LT(1000U, names.size());
  EXPECT_EQ(names.size(), std::set<std::string>(names.begin(), names.end()).size());
  std::size_t moved = 0;
  std::set<std::size_t> done;  // trees of modules of classes that rename nothing
  for (const std::string& name : names) {
    const Architecture& one = class_of(name);
    SCOPED_TRACE(name);
    ASSERT_EQ(name, one.name);
    ASSERT_LT(one.module_tree, one.trees->size());
    ASSERT_LT(one.file_tree, one.trees->size());
    if (one.moves.empty() && !done.insert(one.module_tree).second) continue;
    const auto modules = one.modules();
    EXPECT_FALSE(modules.empty());
    for (const auto& [module, kind] : modules) {
      EXPECT_EQ(kind, one.trees->find(one.module_tree, with_numbers(module))) << module;
    }
    // Names whose numbers go to different modules are moved by them: 5 may be none of them.
    const bool by_its_numbers = std::ranges::any_of(
        one.moves, [](const auto& move) { return with_stars(move.first) != move.first; });
    one.trees->each(one.file_tree, [&](const std::string& file, ModuleKind kind) {
      const auto found = one.find(with_numbers(file, '5'));
      ASSERT_TRUE(found) << file;
      EXPECT_EQ(kind, found->kind) << file;
      if (found->module != with_numbers(file, '5')) ++moved;
      if (is_merged(kind) || by_its_numbers) return;
      // A number of the module's that the file's name does not say stays "*".
      EXPECT_EQ(kind, one.trees->find(one.module_tree, with_numbers(found->module)))
          << file << " is " << found->module;
    });
    for (const auto& move : one.moves) {
      const std::string& from = move.first;
      bool any = false;
      one.trees->each(one.file_tree, [&](const std::string& file, ModuleKind) {
        const std::string begin = with_stars(from);
        any = any || file == from || file.starts_with(from + ".") || file == begin ||
              file.starts_with(begin + ".");
      });
      EXPECT_TRUE(any) << from << " is no prefix of a name of the files";
    }
  }
  EXPECT_LT(1000U, moved);
}

TEST(ModelClass, TheTableIsOfBoundedSize) {
  std::size_t bytes = 0;
  for (const std::string_view piece : kPieces) bytes += piece.size();
  EXPECT_GE(300U * 1024, bytes);
  EXPECT_FALSE(checkpoint::table_release().empty());
}

TEST(ModelClass, NamesThatNoModelHasAreNotFound) {
  constexpr std::size_t kParts = 100'000;
  std::string dots(kParts, '.'), numbers, layers = "model";
  for (std::size_t i = 0; i < kParts; ++i) numbers += "0.";
  for (std::size_t i = 0; i < kParts; ++i) layers += ".layers.0";
  const std::vector<std::string> hostile{"",
                                         ".",
                                         "..",
                                         dots,
                                         numbers,
                                         layers,
                                         "model.",
                                         ".model",
                                         "model..layers.0",
                                         "*",
                                         "model.layers.*.mlp.up_proj.",
                                         "=",
                                         std::string(kParts, '9'),
                                         std::string("model\0.layers", 13),
                                         "\xff\xfe"};
  for (const char* name : {"LlamaForCausalLM", "MixtralForCausalLM", "GPT2LMHeadModel",
                           "Qwen2VLForConditionalGeneration", "GraniteMoeForCausalLM"}) {
    const Architecture& one = class_of(name);
    for (const std::string& tensor : hostile) {
      EXPECT_FALSE(one.find(tensor)) << name << " " << tensor.substr(0, 40);
      EXPECT_FALSE(one.passes_over(tensor.empty() ? "x" : tensor)) << name;
      (void)one.is_tied(tensor);
      (void)one.spellings(tensor);
    }
  }
}

// A number of any length is a number.
TEST(ModelClass, NumbersKeepTheirDigits) {
  const std::string digits(100'000, '7');
  const auto found =
      class_of("MixtralForCausalLM").find("model.layers." + digits + ".block_sparse_moe.gate");
  ASSERT_TRUE(found);
  EXPECT_EQ("model.layers." + digits + ".mlp.gate", found->module);
}

}  // namespace
}  // namespace octavo::test::model_class_test
