// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/open/plain_fp8.hpp"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "checkpoint/open/missing_parts.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

bool is_fp8(const TensorEntry* entry) {
  return entry != nullptr && is_float8(dtype_of_name(entry->dtype));
}

/// Whether a tensor named as a scale lies beside fp8: in the module of an fp8 weight ("x.weight",
/// "x.qscale_weight"), or under the name of an fp8 tensor ("x", "x_scale", "x.scale").
bool is_scale(const Header& header, const TensorEntry& entry) {
  constexpr std::string_view kScale = "scale";
  const std::string_view name = entry.name;
  if (name.ends_with(".SCB") || name == "scaled_fp8") return true;
  const std::size_t dot = name.rfind('.');
  const std::size_t last = dot == std::string_view::npos ? 0 : dot + 1;
  if (name.find(kScale, last) == std::string_view::npos) return false;
  const std::string weight = std::string(name.substr(0, last)) + "weight";
  if (weight != name && is_fp8(header.find(weight))) return true;
  for (std::size_t end = name.size(); end-- > 0;) {
    if ((name[end] == '.' || name[end] == '_') && is_fp8(header.find(name.substr(0, end)))) {
      return true;
    }
  }
  return false;
}

/// Whether files of that folder belong together: scales may lie in another one.
bool has_index(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().string().ends_with(".safetensors.index.json")) return true;
  }
  return false;
}

}  // namespace

std::string fp8_codes_by(const Checkpoint::Impl& in) {
  if (!in.declarations.empty()) return in.declarations[0].where;
  const auto scale = std::ranges::find_if(
      in.header.entries, [&](const TensorEntry& entry) { return is_scale(in.header, entry); });
  if (scale != in.header.entries.end()) return fmt::format("tensor {}", in_quotes(scale->name));
  const std::string& file = in.files.front().name;
  const bool alone = in.folder.empty() && has_index(in.beside);
  if (alone || (in.index.empty() && is_one_of_several(file))) {
    return fmt::format("file {}, one of several", in_quotes(file));
  }
  return {};
}

bool is_plain_fp8(const Checkpoint::Impl& in, const TensorEntry& entry) {
  return is_fp8(&entry) && in.fp8_codes_by().empty();
}

}  // namespace octavo::checkpoint
