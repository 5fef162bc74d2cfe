// SPDX-License-Identifier: Apache-2.0
// Definitions to look words up by, and the choice of glosses that they are looked up in.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "wordnet.hpp"

namespace reverse_dictionary {

/// A definition and the word it defines.
struct Query {
  std::string word;
  std::string definition;
};

/// Reads lines `word TAB definition`; lines that begin with '#' are comments.
/// Throws MissingResource or BadInput.
std::vector<Query> load_queries(const std::filesystem::path& path);

/// Equality of words whatever their capitals: ASCII letters in lower case.
std::string folded(std::string_view word);

/// True where one of the meaning's words, folded, is in `words`.
bool has_word(const Synset& synset, const std::unordered_set<std::string>& words);

/// The synsets of every word in `words`, filled up to `count` with others that a fixed hash of
/// their place in the database picks, in the database's order.
std::vector<Synset> choose_glosses(std::vector<Synset> all,
                                   const std::unordered_set<std::string>& words, std::size_t count);

}  // namespace reverse_dictionary
