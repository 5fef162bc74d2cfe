// SPDX-License-Identifier: Apache-2.0
// Normalises, splits at spaces and punctuation, then takes the longest known piece again and again.
#include "wordpiece.hpp"

#include <algorithm>
#include <fstream>

#include "errors.hpp"
#include "unicode.hpp"

namespace reverse_dictionary {
namespace {

constexpr std::size_t kMaxWordLength =
    100;  // code points; tokenizer.json: max_input_chars_per_word
constexpr std::string_view kContinuation = "##";
constexpr std::string_view kSpecials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

bool inside_code_point(std::string_view text, std::size_t position) {
  return position < text.size() && (static_cast<unsigned char>(text[position]) & 0xC0) == 0x80;
}

}  // namespace

WordPiece::WordPiece(std::istream& vocabulary) {
  std::string token;
  for (std::int32_t id = 0; std::getline(vocabulary, token); ++id) {
    if (!token.empty() && token.back() == '\r') token.pop_back();
    longest_piece_ = std::max(longest_piece_, token.size());
    if (std::find(std::begin(kSpecials), std::end(kSpecials), token) != std::end(kSpecials)) {
      specials_.emplace_back(token, id);
    }
    if (token.size() > kContinuation.size() && token.starts_with(kContinuation)) {
      continuations_[token.substr(kContinuation.size())] = id;
    } else {
      starts_[token] = id;
    }
    ++size_;
  }
  unknown_ = special("[UNK]");
  begin_ = special("[CLS]");
  end_ = special("[SEP]");
}

std::int32_t WordPiece::special(const std::string& token) const {
  const auto found = starts_.find(token);
  if (found == starts_.end()) throw BadInput("vocabulary: the token " + token + " is missing");
  return found->second;
}

std::vector<std::int32_t> WordPiece::encode(std::string_view text, std::size_t max_tokens) const {
  std::vector<std::int32_t> ids{begin_};
  std::size_t start = 0;
  for (std::size_t at = text.find('['); at != text.npos; at = text.find('[', at + 1)) {
    for (const auto& [token, id] : specials_) {
      if (!text.substr(at).starts_with(token)) continue;
      encode_plain(text.substr(start, at - start), ids);
      ids.push_back(id);
      start = at + token.size();
      break;
    }
  }
  encode_plain(text.substr(start), ids);
  if (ids.size() + 1 > max_tokens) ids.resize(std::max<std::size_t>(max_tokens, 2) - 1);
  ids.push_back(end_);
  return ids;
}

void WordPiece::encode_plain(std::string_view text, std::vector<std::int32_t>& ids) const {
  std::u32string normal;
  normal.reserve(text.size() + 1);
  for (std::size_t position = 0; position < text.size();) {
    append_normalized(next_code_point(text, position), normal);
  }
  normal.push_back(U' ');
  const std::u32string_view all = normal;
  std::size_t start = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool space = all[i] == U' ';
    if (!space && !is_punctuation(all[i])) continue;
    if (i > start) encode_word(all.substr(start, i - start), ids);
    if (!space) encode_word(all.substr(i, 1), ids);
    start = i + 1;
  }
}

void WordPiece::encode_word(std::u32string_view word, std::vector<std::int32_t>& ids) const {
  if (word.size() > kMaxWordLength) {
    ids.push_back(unknown_);
    return;
  }
  std::string bytes;
  for (const char32_t code : word) append_utf8(code, bytes);
  const std::string_view text = bytes;
  const std::size_t before = ids.size();
  for (std::size_t start = 0; start < text.size();) {
    const Pieces& pieces = start == 0 ? starts_ : continuations_;
    std::size_t length = std::min(text.size() - start, longest_piece_);
    auto found = pieces.end();
    for (; length > 0; --length) {
      if (inside_code_point(text, start + length)) continue;
      found = pieces.find(text.substr(start, length));
      if (found != pieces.end()) break;
    }
    if (length == 0) {  // one unknown rest makes the whole word unknown
      ids.resize(before);
      ids.push_back(unknown_);
      return;
    }
    ids.push_back(found->second);
    start += length;
  }
}

WordPiece load_wordpiece(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) throw MissingResource("vocabulary: cannot read " + path.string());
  return WordPiece(file);
}

}  // namespace reverse_dictionary
