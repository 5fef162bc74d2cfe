// SPDX-License-Identifier: Apache-2.0
// Experts that a class keeps in one tensor: refused, left in float or written as layers, as the
// caller says; and which classes transformers loads in which form.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/models/loadable.hpp"
#include "checkpoint/support.hpp"

namespace octavo::test::experts_option_test {
namespace {

namespace fs = std::filesystem;
using checkpoint::check_class_loads;
using checkpoint::check_float_experts;
using checkpoint::ModelClass;
using checkpoint::WrittenForm;

constexpr Scheme kFolderSchemes[] = {Scheme::int8_dynamic, Scheme::fp8_dynamic, Scheme::fp8_block};
constexpr std::int64_t kExperts = 2, kInner = 8, kHidden = 16;

/// The stacks of a class, and a linear layer beside them.
struct Model {
  const char *name, *stem, *linear;
  bool inputs, interleaved;  ///< [E, K, N]; rows of gate and up alternate
};
constexpr Model kModels[] = {
    {"Qwen3VLMoeForConditionalGeneration", "model.language_model.layers.0.mlp.experts.",
     "model.language_model.layers.0.self_attn.q_proj", false, false},
    {"GptOssForCausalLM", "model.layers.0.mlp.experts.", "model.layers.0.self_attn.q_proj", true,
     true},
    {"Llama4ForConditionalGeneration", "language_model.model.layers.0.feed_forward.experts.",
     "language_model.model.layers.0.self_attn.q_proj", true, false},
};

std::string content(const Tensor& tensor) {
  return {tensor.data_as<char>(),
          static_cast<std::size_t>(tensor.numel() * element_bytes(tensor.dtype()))};
}

TensorToWrite floats(const std::string& name, std::vector<std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  std::vector<float> all(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>((i * 37) % 101) - 50.0F;
  return stored(name, "F32", std::move(shape), all);
}

/// An expert's layer [N, K] in a stack, written down element by element.
Tensor expert_of(const Tensor& stack, const Model& model, const std::string& part,
                 std::int64_t expert) {
  const bool down = part == "down_proj";
  const std::int64_t n = down ? kHidden : kInner, k = down ? kInner : kHidden;
  const std::int64_t rows = down ? n : 2 * n;
  const std::int64_t half = part == "up_proj" ? 1 : 0;
  Tensor made = Tensor::empty(DType::float32, {n, k});
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t row = down ? i : model.interleaved ? 2 * i + half : half * n + i;
    for (std::int64_t j = 0; j < k; ++j) {
      const std::int64_t at = model.inputs ? j * rows + row : row * k + j;
      made.data_as<float>()[i * k + j] = stack.data_as<float>()[expert * rows * k + at];
    }
  }
  return made;
}

class ExpertsOption : public Scratch {
 protected:
  void write(const char* name, std::vector<TensorToWrite> tensors) const {
    for (const char* old : {"in", "out"}) fs::remove_all(path(old));
    fs::create_directories(path("in"));
    write_safetensors(path("in/model.safetensors"), std::move(tensors));
    write_file(path("in/config.json"),
               std::string(R"({"dtype": "float32", "architectures": [")") + name + "\"]}");
  }
  void write(const Model& model) const {
    const std::string stem = model.stem;
    const std::int64_t two = 2 * kInner;
    using Shape = std::vector<std::int64_t>;
    std::vector<TensorToWrite> tensors{
        floats(stem + "gate_up_proj",
               model.inputs ? Shape{kExperts, kHidden, two} : Shape{kExperts, two, kHidden}),
        floats(stem + "down_proj",
               model.inputs ? Shape{kExperts, kInner, kHidden} : Shape{kExperts, kHidden, kInner}),
        floats(std::string(model.linear) + ".weight", {kHidden, kHidden})};
    if (model.interleaved) tensors.push_back(floats(stem + "gate_up_proj_bias", {kExperts, two}));
    write(model.name, std::move(tensors));
  }
  QuantizeReport quantize(const QuantizeFileOptions& options) const {
    fs::remove_all(path("out"));
    return quantize_file(path("in"), path("out"), options);
  }
};

TEST_F(ExpertsOption, AreRefusedUnlessTheCallerSaysWhatToDo) {
  for (const Model& model : kModels) {
    write(model);
    for (const Scheme scheme : kFolderSchemes) {
      const std::string want = std::string("since ") + model.name + " keeps them in one tensor";
      expect_error(Code::unsupported, want, [&] { quantize({.scheme = scheme}); });
      expect_error(Code::unsupported, "experts (--experts) must be separate",
                   [&] { estimate_quantization(path("in"), {.scheme = scheme}); });
      EXPECT_FALSE(fs::exists(path("out")));
    }
    // bitsandbytes has no layers for experts, whatever the caller says.
    for (const Experts experts : {Experts::as_loaded, Experts::separate}) {
      quantize({.scheme = Scheme::llm_int8, .experts = experts});
      EXPECT_EQ(std::vector<std::string>{model.linear},
                open_checkpoint(path("out")).quantized_layers());
    }
  }
}

TEST_F(ExpertsOption, InFloatTheyAreCopied) {
  for (const Model& model : kModels) {
    SCOPED_TRACE(model.name);
    write(model);
    quantize({.scheme = Scheme::fp8_dynamic, .experts = Experts::in_float});
    const Checkpoint in = open_checkpoint(path("in")), out = open_checkpoint(path("out"));
    EXPECT_EQ(std::vector<std::string>{model.linear}, out.quantized_layers());
    for (const TensorEntry& entry : in.entries()) {
      if (entry.name.find("experts") == std::string::npos) continue;
      EXPECT_EQ(in.bytes(entry.name), out.bytes(entry.name)) << entry.name;
    }
  }
}

TEST_F(ExpertsOption, SeparateTheyAreLayers) {
  for (const Model& model : kModels) {
    write(model);
    const Checkpoint in = open_checkpoint(path("in"));
    for (const Scheme scheme : {Scheme::int8_dynamic, Scheme::fp8_block}) {
      SCOPED_TRACE(std::string(model.name) + " " + std::string(scheme_name(scheme)));
      quantize({.scheme = scheme, .experts = Experts::separate});
      const Checkpoint out = open_checkpoint(path("out"));
      EXPECT_EQ(static_cast<std::size_t>(kExperts * 3 + 1), out.quantized_layers().size());
      for (const std::string part : {"gate_proj", "up_proj", "down_proj"}) {
        const Tensor stack = in.tensor(std::string(model.stem) +
                                       (part == "down_proj" ? "down_proj" : "gate_up_proj"));
        for (std::int64_t e = 0; e < kExperts; ++e) {
          const Weight got = out.weight(model.stem + std::to_string(e) + "." + part);
          const Weight want = quantize_weight(expert_of(stack, model, part, e), scheme);
          EXPECT_EQ(content(want.codes.data), content(got.codes.data)) << e << part;
          EXPECT_EQ(content(want.codes.scale), content(got.codes.scale)) << e << part;
        }
      }
      EXPECT_FALSE(out.contains(std::string(model.stem) + "gate_up_proj"));
      EXPECT_TRUE(
          out.contains(std::string(model.stem) + "0.up_proj.weight"));  // in bytes, for vLLM
      EXPECT_EQ(model.interleaved, out.contains(std::string(model.stem) + "1.up_proj.bias"));
    }
  }
}

// Its stacks have names of their own, which say nothing of gate and up: no layers are made of them.
TEST_F(ExpertsOption, StacksUnderOtherNamesStayOrAreRefused) {
  const std::string stem = "model.layers.0.block_sparse_moe.";
  write("GraniteMoeForCausalLM",
        {floats(stem + "input_linear.weight", {kExperts, 2 * kInner, kHidden}),
         floats(stem + "output_linear.weight", {kExperts, kHidden, kInner}),
         floats("model.layers.0.self_attn.q_proj.weight", {kHidden, kHidden})});
  for (const Experts experts : {Experts::as_loaded, Experts::separate}) {
    expect_error(Code::unsupported,
                 "experts (--experts) must be float, since GraniteMoeForCausalLM keeps them in one "
                 "tensor",
                 [&] { quantize({.experts = experts}); });
    EXPECT_FALSE(fs::exists(path("out")));
  }
  quantize({.experts = Experts::in_float});
  const Checkpoint in = open_checkpoint(path("in")), out = open_checkpoint(path("out"));
  for (const char* name : {"input_linear.weight", "output_linear.weight"}) {
    EXPECT_EQ(in.bytes(stem + name), out.bytes(stem + name));
  }
}

// A class that merges experts while it loads them takes layers as they are; where some of them are
// in float beside int8, it drops them.
TEST_F(ExpertsOption, ExpertsInLayersAreQuantizedTogether) {
  const std::string stem = "model.layers.0.block_sparse_moe.experts.";
  std::vector<TensorToWrite> tensors{
      floats("model.layers.0.self_attn.q_proj.weight", {kHidden, kHidden})};
  for (const char* layer : {"0.w1", "0.w2", "0.w3", "1.w1", "1.w2", "1.w3"}) {
    tensors.push_back(floats(stem + layer + ".weight", {kHidden, kHidden}));
  }
  write("MixtralForCausalLM", tensors);
  quantize({});
  EXPECT_EQ(7U, open_checkpoint(path("out")).quantized_layers().size());
  const std::vector<std::string> ignore{stem + "1.w2"};
  expect_error(Code::unsupported,
               "experts of MixtralForCausalLM must be quantised with the other layers",
               [&] { quantize({.ignore = ignore}); });
  EXPECT_FALSE(fs::exists(path("out")));
  quantize({.scheme = Scheme::fp8_dynamic, .ignore = ignore});
  EXPECT_EQ(6U, open_checkpoint(path("out")).quantized_layers().size());
  // A file is loaded by no class.
  quantize_file(path("in/model.safetensors"), path("q.safetensors"), {.ignore = ignore});
  EXPECT_EQ(6U, open_checkpoint(path("q.safetensors")).quantized_layers().size());
}

TEST(Loadable, AClassThatSplitsOrJoinsWeightsIsRefused) {
  const struct {
    bool splits, joins, bitsandbytes, int8;
    const char* fragment;  ///< null: it loads
  } rows[] = {
      {false, false, false, true, nullptr},
      {false, false, false, false, nullptr},
      {true, false, false, true, "scheme must be that of bitsandbytes for A, whose weights"},
      {true, false, false, false, "splits while it loads them"},
      {true, true, false, false, "splits while it loads them"},
      {false, true, false, true, "scheme must be that of bitsandbytes or of fp8 for A"},
      {false, true, false, false, nullptr},
      {true, true, true, true, nullptr},
  };
  for (const auto& row : rows) {
    auto one = std::make_shared<checkpoint::Architecture>();
    one->name = "A";
    one->splits_weights = row.splits;
    one->joins_weights = row.joins;
    const ModelClass model{.architecture = one};
    const WrittenForm form{"quantize_file", "scheme", "x", row.bitsandbytes, row.int8};
    if (row.fragment == nullptr) {
      check_class_loads(form, model);
    } else {
      expect_error(Code::unsupported, row.fragment, [&] { check_class_loads(form, model); });
    }
    check_class_loads(form, {});
    check_float_experts(form, model, "");
    const auto with_expert = [&] { check_float_experts(form, model, "x.experts.0.w1"); };
    if (row.int8 && !row.bitsandbytes) {
      expect_error(Code::unsupported, "got x for 'x.experts.0.w1' in float", with_expert);
    } else {
      with_expert();
    }
  }
}

}  // namespace
}  // namespace octavo::test::experts_option_test
