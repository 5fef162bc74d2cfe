// SPDX-License-Identifier: Apache-2.0
// A dictionary searched by meaning: glosses by cosine, words by their best gloss.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "wordnet.hpp"

namespace reverse_dictionary {

/// A gloss and its cosine to the query.
struct Match {
  std::size_t gloss = 0;
  float score = 0;
};

/// A word and the gloss that brought it up.
struct RankedWord {
  std::string word;
  Match match;
};

/// Glosses with their embeddings, row by row.
struct GlossIndex {
  std::vector<Synset> synsets;
  std::vector<float> embeddings;  ///< [synsets, width], rows of length 1

  std::size_t width() const { return synsets.empty() ? 0 : embeddings.size() / synsets.size(); }
  std::span<const float> row(std::size_t gloss) const {
    return std::span(embeddings).subspan(gloss * width(), width());
  }
};

/// The `count` glosses nearest to `query`, best first; of equal ones the earlier first.
std::vector<Match> nearest_glosses(const GlossIndex& index, std::span<const float> query,
                                   std::size_t count);

/// The first `count` different words of the glosses in order of nearness; words of one gloss in
/// WordNet's order.
std::vector<RankedWord> nearest_words(const GlossIndex& index, std::span<const float> query,
                                      std::size_t count);

}  // namespace reverse_dictionary
