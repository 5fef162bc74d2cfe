// SPDX-License-Identifier: Apache-2.0
// BERT's uncased WordPiece tokeniser: text to the token ids that the Python `tokenizers` give.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <istream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace reverse_dictionary {

class WordPiece {
 public:
  /// Reads a vocabulary of one token per line; the line's number is the token's id.
  /// Throws BadInput where [UNK], [CLS] or [SEP] is missing.
  explicit WordPiece(std::istream& vocabulary);

  /// The ids of `text` between [CLS] and [SEP], cut to `max_tokens` ids in all.
  std::vector<std::int32_t> encode(std::string_view text, std::size_t max_tokens = 256) const;

  std::size_t size() const { return size_; }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using Pieces = std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>>;

  std::int32_t special(const std::string& token) const;
  void encode_plain(std::string_view text, std::vector<std::int32_t>& ids) const;
  void encode_word(std::u32string_view word, std::vector<std::int32_t>& ids) const;

  Pieces starts_;         ///< tokens that begin a word
  Pieces continuations_;  ///< tokens written "##…", without the mark
  std::vector<std::pair<std::string, std::int32_t>> specials_;  ///< found in raw text as they are
  std::size_t longest_piece_ = 0;                               ///< in bytes
  std::size_t size_ = 0;
  std::int32_t unknown_ = 0;
  std::int32_t begin_ = 0;
  std::int32_t end_ = 0;
};

/// Opens the vocabulary file; throws MissingResource where it cannot be read.
WordPiece load_wordpiece(const std::filesystem::path& path);

}  // namespace reverse_dictionary
