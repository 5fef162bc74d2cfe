// SPDX-License-Identifier: Apache-2.0
// From tokenizer.json to the vocabulary and merges of a GGUF file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "checkpoint/gguf/gguf_output.hpp"

namespace octavo::checkpoint {

/// The files of a model's folder, by name; nothing where there is none.
using FolderTexts = std::function<std::optional<std::string>(std::string_view name)>;

/// Puts the tokenizer of a folder, of `vocabulary` tokens, into a file. Returns a warning that says
/// why the file has none; empty: it has one. Throws Error (corrupt_data: malformed).
std::string put_tokenizer(const char* operation, const FolderTexts& texts, std::int64_t vocabulary,
                          GgufLayout& layout);

}  // namespace octavo::checkpoint
