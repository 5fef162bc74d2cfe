// SPDX-License-Identifier: Apache-2.0
// Linear layers by name: what is left alone, as a table.
#include "checkpoint/layer_filter.hpp"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>

#include "checkpoint/safetensors_dtype.hpp"
#include "checkpoint/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::string_view kWeightSuffix = ".weight";
constexpr std::string_view kRegexPrefix = "re:";

enum class Where : std::uint8_t {
  in_any_part,   ///< some dotted part of the name contains the text
  in_last_part,  ///< the last dotted part contains the text
  any_part,      ///< some dotted part of the name is the text
};

struct LeftAlone {
  std::string_view text;  ///< compared without regard to case
  Where where;
};

constexpr std::array<LeftAlone, 5> kLeftAlone{{
    {"embed", Where::in_any_part},  // embed_tokens, embeddings.word_embeddings, embed_out
    {"wte", Where::any_part},       // GPT-2's embeddings
    {"wpe", Where::any_part},
    {"norm", Where::in_last_part},  // LayerNorm, q_norm
    {"lm_head", Where::any_part},
}};

bool left_alone(std::string_view layer) {
  std::string name(layer);
  std::ranges::transform(name, name.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::string dotted = "." + name + ".";
  const std::string_view last = std::string_view(name).substr(name.rfind('.') + 1);
  return std::ranges::any_of(kLeftAlone, [&](const LeftAlone& row) {
    switch (row.where) {
      case Where::in_any_part:
        return name.find(row.text) != std::string::npos;
      case Where::in_last_part:
        return last.find(row.text) != std::string_view::npos;
      case Where::any_part:
        return dotted.find(fmt::format(".{}.", row.text)) != std::string::npos;
    }
    return false;
  });
}

}  // namespace

std::optional<std::string_view> layer_of(std::string_view tensor) noexcept {
  if (!tensor.ends_with(kWeightSuffix)) return std::nullopt;
  return tensor.substr(0, tensor.size() - kWeightSuffix.size());
}

/// RE2 runs in linear time and bounded memory: the expressions come from untrusted files.
struct NamePatterns::Expressions {
  std::vector<std::unique_ptr<RE2>> all;
};

NamePatterns::NamePatterns(const char* operation, const std::vector<std::string>& patterns)
    : expressions_(std::make_unique<Expressions>()) {
  for (const std::string& pattern : patterns) {
    if (!pattern.starts_with(kRegexPrefix)) {
      exact_.push_back(pattern);
      continue;
    }
    auto compiled = std::make_unique<RE2>(pattern.substr(kRegexPrefix.size()), RE2::Quiet);
    if (!compiled->ok()) {
      refuse(Code::invalid_argument, "{}: pattern {} must be a regular expression; got {}",
             operation, in_quotes(pattern), compiled->error());
    }
    expressions_->all.push_back(std::move(compiled));
  }
}

NamePatterns::~NamePatterns() = default;

bool NamePatterns::match(std::string_view name) const {
  const re2::StringPiece text(name.data(), name.size());
  return std::ranges::find(exact_, name) != exact_.end() ||
         std::ranges::any_of(expressions_->all, [&](const std::unique_ptr<RE2>& expression) {
           return expression->Match(text, 0, text.size(), RE2::ANCHOR_START, nullptr, 0);
         });
}

Treatment treatment(const TensorEntry& entry, const NamePatterns& ignored) {
  const auto layer = layer_of(entry.name);
  const bool matrix = entry.shape.size() == 2 && entry.begin != entry.end;
  if (!layer || !matrix || !is_wide(dtype_of_name(entry.dtype))) return Treatment::copy;
  return left_alone(*layer) || ignored.match(*layer) ? Treatment::keep_layer : Treatment::quantise;
}

}  // namespace octavo::checkpoint
