// SPDX-License-Identifier: Apache-2.0
// A GGUF file as the folder of transformers that it was made of: names, rows, config.json.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf/gguf_header.hpp"
#include "checkpoint/gguf/gguf_tensors.hpp"

namespace octavo::checkpoint {

/// What a folder would hold.
struct GgufModel {
  GgufTensors::Places places;                               ///< of tensors
  std::map<std::string, std::string, std::less<>> texts{};  ///< files beside tensors
  std::vector<std::string> warnings{};                      ///< sentences
};

/// Throws Error (unsupported: another architecture, or a model of it that config.json has no words
/// for; corrupt_data: a key that is not there).
GgufModel gguf_model(const char* operation, const GgufHeader& header, const InputFile& file);

/// tokenizer.json and what stands beside it, into `model`; else a warning that says why not.
void add_tokenizer(const char* operation, const GgufHeader& header, GgufModel& model);

}  // namespace octavo::checkpoint
