// SPDX-License-Identifier: Apache-2.0
// quantize_file with a rotation: a file of ComfyUI's, whose layers are quantize_weight's.
#include <algorithm>
#include <limits>
#include <random>
#include <string_view>

#include "checkpoint/same_weight.hpp"
#include "checkpoint/support.hpp"
#include "support/source_folder.hpp"

namespace octavo::test::rotated_file_test {
namespace {

class RotatedFile : public Scratch {
 protected:
  std::vector<float> wide_ = gaussian(12 * 512), narrow_ = gaussian(7 * 40);

  void SetUp() override {
    write_safetensors(path("float"),
                      {stored("m.q_proj.weight", "F32", {12, 512}, wide_),
                       stored("m.up_proj.weight", "F32", {7, 40}, narrow_),
                       stored("m.norm.weight", "F32", {40}, gaussian(40))},
                      {{"format", "pt"}, {"quantization_config", "an older one"}});
  }
  static std::vector<float> gaussian(std::size_t count) {
    std::mt19937 generator(static_cast<unsigned>(count));
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& v : values) v = normal(generator);
    return values;
  }
  static std::string_view text(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

TEST_F(RotatedFile, HasTheLayersOfQuantizeWeight) {
  for (const std::int32_t block : {16, 64, 256}) {
    for (const int threads : {1, 3}) {
      const QuantizeReport report = quantize_file(
          path("float"), path("out"), {.guess = true, .rotation = block, .threads = threads});
      const Checkpoint out = open_checkpoint(path("out"));
      expect_same_weight(out.weight("m.q_proj"),
                         quantize_weight(view(wide_, {12, 512}), Scheme::int8_dynamic, block));
      // 40 columns are no whole blocks.
      expect_same_weight(out.weight("m.up_proj"),
                         quantize_weight(view(narrow_, {7, 40}), Scheme::int8_dynamic));
      EXPECT_EQ(R"({"format": "int8_tensorwise"})", text(out.bytes("m.up_proj.comfy_quant")));
      EXPECT_EQ(40, out.tensor("m.norm.weight").numel());
      EXPECT_FALSE(out.metadata().contains("quantization_config"));
      EXPECT_TRUE(std::ranges::any_of(report.warnings, [](const std::string& w) {
        return w.find("got 1 that it does not, the first 'm.up_proj' with 40") != std::string::npos;
      }));
      ASSERT_EQ(2U, report.layers.size());
      const LayerReport whole =
          compare_weight("m.q_proj", view(wide_, {12, 512}), out.weight("m.q_proj"));
      const auto row = std::ranges::find(report.layers, "m.q_proj", &LayerReport::name);
      EXPECT_EQ(whole.sqnr_db, row->sqnr_db);
      EXPECT_EQ(whole.bytes_before, row->bytes_before);
    }
  }
}

TEST_F(RotatedFile, RefusesWhatItsReadersCannot) {
  const auto refuses = [&](Code code, const std::string& in, const QuantizeFileOptions& options,
                           std::string_view fragment) {
    expect_error(code, fragment, [&] { (void)quantize_file(in, path("out"), options); });
    EXPECT_FALSE(std::filesystem::exists(path("out")));
  };
  refuses(Code::invalid_argument, path("float"), {.guess = true, .rotation = 32},
          "quantize_file: rotation must be 16, 64 or 256; got 32");
  refuses(Code::unsupported, path("float"),
          {.scheme = Scheme::fp8_dynamic, .guess = true, .rotation = 64},
          "scheme must be int8-dynamic for rotation (--rotate), since no reader of the others "
          "rotates activations; got fp8-dynamic");
  refuses(Code::unsupported, in_checkout("tests/checkpoint/data/llm-compressor-fp8-channel"),
          {.rotation = 64, .requantize = true},
          "rotation (--rotate) must be 0 for a folder, since readers of compressed-tensors");
  wide_[5] = std::numeric_limits<float>::quiet_NaN();
  write_safetensors(path("nan"), {stored("m.q_proj.weight", "F32", {12, 512}, wide_)});
  refuses(Code::corrupt_data, path("nan"), {.guess = true, .rotation = 64},
          "the weight of layer 'm.q_proj' must be finite before and after its rotation");
}

}  // namespace
}  // namespace octavo::test::rotated_file_test
