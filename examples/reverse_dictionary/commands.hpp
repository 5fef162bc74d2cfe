// SPDX-License-Identifier: Apache-2.0
// What each form of the command line does, once it has been read.
#pragma once

#include <cstddef>
#include <filesystem>
#include <istream>
#include <ostream>
#include <string>
#include <vector>

#include "model/linear_layer.hpp"

namespace reverse_dictionary {

/// The vocabulary (empty: beside the model) and the dictionary.
struct Sources {
  std::filesystem::path vocabulary;
  std::filesystem::path wordnet = "/usr/share/wordnet";
};

struct LookUpOptions {
  std::filesystem::path model;  ///< empty: $OCTAVO_MINILM_DIR, else build/demo
  Sources sources;
  std::size_t top = 10;
  std::filesystem::path cache;  ///< empty: beside the model
  bool no_cache = false;
};

struct EvaluateCommand {
  std::vector<std::string> models;  ///< "scheme=path"
  Sources sources;
  std::filesystem::path queries, examples, json;
  std::size_t glosses = 2000;
  bool all = false;
  Ranks ranks;  ///< the first of which prints
};

/// Each throws UsageError, BadInput, MissingResource or octavo::Error.
void run_look_up(const LookUpOptions& options, const std::vector<std::string>& queries,
                 std::ostream& out);
void run_evaluate(const EvaluateCommand& options, std::ostream& out);
/// One line of token ids per line of `in`. An empty `vocabulary` is that of the default model.
void run_tokenize(const std::filesystem::path& vocabulary, std::istream& in, std::ostream& out);

}  // namespace reverse_dictionary
