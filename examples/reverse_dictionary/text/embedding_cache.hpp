// SPDX-License-Identifier: Apache-2.0
// Gloss embeddings kept in a safetensors file, so that only the first query pays for them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "wordnet.hpp"

namespace reverse_dictionary {

/// A number that changes when the model's file or the glosses do.
/// Throws MissingResource where the model cannot be read.
std::string fingerprint(const std::filesystem::path& model, const std::vector<Synset>& synsets);

/// The embeddings [rows, width] of that fingerprint, or nullopt where there are none to be used.
std::optional<std::vector<float>> load_embeddings(const std::filesystem::path& cache,
                                                  const std::string& fingerprint, std::size_t rows,
                                                  std::size_t width);

/// Writes them in one step. Throws octavo::Error.
void save_embeddings(const std::filesystem::path& cache, const std::string& fingerprint,
                     const std::vector<float>& embeddings, std::size_t rows);

}  // namespace reverse_dictionary
