// SPDX-License-Identifier: Apache-2.0
// Linear layers by name: what is left alone, as a table.
#include "checkpoint/declared/layer_filter.hpp"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <memory>
#include <utility>

#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::string_view kWeightSuffix = ".weight";

enum class Where : std::uint8_t {
  in_any_part,   ///< some dotted part of the name contains the text
  in_last_part,  ///< the last dotted part contains the text
  any_part,      ///< some dotted part of the name is the text
  last_part,     ///< the last dotted part is the text
  whole_name,
};

struct LeftAlone {
  std::string_view text;  ///< compared without regard to case
  Where where;
};

constexpr std::array<LeftAlone, 13> kLeftAlone{{
    {"embed", Where::in_any_part},  // embed_tokens, embeddings.word_embeddings, embed_out
    {"wte", Where::any_part},       // GPT-2's embeddings
    {"wpe", Where::any_part},
    {"norm", Where::in_last_part},  // LayerNorm, q_norm
    {"lm_head", Where::any_part},
    {"output", Where::whole_name},  // Llama's own files
    {"cls", Where::any_part},       // BERT's heads
    {"score", Where::whole_name},   // heads of classifiers
    {"classifier", Where::any_part},
    {"router", Where::in_any_part},  // of experts
    {"gate", Where::last_part},      // the same in Mixtral, Qwen, DeepSeek
    {"shared_expert_gate", Where::last_part},
    {"wg", Where::last_part},
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
      case Where::last_part:
        return last == row.text;
      case Where::whole_name:
        return name == row.text;
    }
    return false;
  });
}

}  // namespace

std::optional<std::string_view> layer_of(std::string_view tensor) noexcept {
  if (!tensor.ends_with(kWeightSuffix)) return std::nullopt;
  return tensor.substr(0, tensor.size() - kWeightSuffix.size());
}

/// RE2 runs in linear time and bounded memory.
struct NamePatterns::Expression {
  std::unique_ptr<RE2> compiled;
  std::size_t index;  ///< in the list
};

NamePatterns::NamePatterns(const char* operation, Code code,
                           const std::vector<std::string>& patterns) {
  RE2::Options options(RE2::Quiet);
  options.set_max_mem(kExpressionMemory);
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    const std::string& pattern = patterns[i];
    if (!pattern.starts_with(kExpressionMark)) {
      exact_.emplace(pattern, i);  // the first of equal names stays
      continue;
    }
    const std::string_view expression = std::string_view(pattern).substr(kExpressionMark.size());
    if (expression.size() > kLongestExpression) {
      refuse(code, "{}: pattern {} must have at most {} bytes behind 're:'; got {}", operation,
             in_quotes(pattern), kLongestExpression, expression.size());
    }
    if (expressions_.size() == kMostExpressions) {
      refuse(code, "{}: patterns must hold at most {} regular expressions; got more", operation,
             kMostExpressions);
    }
    auto compiled =
        std::make_unique<RE2>(re2::StringPiece(expression.data(), expression.size()), options);
    if (!compiled->ok()) {
      refuse(code, "{}: pattern {} must be a regular expression; got {}", operation,
             in_quotes(pattern), in_quotes(compiled->error()));
    }
    expressions_.push_back({std::move(compiled), i});
  }
}

NamePatterns::NamePatterns(NamePatterns&&) noexcept = default;
NamePatterns::~NamePatterns() = default;

std::optional<std::size_t> NamePatterns::first(std::string_view name) const {
  std::optional<std::size_t> least;
  if (const auto found = exact_.find(name); found != exact_.end()) least = found->second;
  const re2::StringPiece text(name.data(), name.size());
  for (const Expression& expression : expressions_) {
    if (least && expression.index > *least) break;
    if (expression.compiled->Match(text, 0, text.size(), RE2::ANCHOR_START, nullptr, 0)) {
      return expression.index;
    }
  }
  return least;
}

Treatment treatment(const TensorEntry& entry, const NamePatterns& ignored) {
  const auto layer = layer_of(entry.name);
  const bool matrix = entry.shape.size() == 2 && entry.begin != entry.end;
  if (!layer || !matrix || !is_wide(dtype_of_name(entry.dtype))) return Treatment::copy;
  return left_alone(*layer) || ignored.match(*layer) ? Treatment::keep_layer : Treatment::quantize;
}

bool looks_linear(const TensorEntry& entry) {
  constexpr std::int64_t kSmallest = 32;  // of both extents: tables and convolutions have less
  const std::size_t rank = entry.shape.size();
  if ((rank != 2 && rank != 3) || !is_wide(dtype_of_name(entry.dtype))) return false;
  return std::min(entry.shape[rank - 1], entry.shape[rank - 2]) >= kSmallest &&
         !left_alone(entry.name);
}

}  // namespace octavo::checkpoint
