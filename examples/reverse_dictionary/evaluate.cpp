// SPDX-License-Identifier: Apache-2.0
// Encodes glosses and queries with each model and counts what changed against the first.
#include "evaluate.hpp"

#include <algorithm>
#include <bit>
#include <span>
#include <unordered_set>
#include <utility>

#include "errors.hpp"
#include "model/vector_math.hpp"
#include "nearest.hpp"
#include "queries.hpp"

namespace reverse_dictionary {
namespace {

constexpr std::size_t kTop = 10;
constexpr std::size_t kWarmUp = 64;  // glosses encoded before the clock starts

using Words = std::vector<std::string>;

std::vector<std::string> definitions(const std::vector<Query>& queries) {
  std::vector<std::string> texts;
  for (const Query& query : queries) texts.push_back(query.definition);
  return texts;
}

std::vector<Words> answer(const GlossIndex& index, const TextEncoder& encoder,
                          std::span<const std::string> texts) {
  const std::vector<float> rows = encoder.encode(texts);
  std::vector<Words> answers(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto row = std::span(rows).subspan(i * encoder.width(), encoder.width());
    for (RankedWord& ranked : nearest_words(index, row, kTop)) {
      answers[i].push_back(std::move(ranked.word));
    }
  }
  return answers;
}

std::size_t common(const Words& a, const Words& b) {
  return static_cast<std::size_t>(std::count_if(a.begin(), a.end(), [&](const std::string& word) {
    return std::find(b.begin(), b.end(), word) != b.end();
  }));
}

/// What the reference found; empty while the reference itself is run.
struct Reference {
  std::vector<float> embeddings;
  std::vector<Words> answers;
};

void compare_embeddings(const GlossIndex& index, const std::vector<float>& reference,
                        ModelResult& result) {
  const std::size_t width = index.width();
  double sum = 0;
  result.min_cosine = 1;
  for (std::size_t i = 0; i < index.synsets.size(); ++i) {
    const double cosine = dot(index.row(i), std::span(reference).subspan(i * width, width));
    sum += cosine;
    result.min_cosine = std::min(result.min_cosine, cosine);
  }
  result.mean_cosine = sum / static_cast<double>(index.synsets.size());
}

void compare_answers(const std::vector<Query>& queries, const std::vector<Words>& answers,
                     const std::vector<Words>& reference, ModelResult& result) {
  std::size_t first = 0;
  std::size_t kept = 0;
  std::size_t asked = 0;
  std::size_t found = 0;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const std::string word = folded(queries[i].word);
    first += answers[i].front() == reference[i].front() ? 1 : 0;
    kept += common(answers[i], reference[i]);
    asked += reference[i].size();
    found += std::any_of(answers[i].begin(), answers[i].end(),
                         [&](const std::string& answer) { return folded(answer) == word; })
                 ? 1
                 : 0;
  }
  const auto share = [](std::size_t part, std::size_t all) {
    return static_cast<double>(part) / static_cast<double>(all);
  };
  result.top1 = share(first, queries.size());
  result.top10 = share(kept, asked);
  result.recall10 = share(found, queries.size());
}

std::uint64_t digest(const std::vector<float>& values) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const float value : values) {
    hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001b3;
  }
  return hash;
}

}  // namespace

Evaluation evaluate(const EvaluateOptions& options,
                    const std::function<void(const std::string&)>& started) {
  const std::vector<Query> queries = load_queries(options.queries);
  if (queries.empty()) throw BadInput("evaluate: there is no query in " + options.queries.string());
  std::vector<Query> examples;
  if (!options.examples.empty()) examples = load_queries(options.examples);

  std::unordered_set<std::string> wanted;
  for (const Query& query : queries) wanted.insert(folded(query.word));
  for (const Query& example : examples) wanted.insert(folded(example.word));
  GlossIndex index{choose_glosses(load_wordnet(options.wordnet), wanted, options.glosses), {}};
  if (index.synsets.empty()) throw BadInput("evaluate: there is no gloss to search in");
  std::vector<std::string> glosses;
  for (const Synset& synset : index.synsets) glosses.push_back(synset.definition);

  Evaluation evaluation{glosses.size(), queries.size(), definitions(examples), {}};
  Reference reference;
  for (const NamedModel& model : options.models) {
    if (started) started(model.scheme);
    const TextEncoder encoder(model.path, options.vocabulary, options.ranks);
    ModelResult result;
    result.scheme = model.scheme;
    result.linear_bytes = encoder.linear_bytes();
    result.file_bytes = encoder.file_bytes();
    encoder.encode(std::span(glosses).first(std::min(kWarmUp, glosses.size())));
    index.embeddings = encoder.encode(glosses, &result.times);
    result.digest = digest(index.embeddings);
    result.glosses_per_second = static_cast<double>(glosses.size()) / result.times.total();
    std::vector<Words> answers = answer(index, encoder, definitions(queries));
    result.answers = answer(index, encoder, evaluation.examples);
    if (evaluation.models.empty()) reference = {index.embeddings, answers};
    if (reference.embeddings.size() != index.embeddings.size()) {
      throw BadInput("evaluate: " + model.scheme + " and the reference differ in width");
    }
    compare_embeddings(index, reference.embeddings, result);
    compare_answers(queries, answers, reference.answers, result);
    evaluation.models.push_back(std::move(result));
  }
  return evaluation;
}

}  // namespace reverse_dictionary
