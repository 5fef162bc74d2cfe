// SPDX-License-Identifier: Apache-2.0
// Folders: one file or an index with many, what declares their quantisation, and all that is wrong
// with either.
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/support.hpp"

namespace octavo::test::folder_test {
namespace {

using Folder = Scratch;

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kChannel =
    R"({"quant_method":"compressed-tensors","format":"int-quantized","config_groups":{"group_0":{)"
    R"("targets":["Linear"],"weights":{"num_bits":8,"type":"int","strategy":"channel"},)"
    R"("input_activations":{"num_bits":8,"type":"int","strategy":"token","dynamic":true}}}})";

std::vector<TensorToWrite> codes(const std::string& layer) {
  return {stored<std::int8_t>(layer + ".weight", "I8", {2, 2}, {1, 2, 3, 4})};
}
std::vector<TensorToWrite> scale(const std::string& layer) {
  return {stored<float>(layer + ".weight_scale", "F32", {2, 1}, {0.5F, 0.25F})};
}

std::string index_of(const std::string& map) {
  return R"({"metadata":{"total_size":12},"weight_map":{)" + map + "}}";
}

/// Codes in one file, their scales in the other.
void write_two(const Folder&, const std::string& folder) {
  write_safetensors(folder + "/a.safetensors", codes("p"));
  write_safetensors(folder + "/b.safetensors", scale("p"));
  write_file(folder + "/" + kIndex,
             index_of(R"("p.weight":"a.safetensors","p.weight_scale":"b.safetensors")"));
}

TEST_F(Folder, ScalesAreFoundInAnotherFile) {
  write_two(*this, folder_.string());
  for (const std::string& opened : {folder_.string(), path(kIndex), folder_.string() + "/"}) {
    SCOPED_TRACE(opened);
    const Checkpoint model = open_checkpoint(opened);
    EXPECT_EQ(2U, model.files().size());
    EXPECT_EQ(std::vector<std::string>{"p"}, model.quantized_layers());
    const Weight weight = model.weight("p");
    EXPECT_EQ(0.25F, weight.codes.scale.data_as<float>()[1]);
    EXPECT_EQ(4, weight.codes.data.data_as<std::int8_t>()[3]);
    EXPECT_EQ(1U, model.entries()[1].file);
    EXPECT_FALSE(model.folder().empty());
  }
  const Checkpoint one = open_checkpoint(path("a.safetensors"));
  EXPECT_TRUE(one.folder().empty());
  expect_error(Code::corrupt_data, "must have its scale beside it", [&] { (void)one.weight("p"); });
}

// Both open, since each is a good file; what is made of them would be half a model.
TEST_F(Folder, WhatIsMissingIsSaidAndRefusedAsInput) {
  const struct {
    const char* file;
    bool job;
    const char* missing;  ///< null: nothing
  } rows[] = {
      {"model-00001-of-00002.safetensors", false, "must hold all 2 files of the model"},
      {"model-00002-of-00010.safetensors", false, "must hold all 10 files of the model"},
      {"model-00001-of-00001.safetensors", false, nullptr},
      {"model.safetensors", false, nullptr},
      {"model.safetensors", true, "must be written to its end; got .octavo-job.json"},
  };
  int number = 0;
  for (const auto& row : rows) {
    SCOPED_TRACE(row.file);
    const std::string in = path("in" + std::to_string(number++)), out = path("out");
    std::filesystem::create_directories(in);
    std::vector<TensorToWrite> tensors = codes("p");
    tensors.push_back(scale("p")[0]);
    write_safetensors(in + "/" + row.file, std::move(tensors));
    if (row.job) write_file(in + "/.octavo-job.json", "{}");
    const std::vector<std::string> missing = missing_parts(open_checkpoint(in));
    EXPECT_TRUE(missing_parts(open_checkpoint(in + "/" + row.file)).empty());
    ASSERT_EQ(row.missing == nullptr ? 0U : 1U, missing.size());
    if (row.missing == nullptr) {
      dequantize_file(in, out);
      std::filesystem::remove_all(out);
      continue;
    }
    EXPECT_NE(std::string::npos, missing[0].find(row.missing)) << missing[0];
    expect_error(Code::corrupt_data, row.missing, [&] { dequantize_file(in, out); });
    expect_error(Code::corrupt_data, row.missing, [&] { convert_file(in, out, {}); });
    expect_error(Code::corrupt_data, row.missing,
                 [&] { quantize_file(in, out, {.requantize = true}); });
    expect_error(Code::corrupt_data, row.missing,
                 [&] { estimate_quantization(in, {.requantize = true}); });
    EXPECT_FALSE(std::filesystem::exists(out));
  }
}

TEST_F(Folder, OneFileNeedsNoIndex) {
  write_safetensors(path("adapter_model.safetensors"), codes("p"));
  EXPECT_EQ(1U, open_checkpoint(folder_.string()).files().size());
  write_safetensors(path("model.safetensors"), scale("p"));
  EXPECT_TRUE(open_checkpoint(folder_.string()).contains("p.weight_scale"));
}

TEST_F(Folder, LinksAreFollowedAsHubCachesHaveThem) {
  std::filesystem::create_directories(path("blobs"));
  std::filesystem::create_directories(path("snapshots/x"));
  write_two(*this, path("blobs"));
  for (const char* name : {"a.safetensors", "b.safetensors", kIndex}) {
    std::filesystem::create_symlink("../../blobs/" + std::string(name),
                                    path("snapshots/x/" + std::string(name)));
  }
  EXPECT_EQ("int8-dynamic", open_checkpoint(path("snapshots/x")).weight("p").scheme);
}

TEST_F(Folder, WhatIsWrongIsNamed) {
  const struct {
    const char* index;
    Code code;
    const char* fragment;
  } rows[] = {
      {"", Code::corrupt_data, "must be JSON"},
      {"[]", Code::corrupt_data, "must have an object 'weight_map'"},
      {"{}", Code::corrupt_data, "must have an object 'weight_map'"},
      {R"({"weight_map":[]})", Code::corrupt_data, "must have an object 'weight_map'"},
      {R"({"weight_map":{}})", Code::corrupt_data, "at least one file"},
      {R"({"weight_map":{"p.weight":7}})", Code::corrupt_data, "got '7' for tensor 'p.weight'"},
      {R"({"weight_map":{"p.weight":""}})", Code::corrupt_data, "names of files|without folders"},
      {R"({"weight_map":{"p.weight":"../a.safetensors"}})", Code::corrupt_data, "without folders"},
      {R"({"weight_map":{"p.weight":"/etc/passwd"}})", Code::corrupt_data, "without folders"},
      {R"({"weight_map":{"p.weight":".."}})", Code::corrupt_data, "without folders"},
      {R"({"weight_map":{"p.weight":"a\u0000b"}})", Code::corrupt_data, "without folders"},
      {R"({"weight_map":{"p.weight":"a\\b"}})", Code::corrupt_data, "without folders"},
      {R"({"weight_map":{"p.weight":"none.safetensors"}})", Code::unavailable,
       "says that it holds tensor 'p.weight'"},
      {R"({"weight_map":{"p.weight":"a.safetensors","p.weight":"b.safetensors"}})",
       Code::corrupt_data, "with each key once"},
      {R"({"weight_map":{"p.weight":"a.safetensors"}})", Code::corrupt_data, ""},
  };
  write_two(*this, folder_.string());
  for (const auto& row : rows) {
    SCOPED_TRACE(row.index);
    write_file(path(kIndex), row.index);
    const std::string fragment(row.fragment);
    if (fragment.empty()) {  // fewer files than lie there: those of an older model
      EXPECT_EQ(1U, open_checkpoint(folder_.string()).files().size());
      continue;
    }
    expect_error(row.code, fragment.substr(fragment.find('|') + 1),
                 [&] { open_checkpoint(folder_.string()); });
  }
  std::filesystem::remove(path(kIndex));
  expect_error(Code::corrupt_data, "must have one *.safetensors.index.json for its 2",
               [&] { open_checkpoint(folder_.string()); });
  expect_error(Code::unavailable, "cannot open index", [&] { open_checkpoint(path(kIndex)); });
}

TEST_F(Folder, WithoutSafetensorsSaysWhatItHolds) {
  expect_error(Code::unavailable, "got none", [&] { open_checkpoint(folder_.string()); });
  write_file(path("pytorch_model.bin"), "x");
  expect_error(Code::unavailable, "'pytorch_model.bin': save the model as safetensors first",
               [&] { open_checkpoint(folder_.string()); });
  write_two(*this, folder_.string());
  write_safetensors(path("model.safetensors"), codes("p"));
  const Checkpoint both = open_checkpoint(folder_.string());  // transformers reads the one file
  EXPECT_EQ("model.safetensors", both.files().at(0).name);
  ASSERT_EQ(1U, index_findings(both).size());
  EXPECT_NE(std::string::npos, index_findings(both)[0].find("got both"));
}

// As transformers reads them: the index says which file counts.
TEST_F(Folder, TheIndexIsTheAuthorityAndWhatDisagreesIsTold) {
  write_two(*this, folder_.string());
  const auto with = [&](const char* map) {
    write_file(path(kIndex), index_of(map));
    return open_checkpoint(folder_.string());
  };
  const auto told = [](const Checkpoint& model, const char* what) {
    const std::vector<std::string> all = index_findings(model);
    return all.size() == 1 && all[0].find(what) != std::string::npos;
  };
  EXPECT_TRUE(index_findings(open_checkpoint(folder_.string())).empty());

  const Checkpoint nowhere =
      with(R"("p.weight":"a.safetensors","p.weight_scale":"b.safetensors","z":"a.safetensors")");
  EXPECT_TRUE(told(nowhere, "tensors that are nowhere, the first 'z' in 'a.safetensors'"));
  EXPECT_EQ("int8-dynamic", nowhere.weight("p").scheme);

  const Checkpoint unnamed = with(R"("p.weight":"a.safetensors","q":"b.safetensors")");
  EXPECT_EQ(2U, index_findings(unnamed).size());
  EXPECT_EQ("int8-dynamic", unnamed.weight("p").scheme) << "as transformers reads it";

  const Checkpoint wrong = with(R"("p.weight":"b.safetensors","p.weight_scale":"b.safetensors")");
  EXPECT_EQ(1U, wrong.files().size());
  expect_error(Code::corrupt_data, "'p.weight'", [&] { wrong.weight("p"); });
}

TEST_F(Folder, AStaleCopyInAnotherFileIsPassedOver) {
  write_two(*this, folder_.string());
  auto both = codes("p");
  for (TensorToWrite& tensor : scale("p")) both.push_back(std::move(tensor));
  write_safetensors(path("b.safetensors"), std::move(both));  // codes, too
  const Checkpoint model = open_checkpoint(folder_.string());
  EXPECT_EQ(2U, model.entries().size());
  ASSERT_EQ(1U, index_findings(model).size());
  EXPECT_NE(std::string::npos, index_findings(model)[0].find("'p.weight' in 'b.safetensors'"));
  EXPECT_EQ("int8-dynamic", model.weight("p").scheme);
  const auto report = dequantize_file(folder_.string(), folder_.string() + "-out");
  EXPECT_EQ(index_findings(model), report.warnings);
  EXPECT_TRUE(index_findings(open_checkpoint(folder_.string() + "-out")).empty());
}

TEST_F(Folder, AnIndexBesideTheOneFileThatItNamesIsRight) {
  auto all = codes("p");
  for (TensorToWrite& tensor : scale("p")) all.push_back(std::move(tensor));
  write_safetensors(path("model.safetensors"), std::move(all));
  write_file(path(kIndex),
             index_of(R"("p.weight":"model.safetensors","p.weight_scale":"model.safetensors")"));
  EXPECT_TRUE(index_findings(open_checkpoint(folder_.string())).empty());
  write_file(path(kIndex), index_of(R"("p.weight":"other.safetensors")"));
  EXPECT_EQ(1U, index_findings(open_checkpoint(folder_.string())).size());
}

TEST_F(Folder, EveryPlaceThatDeclaresTheQuantizationIsRead) {
  const std::string zero_points =
      R"({"quant_method":"compressed-tensors","config_groups":{"group_0":{"targets":["Linear"],)"
      R"("weights":{"num_bits":8,"type":"int","strategy":"channel"},"input_activations":null}}})";
  const auto rule = [&] { return open_checkpoint(folder_.string()).weight("p").activation; };
  write_two(*this, folder_.string());
  EXPECT_TRUE(rule().has_value());
  for (const std::string& config :
       {R"({"a":[NaN,{"b":"}"}],"quantization_config":)" + zero_points + "}",
        R"({"compression_config":)" + zero_points + R"(,"z":Infinity})",
        R"({"text_config":{"quantization_config":)" + zero_points + "}}"}) {
    SCOPED_TRACE(config);
    write_file(path("config.json"), config);
    EXPECT_FALSE(rule().has_value());
    EXPECT_EQ("config.json", open_checkpoint(folder_.string()).declarations().at(0).where);
  }
  write_file(path("config.json"), R"({"quantization_config":null})");
  EXPECT_TRUE(rule().has_value());
  write_file(path("config.json"), "{");
  expect_error(Code::corrupt_data, "config.json' must be a JSON object",
               [&] { open_checkpoint(folder_.string()); });
}

TEST_F(Folder, AFileTakesTheDeclarationBesideIt) {
  auto both = codes("p");
  both.push_back(scale("p")[0]);
  const std::string file = path("model.safetensors");
  const std::string weight_only =
      R"({"quantization_config":{"quant_method":"compressed-tensors","config_groups":{"group_0":{)"
      R"("targets":["Linear"],"weights":{"num_bits":8,"type":"int","strategy":"channel"}}}}})";
  write_safetensors(file, both);
  write_file(path("config.json"), weight_only);
  EXPECT_FALSE(open_checkpoint(file).weight("p").activation.has_value());
  write_safetensors(file, both, {{"quantization_config", kChannel}});
  EXPECT_TRUE(open_checkpoint(file).weight("p").activation.has_value()) << "its own counts alone";
}

TEST_F(Folder, DeclarationsThatContradictAreRefused) {
  const auto block = [](int size) {
    return R"({"quant_method":"fp8","weight_block_size":[128,)" + std::to_string(size) +
           R"(],"modules_to_not_convert":["l)" + std::to_string(size) + R"("]})";
  };
  const struct {
    std::string config, metadata;
    const char* fragment;
  } rows[] = {
      {block(128), block(128), ""},
      {R"({"quant_method":"fp8"})", R"({"quant_method":"fp8","ignored_layers":["a"]})", ""},
      {R"({"quant_method":"fp8","ignored_layers":["b"]})",
       R"({"quant_method":"fp8","ignored_layers":["a"]})", ""},
      {block(128), block(64), "'weight_block_size'"},
      {kChannel, block(128), "'quant_method': 'compressed-tensors' and 'fp8'"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.config + row.metadata);
    auto both = codes("p");
    both.push_back(scale("p")[0]);
    write_safetensors(path("model.safetensors"), both, {{"quantization_config", row.metadata}});
    write_file(path("config.json"), R"({"quantization_config":)" + row.config + "}");
    const Checkpoint model = open_checkpoint(folder_.string());
    EXPECT_EQ(2U, model.declarations().size());
    try {
      (void)model.weight("p");
      EXPECT_EQ("", std::string(row.fragment));
    } catch (const Error& error) {
      const std::string what = error.what();
      const bool contradiction = what.find("must agree") != std::string::npos;
      EXPECT_EQ(contradiction, row.fragment[0] != '\0') << what;
      EXPECT_NE(std::string::npos, what.find(row.fragment)) << what;
    }
  }
}

}  // namespace
}  // namespace octavo::test::folder_test
