// SPDX-License-Identifier: Apache-2.0
// The encoder, its refusals, the cache and the comparison, on a tiny model.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "commands.hpp"
#include "errors.hpp"
#include "model/vector_math.hpp"
#include "octavo/status.hpp"
#include "parallel/thread_ranks.hpp"
#include "text/embedding_cache.hpp"
#include "text/text_encoder.hpp"
#include "tiny_model.hpp"

namespace reverse_dictionary {
namespace {

using Tensors = std::vector<octavo::TensorToWrite>;

void remove_tensor(Tensors& tensors, const std::string& name) {
  std::erase_if(tensors, [&](const octavo::TensorToWrite& t) { return t.name == name; });
}

TEST(Encoder, RowsHaveLengthOneAndIgnoreTheirNeighbours) {
  const TinyModel model;
  const TextEncoder encoder(model.model(), model.vocabulary());
  const std::vector<std::string> texts = {"fear of open spaces", "birds", "", "birds of spaces"};
  const auto together = encoder.encode(texts);
  ASSERT_EQ(together.size(), texts.size() * encoder.width());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto row = std::span(together).subspan(i * encoder.width(), encoder.width());
    EXPECT_NEAR(dot(row, row), 1.0F, 1e-6F);
    const auto alone = encoder.encode(std::span(texts).subspan(i, 1));
    for (std::size_t j = 0; j < alone.size(); ++j) ASSERT_NEAR(alone[j], row[j], 1e-6F);
  }
  EXPECT_LT(dot(std::span(together).first(encoder.width()),
                std::span(together).subspan(encoder.width(), encoder.width())),
            0.999F);
}

TEST(Encoder, CutsSentencesToThePositions) {
  const TinyModel model;
  const TextEncoder encoder(model.model(), model.vocabulary());
  std::string endless = "birds";
  for (int i = 0; i < 40; ++i) endless += " birds";
  const std::vector<std::string> texts = {endless, endless + " fear"};
  const auto rows = encoder.encode(texts);
  for (std::size_t j = 0; j < encoder.width(); ++j) EXPECT_EQ(rows[j], rows[j + encoder.width()]);
}

TEST(Encoder, CountsTheBytesOfItsLinearLayers) {
  const TinyModel model;
  const TextEncoder encoder(model.model(), model.vocabulary());
  constexpr std::int64_t kWeights = 4 * 32 * 32 + 2 * 32 * 64;
  EXPECT_EQ(encoder.linear_bytes(), kWeights * 4);
  EXPECT_GT(encoder.file_bytes(), encoder.linear_bytes());
}

// Ranks that are threads: integers give the whole model's bits, floating sums those of one rank.
TEST(Encoder, GivesTheSameOnRanks) {
  const TinyModel model;
  const std::vector<std::string> texts = {"fear of open spaces", "birds", "", "birds of spaces"};
  for (const octavo::Scheme scheme :
       {octavo::Scheme::int8_dynamic, octavo::Scheme::fp8_dynamic, octavo::Scheme::llm_int8}) {
    const auto file = model.directory() / "codes.safetensors";
    octavo::quantize_file(model.model().string(), file.string(), {.scheme = scheme});
    const auto encoded = [&](const Ranks& ranks) {
      return TextEncoder(file, model.vocabulary(), ranks).encode(texts);
    };
    const std::vector<float> alone = encoded(octavo::self_communicator());
    if (scheme == octavo::Scheme::int8_dynamic) {
      EXPECT_EQ(alone, encoded(nullptr));
    }
    octavo::test::on_ranks(2, [&](const Ranks& ranks) { EXPECT_EQ(encoded(ranks), alone); });
    EXPECT_THROW(octavo::test::on_ranks(4, [&](const Ranks& ranks) { (void)encoded(ranks); }),
                 BadInput);  // two heads
  }
}

TEST(Encoder, RefusesModelsThatDoNotFit) {
  const auto load = [](const TinyModel& model) {
    return TextEncoder(model.model(), model.vocabulary());
  };
  const TinyModel no_bias(
      [](Tensors& t) { remove_tensor(t, "encoder.layer.0.output.dense.bias"); });
  EXPECT_THROW(load(no_bias), BadInput);
  const TinyModel no_layer(
      [](Tensors& t) { remove_tensor(t, "encoder.layer.0.attention.self.query.bias"); });
  EXPECT_THROW(load(no_layer), BadInput);
  const TinyModel few_words([](Tensors& t) {
    t.front().shape[0] = 6;
    t.front().bytes = [] { return std::vector<std::byte>(6 * TinyModel::kWidth * sizeof(float)); };
  });
  const std::vector<std::string> texts = {"birds"};
  EXPECT_THROW(load(few_words).encode(texts), BadInput) << "a token without embedding";
}

TEST(Encoder, TellsMissingFromBroken) {
  const TinyModel model;
  EXPECT_THROW(TextEncoder("/nonexistent", model.vocabulary()), MissingResource);
  EXPECT_THROW(TextEncoder(model.model(), model.directory() / "none.txt"), MissingResource);
  std::ofstream(model.directory() / "config.json") << R"({"model_type": "gpt2"})";
  EXPECT_THROW(TextEncoder(model.model(), model.vocabulary()), BadInput);
  std::ofstream(model.directory() / "config.json") << "{";
  EXPECT_THROW(TextEncoder(model.model(), model.vocabulary()), BadInput);
}

TEST(EmbeddingCache, GivesBackWhatBelongsToTheModel) {
  const TinyModel model;
  const std::vector<Synset> synsets = {{'n', 1, {"bird"}, "birds"}, {'n', 2, {"fear"}, "fear"}};
  const std::string key = fingerprint(model.model(), synsets);
  const auto cache = model.directory() / "cache";
  EXPECT_FALSE(load_embeddings(cache, key, 2, 2));
  const std::vector<float> rows = {1, 2, 3, 4};
  save_embeddings(cache, key, rows, 2);
  EXPECT_EQ(load_embeddings(cache, key, 2, 2), rows);
  EXPECT_FALSE(load_embeddings(cache, key, 1, 4)) << "another shape";
  EXPECT_FALSE(load_embeddings(cache, fingerprint(model.model(), {synsets[0]}), 2, 2));
  std::ofstream(cache) << "broken";
  EXPECT_FALSE(load_embeddings(cache, key, 2, 2));
}

/// A dictionary of two nouns beside the tiny model.
void write_wordnet(const std::filesystem::path& directory) {
  std::ofstream(directory / "data.noun")
      << "  1 licence\n"
      << "00000001 03 n 01 bird 0 000 | birds of open spaces  \n"
      << "00000002 03 n 01 dread 0 000 | fear; \"fear of it\"  \n";
  for (const char* name : {"data.verb", "data.adj", "data.adv"}) std::ofstream(directory / name);
}

TEST(Commands, LookUpPrintsTheNearestWordsAndKeepsTheVectors) {
  const TinyModel model;
  write_wordnet(model.directory());
  LookUpOptions options;
  options.model = model.directory();
  options.sources.wordnet = model.directory();
  for (int run = 0; run < 2; ++run) {
    std::ostringstream out;
    run_look_up(options, {"fear"}, out);
    EXPECT_TRUE(out.str().starts_with("1.000  dread: fear\n")) << out.str();
    EXPECT_TRUE(std::filesystem::exists(model.directory() / "model.safetensors.glosses"));
  }
}

TEST(Commands, EvaluateFindsAModelEqualToItself) {
  const TinyModel model;
  write_wordnet(model.directory());
  std::ofstream(model.directory() / "queries.tsv") << "# comment\nDread\tfear of spaces\n";
  EvaluateCommand command;
  command.models = {"float32=" + model.model().string(), "same=" + model.directory().string()};
  command.sources.wordnet = model.directory();
  command.queries = command.examples = model.directory() / "queries.tsv";
  command.json = model.directory() / "result.json";
  std::ostringstream out;
  run_evaluate(command, out);
  EXPECT_NE(out.str().find("same "), std::string::npos) << out.str();
  std::ifstream file(command.json);
  const std::string json((std::istreambuf_iterator<char>(file)), {});
  for (const char* part : {"\"scheme\": \"same\"", "\"top1\": 1.0", "\"top10\": 1.0",
                           "\"recall10\": 1.0", "\"linear_share\"", "\"glosses\": 2"}) {
    EXPECT_NE(json.find(part), std::string::npos) << part << " in " << json;
  }
  command.models = {"int8=" + model.model().string()};
  EXPECT_THROW(run_evaluate(command, out), UsageError);
  command.models = {"float32"};
  EXPECT_THROW(run_evaluate(command, out), UsageError);
}

}  // namespace
}  // namespace reverse_dictionary
