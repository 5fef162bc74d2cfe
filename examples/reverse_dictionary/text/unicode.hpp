// SPDX-License-Identifier: Apache-2.0
// UTF-8 and the Unicode rules of BERT's uncased normaliser, one code point at a time.
#pragma once

#include <string>
#include <string_view>

namespace reverse_dictionary {

/// Appends the UTF-8 form of a code point.
void append_utf8(char32_t code, std::string& out);

/// Reads the code point at `position` and moves past it. Every byte that does not belong to a
/// well-formed sequence reads as U+FFFD.
char32_t next_code_point(std::string_view text, std::size_t& position);

/// True for the code points that BERT makes a word of their own.
bool is_punctuation(char32_t code);

/// Appends what normalising makes of one code point: nothing for controls and accents, a space
/// for white space, the lower-case base letters otherwise, with spaces around Chinese characters.
///
/// Canonical reordering is left out: it moves nothing but non-spacing marks (dropped here) and a
/// handful of rare musical and tone marks among themselves.
void append_normalized(char32_t code, std::u32string& out);

}  // namespace reverse_dictionary
