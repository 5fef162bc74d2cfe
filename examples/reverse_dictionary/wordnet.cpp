// SPDX-License-Identifier: Apache-2.0
// Parses WordNet 3.0's records: offset file-number type word-count (word id)… … | gloss.
#include "wordnet.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <utility>

#include "errors.hpp"

namespace reverse_dictionary {
namespace {

/// Cuts the next space-separated field off the front of `text`.
std::string_view take_field(std::string_view& text) {
  const std::size_t end = std::min(text.find(' '), text.size());
  const std::string_view field = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return field;
}

std::uint32_t number(std::string_view field, int base, std::string_view line) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value, base);
  if (error != std::errc() || end != field.data() + field.size()) {
    throw BadInput("wordnet: not a number: '" + std::string(field) + "' in the record " +
                   std::string(line.substr(0, 40)));
  }
  return value;
}

/// "New_York" to "New York", and an adjective's position mark, as in "galore(ip)", away.
std::string readable(std::string_view word) {
  std::string text(word);
  for (char& c : text) {
    if (c == '_') c = ' ';
  }
  for (const std::string_view mark : {"(a)", "(p)", "(ip)"}) {
    if (text.ends_with(mark)) text.resize(text.size() - mark.size());
  }
  return text;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kCut = " ;:";
  const std::size_t first = text.find_first_not_of(' ');
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kCut) + 1 - first);
}

}  // namespace

std::string_view definition_of(std::string_view gloss) {
  // An example opens with a quote after "; ", in some records after ": ". Other quotes belong to
  // the definition.
  for (std::size_t at = gloss.find('"'); at != gloss.npos; at = gloss.find('"', at + 1)) {
    const std::string_view before = trimmed(gloss.substr(0, at));
    if (before.empty()) continue;
    const char last = gloss[gloss.find_last_not_of(' ', at - 1)];
    if (last == ';' || last == ':') return before;
  }
  return trimmed(gloss);
}

std::optional<Synset> parse_synset(std::string_view line, char part_of_speech) {
  if (line.empty() || line.front() == ' ') return std::nullopt;
  std::string_view rest = line;
  Synset synset{part_of_speech, number(take_field(rest), 10, line), {}, {}};
  take_field(rest);  // the lexicographer's file
  take_field(rest);  // the type, which tells satellites from other adjectives
  const std::uint32_t words = number(take_field(rest), 16, line);
  for (std::uint32_t i = 0; i < words; ++i) {
    synset.words.push_back(readable(take_field(rest)));
    take_field(rest);  // tells equal words of one lexicographer's file apart
  }
  const std::size_t bar = rest.find("| ");
  if (bar == rest.npos || synset.words.empty() || synset.words.back().empty()) {
    throw BadInput("wordnet: no words or no gloss in the record " +
                   std::string(line.substr(0, 40)));
  }
  synset.definition = definition_of(rest.substr(bar + 2));
  return synset;
}

std::vector<Synset> load_wordnet(const std::filesystem::path& directory) {
  constexpr std::pair<const char*, char> kFiles[] = {
      {"data.noun", 'n'}, {"data.verb", 'v'}, {"data.adj", 'a'}, {"data.adv", 'r'}};
  std::vector<Synset> synsets;
  for (const auto& [name, part_of_speech] : kFiles) {
    const std::filesystem::path path = directory / name;
    std::ifstream file(path);
    if (!file) throw MissingResource("wordnet: cannot read " + path.string());
    for (std::string line; std::getline(file, line);) {
      if (auto synset = parse_synset(line, part_of_speech)) synsets.push_back(std::move(*synset));
    }
  }
  return synsets;
}

}  // namespace reverse_dictionary
