// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/declared/declaration.hpp"

#include <filesystem>
#include <string_view>

#include "checkpoint/declared/declared.hpp"
#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/safetensors/folder.hpp"
#include "checkpoint/text/json_text.hpp"
#include "checkpoint/text/json_tree.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

/// Whether `there` says all that `asked` does: an object may say more.
bool covers(const JsonValue& there, const JsonValue& asked) {
  if (asked.is_object()) {
    for (const JsonValue field : asked.items()) {
      if (!covers(there[field.key()], field)) return false;
    }
    return there.is_object();
  }
  if (asked.is_array()) {
    auto other = there.items().begin();
    if (!there.is_array()) return false;
    for (const JsonValue item : asked.items()) {
      if (other == there.items().end() || !covers(*other, item)) return false;
      ++other;
    }
    return other == there.items().end();
  }
  return asked.is_text() == there.is_text() && asked.spelled() == there.spelled();
}

/// A declaration without what differs from file to file.
std::string method_of(std::string config) {
  for (const std::string_view field :
       {"ignore", "modules_to_not_convert", "llm_int8_skip_modules", "llm_int8_threshold"}) {
    config = without_json_field(config, field);
  }
  return without_json_field(without_json_field(config, kOutlierColumns), kWholeColumns);
}

/// What is wrong with a config.json; empty: nothing.
std::string_view lacking(const std::string& path, const std::string& config) {
  JsonTree found, asked;
  try {
    const auto text = small_text(path, QuantizationConfig::kLimits.bytes);
    if (found.parse(text.value_or(""), QuantizationConfig::kLimits) != JsonTree::Problem::none) {
      return "a file that is no JSON";
    }
  } catch (const Error&) {
    return "a file that cannot be read";
  }
  const JsonValue declared = found.root()[kConfigKey];
  if (declared.is_null()) return "no such field";
  (void)asked.parse(method_of(config), QuantizationConfig::kLimits);
  return covers(declared, asked.root()) ? "" : "one of another method";
}

}  // namespace

std::vector<std::string> declaration_warnings(const char* operation, const std::string& path,
                                              const std::string& config) {
  constexpr std::size_t kLongest = 2000;
  const std::filesystem::path beside = std::filesystem::path(path).parent_path() / kConfigFile;
  std::error_code error;
  if (!std::filesystem::exists(beside, error)) return {};
  const std::string_view got = lacking(beside.string(), config);
  if (got.empty()) return {};
  const std::string value = config.size() <= kLongest
                                ? config
                                : fmt::format("the text of the file's metadata '{}', {} bytes",
                                              kConfigKey, config.size());
  return {fmt::format(
      "{}: file {} must declare \"{}\", or other programs take the codes of {} for weights; got "
      "{}: add \"{}\": {}",
      operation, in_quotes(beside.string()), kConfigKey, in_quotes(path), got, kConfigKey, value)};
}

}  // namespace octavo::checkpoint
