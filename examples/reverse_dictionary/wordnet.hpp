// SPDX-License-Identifier: Apache-2.0
// WordNet's data files: which words share a meaning, and the gloss that defines it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace reverse_dictionary {

/// One meaning: its place in the database, its words and its definition.
struct Synset {
  char part_of_speech;   ///< n, v, a, r: the file it comes from
  std::uint32_t offset;  ///< the record's own number, unique within its file
  std::vector<std::string> words;
  std::string definition;
};

/// Reads one record of a data.* file; nullopt for the lines of the licence at the file's head.
/// Throws BadInput for a record whose word count or gloss is broken.
std::optional<Synset> parse_synset(std::string_view line, char part_of_speech);

/// The part of a gloss before its quoted examples.
std::string_view definition_of(std::string_view gloss);

/// All records of data.noun, data.verb, data.adj and data.adv, in this order.
/// Throws MissingResource where a file cannot be read.
std::vector<Synset> load_wordnet(const std::filesystem::path& directory);

}  // namespace reverse_dictionary
