// SPDX-License-Identifier: Apache-2.0
// Where the tests find their data, the model and WordNet.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/source_folder.hpp"

namespace reverse_dictionary {

/// The directory that OCTAVO_MINILM_DIR names, or an empty path.
inline std::filesystem::path model_directory() {
  const char* directory = std::getenv("OCTAVO_MINILM_DIR");
  return directory != nullptr ? directory : "";
}

inline std::filesystem::path wordnet_directory() { return "/usr/share/wordnet"; }

/// The tab-separated fields of each line of a file in tests/examples/data.
inline std::vector<std::vector<std::string>> data_table(const std::string& name) {
  std::ifstream file(std::filesystem::path(octavo::test::in_checkout("tests/examples/data")) /
                     name);
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    std::vector<std::string> fields;
    std::size_t start = 0;
    for (std::size_t tab; (tab = line.find('\t', start)) != line.npos; start = tab + 1) {
      fields.push_back(line.substr(start, tab - start));
    }
    fields.push_back(line.substr(start));
    rows.push_back(std::move(fields));
  }
  return rows;
}

}  // namespace reverse_dictionary

#define SKIP_WITHOUT_MODEL()                                                         \
  if (!std::filesystem::exists(reverse_dictionary::model_directory() / "vocab.txt")) \
  GTEST_SKIP() << "OCTAVO_MINILM_DIR names no directory with all-MiniLM-L6-v2"

#define SKIP_WITHOUT_WORDNET()                                                             \
  if (!std::filesystem::exists(reverse_dictionary::wordnet_directory() / "data.noun"))     \
  GTEST_SKIP() << "WordNet is not in " << reverse_dictionary::wordnet_directory().string() \
               << " (Debian: wordnet-base)"
