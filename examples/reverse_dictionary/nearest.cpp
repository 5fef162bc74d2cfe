// SPDX-License-Identifier: Apache-2.0
// Exhaustive search: one dot product per gloss, then a partial sort.
#include "nearest.hpp"

#include <algorithm>
#include <unordered_set>

#include "model/parallel.hpp"
#include "model/vector_math.hpp"

namespace reverse_dictionary {
namespace {

constexpr std::int64_t kLeastGlosses = 4096;

std::vector<Match> score_all(const GlossIndex& index, std::span<const float> query) {
  std::vector<Match> matches(index.synsets.size());
  parallel_for(static_cast<std::int64_t>(matches.size()), kLeastGlosses,
               [&](std::int64_t begin, std::int64_t end) {
                 for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end);
                      ++i) {
                   matches[i] = {i, dot(query, index.row(i))};
                 }
               });
  return matches;
}

/// Moves the best `count` to the front, in order.
void sort_best(std::vector<Match>& matches, std::size_t count) {
  const auto middle = matches.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(matches.begin(), middle, matches.end(), [](const Match& a, const Match& b) {
    return a.score != b.score ? a.score > b.score : a.gloss < b.gloss;
  });
}

}  // namespace

std::vector<Match> nearest_glosses(const GlossIndex& index, std::span<const float> query,
                                   std::size_t count) {
  std::vector<Match> matches = score_all(index, query);
  count = std::min(count, matches.size());
  sort_best(matches, count);
  matches.resize(count);
  return matches;
}

std::vector<RankedWord> nearest_words(const GlossIndex& index, std::span<const float> query,
                                      std::size_t count) {
  std::vector<Match> matches = score_all(index, query);
  // Glosses can repeat each other's words, so the sorted part grows until it has enough of them.
  for (std::size_t sorted = 4 * count;; sorted *= 4) {
    sorted = std::min(sorted, matches.size());
    sort_best(matches, sorted);
    std::vector<RankedWord> ranked;
    std::unordered_set<std::string> seen;
    for (std::size_t i = 0; i < sorted && ranked.size() < count; ++i) {
      for (const std::string& word : index.synsets[matches[i].gloss].words) {
        if (ranked.size() < count && seen.insert(word).second) ranked.push_back({word, matches[i]});
      }
    }
    if (ranked.size() == count || sorted == matches.size()) return ranked;
  }
}

}  // namespace reverse_dictionary
