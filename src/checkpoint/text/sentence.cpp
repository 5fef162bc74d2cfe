// SPDX-License-Identifier: Apache-2.0
// Untrusted names and shapes as text.
#include "checkpoint/text/sentence.hpp"

#include <nlohmann/json.hpp>

#include <fmt/ranges.h>

namespace octavo::checkpoint {

std::string in_quotes(std::string_view name) {
  constexpr std::size_t kLongest = 120;
  std::string text = "'";
  for (const char c : name.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      text += fmt::format("\\x{:02x}", byte);
    } else {
      text += c;
    }
  }
  // A cut must not leave half of a UTF-8 sequence behind.
  if (name.size() > kLongest) {
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0U) == 0x80U) {
      text.pop_back();
    }
    if (static_cast<unsigned char>(text.back()) >= 0xC0U) text.pop_back();
    text += "...";
  }
  return text + "'";
}

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

bool is_utf8(std::string_view text) {
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

std::string json_string(const char* operation, std::string_view text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    refuse(Code::invalid_argument, "{}: names and metadata must be UTF-8; got {}", operation,
           in_quotes(text));
  }
}

std::string json_strings(const char* operation, const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) {
    all += fmt::format("{}{}", all.empty() ? "" : ",", json_string(operation, text));
  }
  return "[" + all + "]";
}

std::string json_number(double value) { return nlohmann::json(value).dump(); }

}  // namespace octavo::checkpoint
