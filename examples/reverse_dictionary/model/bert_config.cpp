// SPDX-License-Identifier: Apache-2.0
// Reads the JSON files that models of the sentence-transformers family bring.
#include "bert_config.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "errors.hpp"

namespace reverse_dictionary {
namespace {

nlohmann::json parse(std::ifstream& file, const std::filesystem::path& path) {
  try {
    return nlohmann::json::parse(file);
  } catch (const nlohmann::json::exception& error) {
    throw BadInput(path.string() + ": " + error.what());
  }
}

}  // namespace

BertConfig load_bert_config(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  std::ifstream file(path);
  if (!file) throw MissingResource("model: cannot read " + path.string());
  const nlohmann::json json = parse(file, path);
  BertConfig config;
  try {
    if (json.at("model_type") != "bert" || json.at("hidden_act") != "gelu" ||
        json.value("position_embedding_type", "absolute") != "absolute") {
      throw BadInput(path.string() + ": must be a BERT with exact GELU and absolute positions");
    }
    config.heads = json.at("num_attention_heads");
    config.layer_norm_epsilon = json.at("layer_norm_eps");
    config.max_tokens = json.at("max_position_embeddings");
    const std::filesystem::path sentence_path = directory / "sentence_bert_config.json";
    if (std::ifstream sentence_file(sentence_path); sentence_file) {
      const std::size_t limit = parse(sentence_file, sentence_path).at("max_seq_length");
      config.max_tokens = std::min(config.max_tokens, limit);
    }
  } catch (const nlohmann::json::exception& error) {
    throw BadInput(path.string() + ": " + error.what());
  }
  if (config.heads < 1 || config.max_tokens < 2 || !(config.layer_norm_epsilon > 0)) {
    throw BadInput(path.string() + ": heads, epsilon and sequence length must be positive");
  }
  return config;
}

}  // namespace reverse_dictionary
