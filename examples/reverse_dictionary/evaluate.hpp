// SPDX-License-Identifier: Apache-2.0
// Compares quantised models with float32 on the same glosses and queries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "text/text_encoder.hpp"

namespace reverse_dictionary {

struct NamedModel {
  std::string scheme;
  std::filesystem::path path;
};

struct EvaluateOptions {
  std::vector<NamedModel> models;  ///< the first is the reference, "float32"
  std::filesystem::path vocabulary, wordnet, queries;
  std::filesystem::path examples;  ///< of the form of `queries`; empty: none
  std::size_t glosses = 2000;      ///< at least; every gloss of a query's word is among them
  Ranks ranks;                     ///< each evaluates the same; null: one process
};

/// One row of the table. Agreement is over the queries and with the reference's answers.
struct ModelResult {
  std::string scheme;
  std::int64_t linear_bytes = 0;  ///< of the weights of the linear layers, in the file
  std::int64_t file_bytes = 0;
  double mean_cosine = 0, min_cosine = 0;  ///< of glosses to the reference's embeddings
  double top1 = 0;                         ///< queries with the same nearest word
  double top10 = 0;                        ///< mean share of the ten nearest words in common
  double recall10 = 0;                     ///< queries with the defined word among the nearest ten
  double glosses_per_second = 0;
  std::uint64_t digest = 0;  ///< of the bits of the glosses' embeddings (FNV-1a)
  TextTimes times;           ///< of the glosses
  std::vector<std::vector<std::string>> answers;  ///< to the examples, the ten nearest words
};

struct Evaluation {
  std::size_t glosses = 0, queries = 0;
  std::vector<std::string> examples;  ///< the definitions asked
  std::vector<ModelResult> models;
};

/// Runs one model after the other; `started` is told each one's name.
/// Throws MissingResource, BadInput or octavo::Error.
Evaluation evaluate(const EvaluateOptions& options,
                    const std::function<void(const std::string&)>& started = {});

}  // namespace reverse_dictionary
