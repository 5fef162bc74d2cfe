// SPDX-License-Identifier: Apache-2.0
// MXFP8 activations: what a file's rule makes of them, beside what the tools that write such files
// make of them (tests/checkpoint/data/make_mx_activations.py).
#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "checkpoint/support.hpp"
#include "ops/helpers.hpp"
#include "support/source_folder.hpp"

namespace octavo::test::mx_activations_test {
namespace {

constexpr std::int64_t kGroup = 32;

struct Declared {
  const char* tool;    ///< whose function counts
  const char* config;  ///< nullptr: none
  const char* scale = "p.weight_scale";
};
constexpr Declared kDeclared[] = {
    {"compressed-tensors",
     R"({"quant_method":"compressed-tensors","config_groups":{"g":{"targets":["Linear"],
         "weights":{"num_bits":8,"type":"float","strategy":"group","group_size":32},
         "input_activations":{"num_bits":8,"type":"float","strategy":"group","group_size":32,
                              "dynamic":true,"scale_dtype":"torch.uint8"}}}})"},
    {"compressed-tensors",
     R"({"quant_method":"compressed-tensors","config_groups":{"MXFP8":["Linear"]}})"},
    {"modelopt", R"({"quant_method":"modelopt","quant_algo":"MXFP8"})"},
    {"modelopt", nullptr},
    // MiniMax-M3 and HY-V4; vLLM rounds their activations as ModelOpt does.
    {"modelopt", R"({"quant_method":"mxfp8","weight_block_size":[1,32]})", "p.weight_scale_inv"},
    {"modelopt", nullptr, "p.weight_scale_inv"},
};

class MxActivations : public Scratch {
 protected:
  ActivationQuant rule(const Declared& row) const {
    std::map<std::string, std::string> metadata;
    if (row.config != nullptr) metadata.emplace("quantization_config", row.config);
    write_safetensors(path("x"),
                      {stored<std::uint8_t>("p.weight", "F8_E4M3", {1, kGroup},
                                            std::vector<std::uint8_t>(kGroup, 0x38)),
                       stored<std::uint8_t>(row.scale, "U8", {1, 1}, {127})},
                      metadata);
    const Weight w = open_checkpoint(path("x")).weight("p");
    EXPECT_EQ("mxfp8", w.scheme);
    return w.activation.value();
  }
};

/// compressed-tensors doubles the scale of a group whose largest magnitude is 448 times a power of
/// two and fits without: ModelOpt, vLLM's reference and Octavo do not.
bool on_the_edge(const Tensor& x, std::int64_t row, std::int64_t column) {
  double largest = 0;
  const std::int64_t begin = column / kGroup * kGroup;
  for (std::int64_t j = begin; j < begin + kGroup; ++j) {
    largest = std::max(largest, std::abs(at(x, row, j)));
  }
  int exponent = 0;
  return std::frexp(largest, &exponent) == 448.0 / 512.0;
}

TEST_F(MxActivations, AreTheToolsOwn) {
  const Checkpoint expected =
      open_checkpoint(in_checkout("tests/checkpoint/data/mx-activations.expected.safetensors"));
  const Tensor x = expected.tensor("x");
  for (const Declared& row : kDeclared) {
    SCOPED_TRACE(row.config == nullptr ? "undeclared" : row.config);
    const ActivationQuant by = rule(row);
    const Quantized q = quantize(
        x,
        {.dtype = by.spec.dtype, .granularity = by.spec.granularity, .rounding = by.spec.rounding});
    const Tensor want = expected.tensor(std::string(row.tool) + ".x_quantised");
    const bool edges = row.tool != std::string("compressed-tensors");
    for (std::int64_t i = 0; i < x.size(0); ++i) {
      for (std::int64_t j = 0; j < x.size(1); ++j) {
        if (!edges && on_the_edge(x, i, j)) continue;
        ASSERT_EQ(at(want, i, j), at(q.data, i, j) * at(q.scale, i, j / kGroup)) << i << ' ' << j;
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::mx_activations_test
