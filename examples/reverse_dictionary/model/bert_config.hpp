// SPDX-License-Identifier: Apache-2.0
// The part of a BERT sentence encoder's settings that its tensors' shapes do not tell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace reverse_dictionary {

struct BertConfig {
  std::int64_t heads = 12;
  float layer_norm_epsilon = 1e-12F;
  std::size_t max_tokens = 256;  ///< of a sentence, [CLS] and [SEP] included
};

/// Reads config.json and, where it is there, sentence_bert_config.json of a model's directory.
/// Throws MissingResource, or BadInput for a model that is no BERT with exact GELU.
BertConfig load_bert_config(const std::filesystem::path& directory);

}  // namespace reverse_dictionary
