// SPDX-License-Identifier: Apache-2.0
// Models that were cast to fp8: values where nothing says "codes", codes where anything does.
#include <string>
#include <vector>

#include "checkpoint/support.hpp"
#include "octavo/checkpoint/unapplied.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::plain_fp8_test {
namespace {

using Tensors = std::vector<TensorToWrite>;
using Bytes = std::vector<std::uint8_t>;

// 1, -2, 0.5, 448, the least, 0 in float8_e4m3fn.
const Bytes kCodes{0x38, 0xC0, 0x30, 0x7E, 0x01, 0x00};

TensorToWrite weight(const std::string& name) {
  return stored(name + ".weight", "F8_E4M3", {2, 3}, kCodes);
}

class PlainFp8 : public Scratch {
 protected:
  std::string file(const Tensors& tensors, const std::map<std::string, std::string>& said = {}) {
    write_safetensors(path("x.safetensors"), tensors, said);
    return path("x.safetensors");
  }
};

Tensors model() {
  return {weight("model.a"),
          stored<std::uint8_t>("model.a.bias", "F8_E4M3", {2}, {0x38, 0x40}),
          stored<std::uint8_t>("model.norm.weight", "F8_E4M3", {2}, {0x38, 0x40}),
          stored<std::uint8_t>("model.key_norm.scale", "F8_E4M3", {2}, {0x38, 0x30}),
          stored<std::uint8_t>("model.conv.weight", "F8_E4M3", {1, 1, 1, 2}, {0x38, 0xC0}),
          stored<float>("model.scale_shift_table", "F32", {2}, {0.5F, 1.5F})};
}

TEST_F(PlainFp8, AreValuesToTheBit) {
  const Checkpoint in = open_checkpoint(file(model()));
  EXPECT_EQ(std::vector<std::string>{"model.a"}, in.quantized_layers());
  const Weight w = in.weight("model.a");
  EXPECT_EQ("fp8-weight-only", w.scheme);
  EXPECT_FALSE(w.activation);
  const Tensor values = float_values(w);
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) EXPECT_EQ(at(w.codes.data, i, j), at(values, i, j));
  }
  EXPECT_EQ(448.0, at(values, 1, 0));
  ASSERT_EQ(1U, unapplied_rules(in).size());
  EXPECT_EQ(0U, unapplied_rules(in)[0].find(
                    "fp8 tensors are values as they are, since neither a declaration nor a scale "
                    "is in '" +
                    path("x.safetensors") + "' (the first: 'model."))
      << unapplied_rules(in)[0];
}

TEST_F(PlainFp8, BecomeFloatsWhateverTheirShape) {
  const QuantizeReport report =
      dequantize_file(file(model()), path("out"), {.dtype = DType::float32});
  ASSERT_EQ(1U, report.warnings.size());
  const Checkpoint in = open_checkpoint(path("x.safetensors"));
  const Checkpoint out = open_checkpoint(path("out"));
  ASSERT_EQ(in.entries().size(), out.entries().size());
  for (const TensorEntry& entry : out.entries()) {
    SCOPED_TRACE(entry.name);
    EXPECT_EQ("F32", entry.dtype);
    const Tensor before = copy(in.tensor(entry.name), DType::float32);
    const Tensor after = out.tensor(entry.name);
    ASSERT_EQ(before.numel(), after.numel());
    for (std::int64_t i = 0; i < after.numel(); ++i) {
      EXPECT_EQ(before.data_as<float>()[i], after.data_as<float>()[i]);
    }
  }
}

TEST_F(PlainFp8, AreWrittenAsCodesThatAreReadAlike) {
  convert_file(file(model()), path("out"), {.format = Format::compressed_tensors});
  const Checkpoint out = open_checkpoint(path("out"));
  EXPECT_EQ(std::vector<std::string>{"model.a"}, out.quantized_layers());
  const Tensor values = float_values(out.weight("model.a"));
  EXPECT_EQ(-2.0, at(values, 0, 1));
  for (const char* name : {"model.a.bias", "model.norm.weight", "model.conv.weight"}) {
    EXPECT_EQ(bfloat16, out.tensor(name).dtype()) << name;
  }
}

// Anything that says "codes" makes a missing scale an error, and the sentence names it.
TEST_F(PlainFp8, AreCodesWhereADeclarationOrAScaleIs) {
  const auto scale = [](const std::string& name) {
    return stored<float>(name, "F32", {1}, {1.0F});
  };
  const struct {
    Tensors more;
    std::map<std::string, std::string> said;
    const char* by;
  } rows[] = {
      {{},
       {{"quantization_config", R"({"quant_method":"fp8"})"}},
       "metadata 'quantization_config'"},
      {{weight("b"), scale("b.weight_scale")},
       {},
       "tensor 'b.weight_scale' says that it holds codes"},
      {{weight("b"), scale("b.scale")}, {}, "tensor 'b.scale'"},
      {{weight("b"), scale("b.some_scale_of_it")}, {}, "tensor 'b.some_scale_of_it'"},
      {{stored("experts.up", "F8_E4M3", {1, 2, 3}, kCodes), scale("experts.up_scale_inv")},
       {},
       "tensor 'experts.up_scale_inv'"},
      {{scale("scaled_fp8")}, {}, "tensor 'scaled_fp8'"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.by);
    Tensors tensors = row.more;
    tensors.push_back(weight("a"));
    const Checkpoint in = open_checkpoint(file(tensors, row.said));
    expect_error(Code::corrupt_data, row.by, [&] { in.weight("a"); });
    expect_error(Code::corrupt_data, "must have its scale beside it", [&] { in.weight("a"); });
  }
  // One file of several: the scales may lie in another.
  write_safetensors(path("model-00001-of-00002.safetensors"), {weight("a")});
  const Checkpoint part = open_checkpoint(path("model-00001-of-00002.safetensors"));
  expect_error(Code::corrupt_data, "one of several says that it holds codes",
               [&] { part.weight("a"); });
}

}  // namespace
}  // namespace octavo::test::plain_fp8_test
