// SPDX-License-Identifier: Apache-2.0
// Text to embeddings: a vocabulary and a model that belong together, with the time each part took.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "model/bert.hpp"
#include "wordpiece.hpp"

namespace reverse_dictionary {

/// Seconds by the kind of work.
struct TextTimes {
  EncodeTimes model;
  double tokenizing = 0;
  double total() const { return model.linear + model.other + tokenizing; }
};

class TextEncoder {
 public:
  /// `model` is a safetensors file; config.json lies beside `vocabulary`. Ranks encode the same
  /// texts together. Throws MissingResource, BadInput or octavo::Error.
  TextEncoder(const std::filesystem::path& model, const std::filesystem::path& vocabulary,
              const Ranks& ranks = nullptr);

  /// Called after each part with the number of texts done.
  using Progress = std::function<void(std::size_t)>;

  /// The embeddings [texts, width], one after the other.
  std::vector<float> encode(std::span<const std::string> texts, TextTimes* times = nullptr,
                            const Progress& progress = {}) const;

  std::int64_t file_bytes() const { return file_bytes_; }
  std::int64_t linear_bytes() const { return bert_.linear_bytes(); }
  std::size_t width() const { return static_cast<std::size_t>(bert_.width()); }

 private:
  TextEncoder(const octavo::Checkpoint& checkpoint, const std::filesystem::path& vocabulary,
              const Ranks& ranks);

  BertConfig config_;
  WordPiece wordpiece_;
  BertEncoder bert_;
  std::int64_t file_bytes_;
};

}  // namespace reverse_dictionary
