// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/declared/declared.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/safetensors/folder.hpp"
#include "checkpoint/text/json_text.hpp"
#include "checkpoint/text/json_tree.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::size_t kMostBytes = QuantizationConfig::kLimits.bytes;

/// Where config.json may have it: at its top, or in the part about the text model.
/// compressed-tensors once had a name of its own.
constexpr std::array<std::string_view, 2> kFields{kConfigKey, "compression_config"};
constexpr std::array<std::string_view, 4> kParts{"", "text_config", "llm_config",
                                                 "language_config"};

std::optional<std::string_view> in_config(std::string_view config) {
  for (const std::string_view part : kParts) {
    const auto object = part.empty() ? std::optional(config) : json_field(config, part);
    if (!object) continue;
    for (const std::string_view field : kFields) {
      const auto found = json_field(*object, field);
      if (found && *found != "null" && *found != "{}") return found;
    }
  }
  return std::nullopt;
}

// What is wrong with a file beside a single one stops who asks how that is quantised, not who opens
// it.
void add_config(const std::string& beside, bool is_folder, std::vector<Declaration>& all) {
  const std::filesystem::path path = std::filesystem::path(beside) / kConfigFile;
  std::error_code error;
  if (!is_folder && !std::filesystem::is_regular_file(path, error)) return;
  auto text = small_text(path.string(), kMostBytes);
  if (!text) return;
  if (!json_fields(*text)) {
    if (!is_folder) return all.push_back({kConfigFile, std::move(*text)});
    refuse(Code::corrupt_data, "open_checkpoint: file {} must be a JSON object; got {} bytes, {}",
           in_quotes(path.string()), text->size(), in_quotes(*text));
  }
  if (const auto found = in_config(*text)) all.push_back({kConfigFile, std::string(*found)});
}

/// Octavo's own, and ComfyUI's.
constexpr std::array<const char*, 2> kMetadata{kConfigKey, "_quantization_metadata"};

/// Files that say nothing else.
constexpr std::array<const char*, 3> kOwnFiles{"hf_quant_config.json", "quantize_config.json",
                                               "quanto_qmap.json"};

void add_own_files(const std::string& beside, std::vector<Declaration>& all) {
  for (const std::string_view name : kOwnFiles) {
    const std::string path = (std::filesystem::path(beside) / name).string();
    if (auto text = small_text(path, kMostBytes))
      all.push_back({std::string(name), std::move(*text)});
  }
}

// Lists of layers, and what does not bear on values.
constexpr std::array<std::string_view, 9> kMayDiffer{"ignore",
                                                     "ignored_layers",
                                                     "modules_to_not_convert",
                                                     "llm_int8_skip_modules",
                                                     "exclude_modules",
                                                     "version",
                                                     "producer",
                                                     "quantization_status",
                                                     "kv_cache_quant_algo"};

bool same(const JsonValue& a, const JsonValue& b);

bool has_fields_of(const JsonValue& a, const JsonValue& b) {
  for (const JsonValue field : b.items()) {
    if (!same(field, a[field.key()])) return false;
  }
  return true;
}

bool same(const JsonValue& a, const JsonValue& b) {
  if (a.is_object() != b.is_object() || a.is_array() != b.is_array()) return false;
  if (a.is_object()) return has_fields_of(a, b) && has_fields_of(b, a);
  if (a.is_array()) {
    auto other = b.items().begin();
    for (const JsonValue item : a.items()) {
      if (other == b.items().end() || !same(item, *other)) return false;
      ++other;
    }
    return other == b.items().end();
  }
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  return a.is_text() == b.is_text() && a.spelled() == b.spelled();
}

/// The first field that both have and that differs.
std::optional<std::string> difference(const Declaration& first, const Declaration& second) {
  JsonTree a, b;
  const bool read = a.parse(first.text, QuantizationConfig::kLimits) == JsonTree::Problem::none &&
                    b.parse(second.text, QuantizationConfig::kLimits) == JsonTree::Problem::none;
  if (!read) return std::nullopt;  // refused where they are read
  for (const JsonValue field : body_of(a.root()).items()) {
    const JsonValue other = body_of(b.root())[field.key()];
    const bool may_differ = std::ranges::find(kMayDiffer, field.key()) != kMayDiffer.end();
    if (other.is_null() || field.is_null() || may_differ || same(field, other)) continue;
    return fmt::format("{}: {} and {}", in_quotes(field.key()), in_quotes(field.spelled()),
                       in_quotes(other.spelled()));
  }
  return std::nullopt;
}

}  // namespace

std::vector<Declaration> find_declarations(const std::string& beside, bool is_folder,
                                           const std::vector<CheckpointFile>& files) {
  std::vector<Declaration> own, all;
  for (const CheckpointFile& file : files) {
    for (const char* key : kMetadata) {
      const auto text = file.metadata.find(key);
      if (text == file.metadata.end()) continue;
      own.push_back({fmt::format("metadata '{}' of {}", key, in_quotes(file.name)), text->second});
    }
  }
  if (!is_folder && !own.empty()) return own;
  add_config(beside, is_folder, all);
  if (is_folder) add_own_files(beside, all);
  all.insert(all.end(), own.begin(), own.end());
  return all;
}

bool is_declaration(std::string_view name) noexcept {
  return name == kConfigFile || name == "quantization_map.json" ||
         std::ranges::find(kOwnFiles, name) != kOwnFiles.end();
}

std::string without_declarations(std::string config) {
  for (const std::string_view part : kParts) {
    const auto object =
        part.empty() ? std::optional<std::string_view>(config) : json_field(config, part);
    if (!object) continue;
    std::string text(*object);
    for (const std::string_view field : kFields) text = without_json_field(text, field);
    if (text != *object) config = part.empty() ? text : with_json_field(config, part, text);
  }
  return config;
}

void check_agreement(const std::vector<Declaration>& declarations) {
  for (std::size_t i = 1; i < declarations.size(); ++i) {
    const auto found = difference(declarations[0], declarations[i]);
    if (!found) continue;
    refuse(Code::corrupt_data,
           "Checkpoint::weight: {} and {} must agree on how the model is quantised; got {}",
           declarations[0].where, declarations[i].where, *found);
  }
}

}  // namespace octavo::checkpoint
