// SPDX-License-Identifier: Apache-2.0
// quantize_file on folders: what comes out, what is refused, and runs that are ended.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/support.hpp"
#include "kit/operands/random.hpp"

namespace octavo::test::quantize_folder_test {
namespace {

namespace fs = std::filesystem;
constexpr const auto& kSchemes = kAllSchemes;

bool is_int8(Scheme scheme) {
  return scheme == Scheme::int8_dynamic || scheme == Scheme::int8_weight_only;
}
constexpr const char* kConfig =
    "{\n  \"architectures\": [\"X\"],\n  \"rope\": 1e4,\n  \"z\": NaN\n}\n";

std::vector<float> values(std::int64_t count, std::uint64_t seed) {
  const kit::Random random(seed);
  std::vector<float> all(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(random.uniform(i) - 0.5);
  return all;
}

std::string content(const Tensor& tensor) {
  return {tensor.data_as<char>(),
          static_cast<std::size_t>(tensor.numel() * element_bytes(tensor.dtype()))};
}

class QuantizeFolder : public Scratch {
 protected:
  QuantizeFolder() {
    fs::create_directories(path("in/sub"));
    const auto weight = [](const std::string& name, std::int64_t n, std::int64_t k) {
      return stored(name, "F32", {n, k}, values(n * k, std::hash<std::string>()(name)));
    };
    write_safetensors(path("in/a.safetensors"),
                      {weight("l.0.up.weight", 384, 256), weight("l.0.mlp.gate.weight", 8, 256),
                       stored("l.0.up.bias", "F32", {384}, values(384, 1)),
                       weight("model.embed_tokens.weight", 50, 256)},
                      {{"format", "pt"}});
    write_safetensors(
        path("in/b.safetensors"),
        {weight("l.0.down.weight", 256, 384), weight("l.1.up.weight", 128, 128),
         stored("l.1.experts.gate_up_proj", "F32", {3, 64, 32}, values(3 * 64 * 32, 5)),
         stored("l.1.experts.down_proj", "F32", {3, 32, 32}, values(3 * 32 * 32, 6))},
        {{"format", "pt"}});
    test::write_file(path("in/model.safetensors.index.json"),
                     R"({"metadata":{"total_size":5,"by":"me"},"weight_map":{)"
                     R"("l.0.up.weight":"a.safetensors","l.0.mlp.gate.weight":"a.safetensors",)"
                     R"("l.0.up.bias":"a.safetensors","model.embed_tokens.weight":"a.safetensors",)"
                     R"("l.0.down.weight":"b.safetensors","l.1.up.weight":"b.safetensors",)"
                     R"("l.1.experts.gate_up_proj":"b.safetensors",)"
                     R"("l.1.experts.down_proj":"b.safetensors"}})");
    test::write_file(path("in/config.json"), kConfig);
    test::write_file(path("in/tokenizer.json"), "{}");
    test::write_file(path("in/sub/template.jinja"), "x");
    test::write_file(path("in/pytorch_model.bin"), "old");
    test::write_file(path("in/.gitattributes"), "y");
  }
  QuantizeReport run(const std::string& out, QuantizeFileOptions options = {}) const {
    return quantize_file(path("in"), path(out), options);
  }
  std::map<std::string, std::string> contents(const std::string& folder) const {
    std::map<std::string, std::string> all;
    if (!fs::exists(path(folder))) return all;
    for (const auto& entry : fs::recursive_directory_iterator(path(folder))) {
      if (entry.is_regular_file()) {
        all[fs::relative(entry.path(), path(folder)).string()] = read_file(entry.path().string());
      }
    }
    return all;
  }
};

TEST_F(QuantizeFolder, HasTheSameFilesAndDeclaresItselfInConfigJson) {
  for (const Scheme scheme : kSchemes) {
    SCOPED_TRACE(scheme_name(scheme));
    fs::remove_all(path("out"));
    const QuantizeReport report = run("out", {.scheme = scheme});
    const auto files = contents("out");
    std::vector<std::string> names;
    for (const auto& [name, text] : files) names.push_back(name);
    EXPECT_EQ((std::vector<std::string>{"a.safetensors", "b.safetensors", "config.json",
                                        "model.safetensors.index.json", "sub/template.jinja",
                                        "tokenizer.json"}),
              names);
    const std::string& config = files.at("config.json");
    EXPECT_EQ(0U,
              config.find("{\n  \"architectures\": [\"X\"],\n  \"rope\": 1e4,\n  \"z\": NaN,\n"))
        << config;
    EXPECT_NE(std::string::npos, files.at("model.safetensors.index.json").find("\"by\": \"me\""));

    const Checkpoint in = open_checkpoint(path("in")), out = open_checkpoint(path("out"));
    EXPECT_EQ("config.json", out.declarations().at(0).where);
    EXPECT_EQ(1U, out.declarations().size());
    EXPECT_EQ("pt", out.metadata().at("format"));
    // bitsandbytes has no layers for them, and transformers loads none of mxfp8.
    const bool experts = scheme != Scheme::llm_int8 && scheme != Scheme::mxfp8;
    EXPECT_EQ(experts ? 12U : 3U, out.quantized_layers().size());
    EXPECT_EQ(is_int8(scheme), out.contains("l.1.experts.2.up_proj.weight_packed"));
    for (const char* layer : {"l.0.up", "l.0.down", "l.1.up"}) {
      const Weight want = quantize_weight(in.tensor(std::string(layer) + ".weight"), scheme);
      const Weight got = out.weight(layer);
      EXPECT_EQ(want.scheme, got.scheme);
      EXPECT_EQ(content(want.codes.data), content(got.codes.data));
      EXPECT_EQ(content(want.codes.scale), content(got.codes.scale));
    }
    for (const char* same : {"l.0.up.bias", "l.0.mlp.gate.weight", "model.embed_tokens.weight"}) {
      EXPECT_EQ(in.bytes(same), out.bytes(same)) << same;
    }
    // Expert 2's rows of the stack: gate, then up.
    const Tensor stack = in.tensor("l.1.experts.gate_up_proj");
    if (experts) {
      const Weight up = out.weight("l.1.experts.2.up_proj");
      const TensorView rows(stack.data_as<float>() + (2 * 64 + 32) * 32, DType::float32, {32, 32});
      EXPECT_EQ(content(quantize_weight(rows, scheme).codes.data), content(up.codes.data));
      EXPECT_EQ(quantize_weight(rows, scheme).scheme, up.scheme);
    } else {
      EXPECT_EQ(content(stack), content(out.tensor("l.1.experts.gate_up_proj")));
    }
    EXPECT_EQ(experts ? 12U : 3U, report.layers.size());
    std::string warnings;
    for (const std::string& warning : report.warnings) warnings += warning;
    EXPECT_NE(std::string::npos, warnings.find("'pytorch_model.bin'"));
    EXPECT_EQ(!experts, warnings.find("experts that stay in float") != std::string::npos);
    EXPECT_THROW(quantize_file(path("out"), path("twice"), {.scheme = scheme}), Error);
  }
}

// Its weight is the embeddings': no file holds it, and it is no layer to be quantised.
TEST_F(QuantizeFolder, AHeadThatSharesTheEmbeddingsIsLeftAlone) {
  for (const char* classes : {"LlamaForCausalLM", "GPT2LMHeadModel"}) {
    test::write_file(path("in/config.json"),
                     std::string("{\"architectures\": [\"") + classes + "\"]}");
    for (const Scheme scheme : kSchemes) {
      fs::remove_all(path("out"));
      run("out", {.scheme = scheme});
      EXPECT_NE(std::string::npos, read_file(path("out/config.json")).find("\"lm_head\""))
          << classes;
    }
  }
}

// Words of four codes and groups of 32 have to divide K, in a folder and, of words, in a file.
TEST_F(QuantizeFolder, LayersWhoseCodesDoNotDivideStayInFloat) {
  struct Row {
    Scheme scheme;
    std::int64_t multiple;
    bool file;
  };
  for (const Row& row : {Row{Scheme::int8_weight_only, 4, true}, Row{Scheme::mxfp8, 32, false}}) {
    SCOPED_TRACE(scheme_name(row.scheme));
    fs::remove_all(path("in"));
    fs::remove_all(path("out"));
    fs::create_directories(path("in"));
    const auto weight = [](const char* name, std::int64_t k) {
      return stored(name, "F32", {8, k}, values(8 * k, 9));
    };
    write_safetensors(
        path("in/model.safetensors"),
        {weight("a.up.weight", row.multiple * 3), weight("a.down.weight", row.multiple * 3 + 1)});
    test::write_file(path("in/config.json"), kConfig);
    const QuantizeReport report = run("out", {.scheme = row.scheme});
    EXPECT_EQ(std::vector<std::string>{"a.up"}, open_checkpoint(path("out")).quantized_layers());
    std::string warnings;
    for (const std::string& warning : report.warnings) warnings += warning;
    EXPECT_NE(std::string::npos,
              warnings.find(fmt::format("a layer's K must be a multiple of {} for transformers to "
                                        "read {}; got 1 that stay in float, the first "
                                        "'a.down.weight'",
                                        row.multiple, scheme_name(row.scheme))))
        << warnings;
    quantize_file(path("in/model.safetensors"), path("file"), {.scheme = row.scheme});
    EXPECT_EQ(row.file ? 1U : 2U, open_checkpoint(path("file")).quantized_layers().size());
  }
}

// transformers would read the last block of such a size wrong.
TEST_F(QuantizeFolder, BlocksThatDoNotFitStayInFloat) {
  fs::remove_all(path("in"));
  fs::create_directories(path("in"));
  write_safetensors(path("in/model.safetensors"),
                    {stored("a.weight", "F32", {192, 128}, values(192 * 128, 1)),
                     stored("b.weight", "F32", {128, 130}, values(128 * 130, 2)),
                     stored("c.weight", "F32", {64, 256}, values(64 * 256, 3))});
  const QuantizeReport report = run("out", {.scheme = Scheme::fp8_block});
  EXPECT_EQ(std::vector<std::string>{"c"}, open_checkpoint(path("out")).quantized_layers());
  EXPECT_NE(std::string::npos, report.warnings.at(0).find("got 2 that stay in float, the first "
                                                          "'a.weight' [192, 128]"));
  EXPECT_NE(std::string::npos, read_file(path("out/config.json")).find("\"a\",\n      \"b\""))
      << read_file(path("out/config.json"));
  quantize_file(path("in/model.safetensors"), path("file"), {.scheme = Scheme::fp8_block});
  EXPECT_EQ(3U, open_checkpoint(path("file")).quantized_layers().size());
}

// GPT-2's layers keep [K, N].
TEST_F(QuantizeFolder, Conv1DsAreTransposedOrRefused) {
  fs::remove_all(path("in"));
  fs::create_directories(path("in"));
  const auto weight = values(64 * 192, 9);
  write_safetensors(path("in/model.safetensors"),
                    {stored("h.0.attn.c_attn.weight", "F32", {64, 192}, weight)});
  test::write_file(path("in/config.json"), R"({"model_type": "gpt2"})");
  run("out", {.scheme = Scheme::llm_int8});
  const Weight got = open_checkpoint(path("out")).weight("h.0.attn.c_attn");
  const TensorView stored_weight(weight.data(), DType::float32, {64, 192});
  const Tensor transposed = copy(stored_weight.transposed(), DType::float32);
  const Weight want = quantize_weight(transposed, Scheme::llm_int8);
  EXPECT_EQ(content(want.codes.data), content(got.codes.data));
  EXPECT_EQ(content(want.absmax), content(got.absmax));
  for (const Scheme scheme : {Scheme::int8_dynamic, Scheme::fp8_dynamic, Scheme::fp8_block}) {
    expect_error(Code::invalid_argument, "which is a Conv1D's [K, N]",
                 [&] { run("other", {.scheme = scheme}); });
    EXPECT_EQ(0U, contents("other").size());
  }
}

// Layers of several pieces, each of whose rows and scales have to get to their places.
TEST_F(QuantizeFolder, LargeLayersAreWrittenPieceByPiece) {
  constexpr std::int64_t n = 1536, k = 640;
  fs::remove_all(path("in"));
  fs::create_directories(path("in"));
  const auto weight = values(n * k, 11);
  write_safetensors(path("in/model.safetensors"), {stored("a.weight", "F32", {n, k}, weight)});
  for (const Scheme scheme : kSchemes) {
    SCOPED_TRACE(scheme_name(scheme));
    fs::remove_all(path("out"));
    run("out", {.scheme = scheme, .threads = 2});
    const Weight want = quantize_weight(TensorView(weight.data(), DType::float32, {n, k}), scheme);
    const Weight got = open_checkpoint(path("out")).weight("a");
    EXPECT_TRUE(content(want.codes.data) == content(got.codes.data));
    EXPECT_TRUE(content(want.codes.scale) == content(got.codes.scale));
  }
}

TEST_F(QuantizeFolder, BytesDoNotDependOnThreads) {
  run("one", {.threads = 1});
  for (const int threads : {2, 3, 16}) {
    fs::remove_all(path("more"));
    const QuantizeReport report = run("more", {.threads = threads});
    EXPECT_EQ(contents("one"), contents("more"));
    EXPECT_EQ(12U, report.layers.size());
  }
}

TEST_F(QuantizeFolder, GoesIntoANewFolderBesideTheInput) {
  for (const char* bad : {"in", "in/sub", "in/new", "."}) {
    expect_error(Code::invalid_argument, "out must be a folder beside the input's",
                 [&] { run(bad); });
  }
  fs::create_directory_symlink(path("in"), path("link"));
  expect_error(Code::invalid_argument, "out must be a folder beside", [&] { run("link"); });
  test::write_file(path("file"), "x");
  expect_error(Code::io, "cannot make folder", [&] { run("file"); });
  fs::create_directories(path("full"));
  test::write_file(path("full/other"), "x");
  expect_error(Code::invalid_argument, "must be new or empty; got 1 files, the first 'other'",
               [&] { run("full"); });
  EXPECT_EQ(1U, contents("full").size());
}

TEST_F(QuantizeFolder, AWeightThatIsNotFiniteIsNamedWithItsPlace) {
  auto bad = values(128 * 256, 3);
  bad[100 * 256 + 7] = std::nanf("");
  write_safetensors(path("in/a.safetensors"), {stored("l.0.up.weight", "F32", {128, 256}, bad)});
  test::write_file(path("in/model.safetensors.index.json"),
                   R"({"weight_map":{"l.0.up.weight":"a.safetensors"}})");
  for (const int threads : {1, 4}) {
    expect_error(Code::corrupt_data,
                 "tensor 'l.0.up.weight' must be finite; got NaN or infinity at [100, 7] (file "
                 "'a.safetensors')",
                 [&] { run("out", {.threads = threads}); });
    EXPECT_EQ(0U, contents("out").count("config.json"));
    fs::remove_all(path("out"));
  }
}

TEST_F(QuantizeFolder, ARunWithOtherOptionsIsNotTakenUp) {
  struct Stop {};
  const auto stopped = [&](std::int64_t done, std::int64_t total) {
    if (2 * done > total) throw Stop();
  };
  EXPECT_THROW(run("out", {.progress = stopped}), Stop);
  EXPECT_TRUE(fs::exists(path("out/.octavo-job.json")));
  expect_error(Code::invalid_argument, "remove the folder",
               [&] { run("out", {.scheme = Scheme::fp8_dynamic}); });
  expect_error(Code::invalid_argument, "remove the folder",
               [&] { run("out", {.ignore = {"l.0.up"}}); });
  run("out");
  // What differs in config.json alone.
  EXPECT_THROW(run("llm", {.scheme = Scheme::llm_int8, .progress = stopped}), Stop);
  expect_error(Code::invalid_argument, "remove the folder",
               [&] { run("llm", {.scheme = Scheme::llm_int8, .outlier_threshold = 3.0F}); });
  run("whole");
  EXPECT_EQ(contents("whole"), contents("out"));
}

// Each child is killed a little later than the one before, and begins where that one was.
TEST_F(QuantizeFolder, AKillAtAnyMomentLeavesWhatTheNextRunFinishes) {
  run("whole");
  const auto whole = contents("whole");
  int unfinished = 0;
  for (int moment = 0; moment < 200; ++moment) {
    if (moment % 8 == 0) fs::remove_all(path("out"));
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::alarm(20);
      try {
        run("out", {.threads = 1});
      } catch (...) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(moment % 8 * 900 + moment * 20));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status)) {
      // Whole, or refused since an earlier child has finished it.
      EXPECT_TRUE(fs::exists(path("out/config.json"))) << moment;
      EXPECT_EQ(whole, contents("out"));
      fs::remove_all(path("out"));
      continue;
    }
    ++unfinished;
    for (const auto& [name, text] : contents("out")) {  // what has its name is whole
      if (fs::path(name).filename().string()[0] == '.') continue;
      EXPECT_EQ(whole.at(name), text) << name << " at " << moment;
    }
    if (moment % 8 == 7 && fs::exists(path("out/.octavo-job.json"))) {
      run("out");
      EXPECT_EQ(whole, contents("out")) << moment;
    }
  }
  EXPECT_LT(20, unfinished);
}

}  // namespace
}  // namespace octavo::test::quantize_folder_test
