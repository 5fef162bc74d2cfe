// SPDX-License-Identifier: Apache-2.0
// How text is cut before byte pairs are merged: llama.cpp's names, and tokenizer.json's terms.
#pragma once

#include <string>
#include <string_view>

#include "checkpoint/text/json_tree.hpp"

namespace octavo::checkpoint {

struct PreTokenizer {
  std::string_view name;     ///< llama.cpp's
  std::string_view cut;      ///< "pre_tokenizer" of tokenizer.json
  bool composes = false;     ///< text is normalised (NFC)
  bool whole_words = false;  ///< words that are tokens are not merged
  bool begins = false;       ///< texts begin with the token for it, where no key says
};

/// The row of that name, or null.
const PreTokenizer* find_pre_tokenizer(std::string_view name);
/// The row that cuts as a "pre_tokenizer" of tokenizer.json does, or null.
const PreTokenizer* pre_tokenizer_of(const JsonValue& cut, bool whole_words);

}  // namespace octavo::checkpoint
