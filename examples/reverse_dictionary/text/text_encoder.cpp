// SPDX-License-Identifier: Apache-2.0
// Tokenises and encodes a few thousand texts at a time.
#include "text_encoder.hpp"

#include <algorithm>

#include "errors.hpp"
#include "model/parallel.hpp"
#include "stopwatch.hpp"

namespace reverse_dictionary {
namespace {

constexpr std::size_t kTextsPerPart = 2048;
constexpr std::int64_t kLeastTexts = 32;  // the smallest share that is worth another thread

octavo::Checkpoint open(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) {
    throw MissingResource("model: cannot read " + path.string());
  }
  return octavo::open_checkpoint(path.string());
}

}  // namespace

TextEncoder::TextEncoder(const std::filesystem::path& model,
                         const std::filesystem::path& vocabulary, const Ranks& ranks)
    : TextEncoder(open(model), vocabulary, ranks) {}

TextEncoder::TextEncoder(const octavo::Checkpoint& checkpoint,
                         const std::filesystem::path& vocabulary, const Ranks& ranks)
    : config_(load_bert_config(vocabulary.parent_path())),
      wordpiece_(load_wordpiece(vocabulary)),
      bert_(checkpoint, config_, ranks),
      file_bytes_(checkpoint.file_bytes()) {}

std::vector<float> TextEncoder::encode(std::span<const std::string> texts, TextTimes* times,
                                       const Progress& progress) const {
  TextTimes spent;
  std::vector<float> embeddings;
  embeddings.reserve(texts.size() * width());
  for (std::size_t first = 0; first < texts.size(); first += kTextsPerPart) {
    const auto part = texts.subspan(first, std::min(kTextsPerPart, texts.size() - first));
    const Stopwatch watch;
    std::vector<TokenIds> sentences(part.size());
    parallel_for(static_cast<std::int64_t>(part.size()), kLeastTexts,
                 [&](std::int64_t begin, std::int64_t end) {
                   for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end);
                        ++i) {
                     sentences[i] = wordpiece_.encode(part[i], config_.max_tokens);
                   }
                 });
    spent.tokenizing += watch.seconds();
    const std::vector<float> rows = bert_.encode(sentences, spent.model);
    embeddings.insert(embeddings.end(), rows.begin(), rows.end());
    if (progress) progress(first + part.size());
  }
  if (times != nullptr) *times = spent;
  return embeddings;
}

}  // namespace reverse_dictionary
