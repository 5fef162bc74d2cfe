// SPDX-License-Identifier: Apache-2.0
// Reads query files and samples WordNet the same way on every machine.
#include "queries.hpp"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <utility>

#include "errors.hpp"

namespace reverse_dictionary {
namespace {

/// The finaliser of SplitMix64: a fixed, well-mixed order of the database's records.
std::uint64_t mixed(const Synset& synset) {
  std::uint64_t z =
      std::uint64_t{synset.offset} << 8 | static_cast<unsigned char>(synset.part_of_speech);
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
  z = (z ^ z >> 27) * 0x94D049BB133111EBU;
  return z ^ z >> 31;
}

}  // namespace

std::vector<Query> load_queries(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) throw MissingResource("queries: cannot read " + path.string());
  std::vector<Query> queries;
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty() || line.front() == '#') continue;
    const std::size_t tab = line.find('\t');
    if (tab == 0 || tab == line.npos || tab + 1 == line.size()) {
      throw BadInput(path.string() + ":" + std::to_string(number) +
                     ": must be a word, a tab and a definition");
    }
    queries.push_back({line.substr(0, tab), line.substr(tab + 1)});
  }
  return queries;
}

std::string folded(std::string_view word) {
  std::string lower(word);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool has_word(const Synset& synset, const std::unordered_set<std::string>& words) {
  return std::any_of(synset.words.begin(), synset.words.end(),
                     [&](const std::string& word) { return words.contains(folded(word)); });
}

std::vector<Synset> choose_glosses(std::vector<Synset> all,
                                   const std::unordered_set<std::string>& words,
                                   std::size_t count) {
  if (count >= all.size()) return all;
  std::vector<std::pair<std::uint64_t, std::size_t>> order;  // hash (0: wanted), place
  std::size_t wanted = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool want = has_word(all[i], words);
    wanted += want ? 1 : 0;
    order.emplace_back(want ? 0 : mixed(all[i]), i);
  }
  std::sort(order.begin(), order.end());
  order.resize(std::max(count, wanted));
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return a.second < b.second; });
  std::vector<Synset> chosen;
  for (const auto& [hash, place] : order) chosen.push_back(std::move(all[place]));
  return chosen;
}

}  // namespace reverse_dictionary
