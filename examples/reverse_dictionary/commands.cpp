// SPDX-License-Identifier: Apache-2.0
// Finds the files, runs the work, prints the results; progress goes to stderr.
#include "commands.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "errors.hpp"
#include "evaluate.hpp"
#include "nearest.hpp"
#include "report.hpp"
#include "text/embedding_cache.hpp"
#include "text/text_encoder.hpp"
#include "wordnet.hpp"

namespace reverse_dictionary {
namespace {

namespace fs = std::filesystem;

fs::path model_file(fs::path given) {
  if (given.empty()) {
    const char* directory = std::getenv("OCTAVO_MINILM_DIR");
    given = directory != nullptr && *directory != '\0' ? directory : "build/demo";
  }
  return fs::is_directory(given) ? given / "model.safetensors" : given;
}

fs::path vocabulary_file(const Sources& sources, const fs::path& model) {
  return sources.vocabulary.empty() ? model.parent_path() / "vocab.txt" : sources.vocabulary;
}

/// A line that counts up on a terminal, and nothing elsewhere.
TextEncoder::Progress progress(std::size_t total) {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [total](std::size_t done) {
    std::fprintf(stderr, "\rencoding glosses: %3zu%%%s", 100 * done / total,
                 done == total ? "\n" : "");
  };
}

std::vector<float> embed_glosses(const TextEncoder& encoder, const std::vector<Synset>& synsets) {
  std::vector<std::string> texts;
  for (const Synset& synset : synsets) texts.push_back(synset.definition);
  return encoder.encode(texts, nullptr, progress(texts.size()));
}

std::vector<float> cached_embeddings(const TextEncoder& encoder, const std::vector<Synset>& synsets,
                                     const fs::path& model, const fs::path& cache) {
  const std::string key = fingerprint(model, synsets);
  if (auto kept = load_embeddings(cache, key, synsets.size(), encoder.width())) {
    return std::move(*kept);
  }
  std::vector<float> made = embed_glosses(encoder, synsets);
  try {
    save_embeddings(cache, key, made, synsets.size());
  } catch (const octavo::Error& error) {  // the answer does not depend on it
    std::cerr << "reverse_dictionary: embeddings not kept: " << error.what() << "\n";
  }
  return made;
}

NamedModel named_model(const std::string& argument) {
  const std::size_t equals = argument.find('=');
  if (equals == 0 || equals == argument.npos || equals + 1 == argument.size()) {
    throw UsageError("--models: must be SCHEME=FILE; got " + argument);
  }
  return {argument.substr(0, equals), model_file(argument.substr(equals + 1))};
}

}  // namespace

void run_look_up(const LookUpOptions& options, const std::vector<std::string>& queries,
                 std::ostream& out) {
  const fs::path model = model_file(options.model);
  const TextEncoder encoder(model, vocabulary_file(options.sources, model));
  GlossIndex index{load_wordnet(options.sources.wordnet), {}};
  fs::path cache = options.cache;
  if (cache.empty()) cache = model.string() + ".glosses";
  index.embeddings = options.no_cache ? embed_glosses(encoder, index.synsets)
                                      : cached_embeddings(encoder, index.synsets, model, cache);
  for (const std::string& query : queries) {
    if (queries.size() > 1) out << query << ":\n";
    const std::vector<float> row = encoder.encode(std::span(&query, 1));
    for (const RankedWord& ranked : nearest_words(index, row, options.top)) {
      out << std::fixed << std::setprecision(3) << ranked.match.score << "  " << ranked.word << ": "
          << index.synsets[ranked.match.gloss].definition << "\n";
    }
  }
}

void run_evaluate(const EvaluateCommand& options, std::ostream& out) {
  EvaluateOptions evaluation;
  for (const std::string& argument : options.models) {
    evaluation.models.push_back(named_model(argument));
  }
  if (evaluation.models.front().scheme != "float32") {
    throw UsageError("--models: the first must be float32; got " +
                     evaluation.models.front().scheme);
  }
  evaluation.vocabulary = vocabulary_file(options.sources, evaluation.models.front().path);
  evaluation.wordnet = options.sources.wordnet;
  evaluation.queries = options.queries;
  evaluation.examples = options.examples;
  evaluation.glosses = options.all ? std::numeric_limits<std::size_t>::max() : options.glosses;
  evaluation.ranks = options.ranks;
  const bool prints = options.ranks == nullptr || options.ranks->rank() == 0;
  const Evaluation result = evaluate(evaluation, [prints](const std::string& scheme) {
    if (prints) std::cerr << "evaluating " << scheme << "\n";
  });
  if (!prints) return;
  print_table(result, out);
  print_answers(result, out);
  if (options.json.empty()) return;
  std::ofstream file(options.json);
  file << to_json(result);
  if (!file.flush()) throw MissingResource("--json: cannot write " + options.json.string());
}

void run_tokenize(const fs::path& vocabulary, std::istream& in, std::ostream& out) {
  const fs::path path = vocabulary_file({vocabulary, {}}, model_file({}));
  const WordPiece wordpiece = load_wordpiece(path);
  const std::size_t limit = load_bert_config(path.parent_path()).max_tokens;
  for (std::string line; std::getline(in, line);) {
    const char* separator = "";
    for (const std::int32_t id : wordpiece.encode(line, limit)) {
      out << separator << id;
      separator = " ";
    }
    out << "\n";
  }
}

}  // namespace reverse_dictionary
