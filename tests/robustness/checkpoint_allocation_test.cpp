// SPDX-License-Identifier: Apache-2.0
// Failing every allocation of reading, writing and quantising a checkpoint: an Error, no leak, and
// the file that was there before.
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "robustness/allocation.hpp"

namespace octavo::test::checkpoint_allocation_test {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> float_bytes(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 17) - 8.0F;
  std::vector<std::byte> bytes(count * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::vector<std::byte> bytes_of(std::size_t count, int value) {
  return std::vector<std::byte>(count, static_cast<std::byte>(value));
}

// A folder with a small float model and its four quantised forms.
class Models {
 public:
  Models()
      : folder_(fs::temp_directory_path() / ("octavo-allocation-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
    write_safetensors(path("float32"), tensors(), {{"made by", "a test"}});
    for (const Scheme scheme :
         {Scheme::int8_dynamic, Scheme::fp8_dynamic, Scheme::fp8_block, Scheme::llm_int8}) {
      quantize_file(path("float32"), path(std::string(scheme_name(scheme))), {.scheme = scheme});
    }
    // As bitsandbytes saved layers of one tile after a forward pass.
    write_safetensors(path("tiled"),
                      {{"a.dense.weight", "I8", {8, 32}, [] { return bytes_of(256, 1); }},
                       {"a.dense.SCB", "F32", {6}, [] { return float_bytes(6); }},
                       {"a.dense.weight_format", "U8", {}, [] { return bytes_of(1, 2); }}});
  }
  Models(const Models&) = delete;
  Models& operator=(const Models&) = delete;
  ~Models() { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ / (name + ".safetensors"); }
  std::size_t files() const {
    const fs::directory_iterator all(folder_);
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }

  static std::vector<TensorToWrite> tensors() {
    return {{"a.dense.weight", "F32", {6, 8}, [] { return float_bytes(48); }},
            {"a.dense.bias", "F32", {6}, [] { return float_bytes(6); }},
            {"b.dense.weight", "F32", {3, 5}, [] { return float_bytes(15); }}};
  }

 private:
  fs::path folder_;
};

const Models& models() {
  static const Models all;
  return all;
}

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<EntryPoint> entry_points() {
  using C = const ExecContext&;
  const auto read = [](const char* scheme) {
    return [path = models().path(scheme)](C) {
      const Checkpoint model = open_checkpoint(path);
      (void)pack(model.weight("a.dense"));
      (void)model.quantized_layers();
    };
  };
  const auto to_write = std::make_shared<std::vector<TensorToWrite>>();
  const auto shards = std::make_shared<std::vector<Weight>>();
  const auto layers = std::make_shared<std::vector<LayerToWrite>>();
  const QuantizeFileOptions outliers{.scheme = Scheme::llm_int8,
                                     .outlier_columns = {{"a.dense", {0, 2}}}};
  const QuantizeFileOptions options{.scheme = Scheme::fp8_block, .ignore = {"b.dense"}};
  return {
      {"OpenAndReadTensors",
       [path = models().path("float32")](C) {
         const Checkpoint model = open_checkpoint(path);
         (void)model.tensor("a.dense.weight");
         (void)model.bytes("a.dense.bias");
       }},
      {"ReadFloatWeights", read("float32")},
      {"ReadInt8Dynamic", read("int8-dynamic")},
      {"ReadFp8Dynamic", read("fp8-dynamic")},
      {"ReadFp8Block", read("fp8-block")},
      {"ReadLlmInt8", read("llm-int8")},
      {"Write",
       [=, path = models().path("written")](C) { write_safetensors(path, std::move(*to_write)); },
       [=] { *to_write = Models::tensors(); }},
      {"QuantizeFile", [=, in = models().path("float32"), out = models().path("again")](
                           C) { (void)quantize_file(in, out, options); }},
      {"QuantizeFileWithOutlierColumns",
       [=, in = models().path("float32"), out = models().path("again")](C) {
         (void)quantize_file(in, out, outliers);
         (void)open_checkpoint(out).weight("a.dense");
       }},
      {"FuseAndWriteCheckpoint",
       [=, out = models().path("again")](C) {
         (void)fuse(*shards);
         write_checkpoint(out, *layers);
       },
       [=, in = models().path("llm-int8")] {
         const Weight weight = open_checkpoint(in).weight("a.dense");
         *shards = {weight, weight};
         *layers = {{"a", weight}, {"b", fuse(*shards)}};
       }},
      {"ReadTiledCodes",
       [in = models().path("tiled")](C) { (void)open_checkpoint(in).weight("a.dense"); }},
  };
}

class CheckpointAllocation : public testing::TestWithParam<EntryPoint> {};

TEST_P(CheckpointAllocation, FailingTheNthIsAnOutOfMemoryErrorWithoutALeak) {
  expect_out_of_memory(GetParam());
}

INSTANTIATE_TEST_SUITE_P(EntryPoints, CheckpointAllocation, testing::ValuesIn(entry_points()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(CheckpointAllocationFailure, LeavesTheTargetAndTheFolderAsTheyWere) {
  const std::string target = models().path("int8-dynamic");
  const std::string before = content(target);
  const EntryPoint entry{"QuantizeOver", [&, in = models().path("float32")](const ExecContext&) {
                           (void)quantize_file(in, target, {.scheme = Scheme::llm_int8});
                         }};
  const std::size_t files = models().files();
  for (std::int64_t n = 1; failing_from(n, entry).threw; ++n) {
    ASSERT_EQ(content(target), before) << "allocation " << n;
    ASSERT_EQ(models().files(), files) << "allocation " << n;
  }
  EXPECT_NE(content(target), before);  // the first call without a failure
}

}  // namespace
}  // namespace octavo::test::checkpoint_allocation_test
