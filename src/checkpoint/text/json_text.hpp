// SPDX-License-Identifier: Apache-2.0
// JSON as text: fields of an object are found, replaced and added, and all else stays byte for byte
// as somebody wrote it. Values are not looked into: config.json may hold what JSON lacks (NaN,
// Infinity).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace octavo::checkpoint {

/// A field of an object.
struct JsonField {
  std::string_view key;  ///< as spelled, without quotes
  std::string_view value;
};

/// The fields of the object that `text` is; nothing where it is no object, or nests deeper than 512
/// levels.
std::optional<std::vector<JsonField>> json_fields(std::string_view text);

/// The value of the last field of that key; nothing where there is none or `text` is no object.
std::optional<std::string_view> json_field(std::string_view text, std::string_view key);

/// The object with that field: replaced where it has one, else added behind the others. `text` has
/// to be an object.
std::string with_json_field(std::string_view text, std::string_view key, std::string_view value);

/// The object without that field.
std::string without_json_field(std::string_view text, std::string_view key);

/// A value with a line for each field and element, `levels` deep from the second line on.
std::string indented_json(std::string_view value, std::size_t levels);

}  // namespace octavo::checkpoint
