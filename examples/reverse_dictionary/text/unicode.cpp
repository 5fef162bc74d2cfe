// SPDX-License-Identifier: Apache-2.0
// Looks code points up in the generated tables; ASCII takes a short way.
#include "unicode.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace reverse_dictionary {
namespace {

struct CodeRange {
  char32_t first, last;
};

/// Code points first, first + step, …, last, each of which folds to itself plus `delta`.
struct FoldRun {
  char32_t first, last, step;
  std::int32_t delta;
};

/// A code point that folds to two or three; unused places are 0.
struct FoldSequence {
  char32_t code;
  char32_t to[3];
};

#include "unicode_tables.inc"

constexpr char32_t kReplacement = 0xFFFD;
constexpr char32_t kHangulFirst = 0xAC00;
constexpr char32_t kHangulLast = 0xD7A3;

template <std::size_t N>
const CodeRange* find_range(const CodeRange (&table)[N], char32_t code) {
  const auto* range = std::lower_bound(
      table, table + N, code, [](const CodeRange& r, char32_t value) { return r.last < value; });
  return range != table + N && range->first <= code ? range : nullptr;
}

/// Unicode 3.12: a syllable is (lead * 21 + vowel) * 28 + tail.
void append_hangul(char32_t code, std::u32string& out) {
  const char32_t index = code - kHangulFirst;
  out.push_back(0x1100 + index / (21 * 28));
  out.push_back(0x1161 + index / 28 % 21);
  if (index % 28 != 0) out.push_back(0x11A7 + index % 28);
}

void append_folded(char32_t code, std::u32string& out) {
  char32_t base = 0;  // of the table's entry that belongs to the range's first code point
  for (const CodeRange& range : kCompatibility) {
    if (code >= range.first && code <= range.last) {
      out.push_back(kCompatibilityTarget[base + code - range.first]);
      return;
    }
    base += range.last - range.first + 1;
  }
  const auto* run =
      std::lower_bound(std::begin(kFolds), std::end(kFolds), code,
                       [](const FoldRun& r, char32_t value) { return r.last < value; });
  if (run != std::end(kFolds) && run->first <= code && (code - run->first) % run->step == 0) {
    out.push_back(static_cast<char32_t>(static_cast<std::int32_t>(code) + run->delta));
    return;
  }
  const auto* sequence =
      std::lower_bound(std::begin(kFoldSequences), std::end(kFoldSequences), code,
                       [](const FoldSequence& s, char32_t value) { return s.code < value; });
  if (sequence == std::end(kFoldSequences) || sequence->code != code) {
    out.push_back(code);
    return;
  }
  for (const char32_t part : sequence->to) {
    if (part != 0) out.push_back(part);
  }
}

}  // namespace

void append_utf8(char32_t code, std::string& out) {
  const auto push = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    push(code);
  } else if (code < 0x800) {
    push(0xC0 | code >> 6);
    push(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    push(0xE0 | code >> 12);
    push(0x80 | (code >> 6 & 0x3F));
    push(0x80 | (code & 0x3F));
  } else {
    push(0xF0 | code >> 18);
    push(0x80 | (code >> 12 & 0x3F));
    push(0x80 | (code >> 6 & 0x3F));
    push(0x80 | (code & 0x3F));
  }
}

char32_t next_code_point(std::string_view text, std::size_t& position) {
  const auto byte = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(position++);
  if (lead < 0x80) return lead;
  const std::size_t more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  if (lead < 0xC2 || lead > 0xF4 || position + more > text.size()) return kReplacement;
  char32_t code = lead & (0x3FU >> more);
  for (std::size_t i = 0; i < more; ++i) {
    if ((byte(position + i) & 0xC0) != 0x80) return kReplacement;
    code = code << 6 | (byte(position + i) & 0x3F);
  }
  constexpr char32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (code < kSmallest[more] || code > 0x10FFFF || surrogate) return kReplacement;
  position += more;
  return code;
}

bool is_punctuation(char32_t code) { return find_range(kPunctuation, code) != nullptr; }

void append_normalized(char32_t code, std::u32string& out) {
  if (code >= U' ' && code < 0x7F) {
    out.push_back(code >= U'A' && code <= U'Z' ? code + 32 : code);
  } else if (find_range(kSpaces, code) != nullptr) {
    out.push_back(U' ');
  } else if (code >= kHangulFirst && code <= kHangulLast) {
    append_hangul(code, out);
  } else if (find_range(kDropped, code) == nullptr) {
    const bool spaced = find_range(kSpaced, code) != nullptr;
    if (spaced) out.push_back(U' ');
    append_folded(code, out);
    if (spaced) out.push_back(U' ');
  }
}

}  // namespace reverse_dictionary
