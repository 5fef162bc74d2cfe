// SPDX-License-Identifier: Apache-2.0
// The classes of transformers that are known, and which of them a config.json means.
#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/models/architecture.hpp"
#include "checkpoint/text/json_text.hpp"
#include "checkpoint/text/json_tree.hpp"

namespace octavo::checkpoint {
namespace {

constexpr auto kPieces = std::to_array<std::string_view>({
#include "checkpoint/models/architectures.inc"
});

std::string_view value_of(std::string_view word) { return word == "-" ? "" : word; }

std::size_t number_of(std::string_view word) {
  std::size_t number = 0;
  std::from_chars(word.data(), word.data() + word.size(), number);
  return number;
}

/// "head/a=b": the names head.a and head.b.
std::pair<std::string, std::string> pair_of(std::string_view text) {
  const std::string_view head = take(text, '/'), first = take(text, '=');
  const auto joined = [&](std::string_view name) {
    if (head.empty() || name.empty()) return std::string(head) + std::string(name);
    return std::string(head).append(".").append(name);
  };
  return {joined(first), joined(text)};
}

void add_word(Architecture& one, std::string_view word) {
  const std::string_view key = take(word, ':');
  if (key == "m") one.moves.insert(pair_of(word));
  if (key == "t") one.ties.insert(pair_of(word));
  if (key == "u") one.unexpected.emplace_back(word);
  if (key == "split") one.splits_weights = true;
  if (key == "join") one.joins_weights = true;
}

/// The lines before the next empty one, which go from `rest` with it.
std::vector<std::string_view> section(std::string_view& rest) {
  std::vector<std::string_view> lines;
  for (std::string_view line = take(rest, '\n'); !line.empty(); line = take(rest, '\n')) {
    lines.push_back(line);
  }
  return lines;
}

struct Table {
  std::string release;
  std::vector<Architecture> classes;  ///< by name

  Table() {
    std::string text;
    for (const std::string_view piece : kPieces) text += piece;
    std::string_view rest = text, first = take(rest, '\n');
    take(first, ' ');
    release = first;
    auto trees = std::make_shared<NameTrees>();
    for (const std::string_view line : section(rest)) trees->add(line);
    const std::vector<std::string_view> words = section(rest);
    std::string_view type, prefix;
    for (std::string_view line : section(rest)) {
      const std::string_view name = take(line, ' ');
      if (name == "=") {
        type = value_of(take(line, ' '));
        prefix = value_of(line);
        continue;
      }
      Architecture& one = classes.emplace_back();
      one.name = name;
      one.model_type = type;
      one.prefix = prefix;
      one.trees = trees;
      one.module_tree = one.file_tree = number_of(take(line, ' '));
      while (!line.empty()) {
        std::string_view word = take(line, ' ');
        if (word.starts_with('f')) {
          one.file_tree = number_of(word.substr(1));
        } else {
          add_word(one, words.at(number_of(word)));
        }
      }
    }
    std::ranges::sort(classes, {}, &Architecture::name);
  }
};

const Table& table() {
  static const Table kTable;
  return kTable;
}

const Architecture* by_name(std::string_view name) {
  const std::vector<Architecture>& all = table().classes;
  const auto found = std::ranges::lower_bound(all, name, {}, &Architecture::name);
  return found != all.end() && found->name == name ? &*found : nullptr;
}

JsonTree parsed(std::string_view json) {
  JsonTree tree;
  if (tree.parse(std::string(json), QuantizationConfig::kLimits) != JsonTree::Problem::none) {
    return {};
  }
  return tree;
}

/// How many of the tensors a class has.
std::size_t known_of(const Architecture& one, const std::vector<TensorEntry>& tensors) {
  return static_cast<std::size_t>(std::ranges::count_if(tensors, [&](const TensorEntry& entry) {
    const auto layer = layer_of(entry.name);
    return one.find(layer ? *layer : std::string_view(entry.name)).has_value();
  }));
}

}  // namespace

std::string_view table_release() { return table().release; }

std::string model_type_of(std::string_view config) {
  const auto field = json_field(config, "model_type");
  return field ? std::string(parsed(*field).root().text()) : std::string();
}

bool type_interleaves_experts(std::string_view model_type) {
  return std::ranges::any_of(table().classes, [&](const Architecture& one) {
    return one.model_type == model_type && one.interleaves_experts();
  });
}

const Architecture* architecture_of(std::string_view config,
                                    const std::vector<TensorEntry>& tensors) {
  if (const auto named = json_field(config, "architectures")) {
    const JsonTree tree = parsed(*named);
    for (const JsonValue item : tree.root().items()) {
      if (const Architecture* const found = by_name(item.text())) return found;
    }
  }
  const std::string type = model_type_of(config);
  if (type.empty()) return nullptr;
  const Architecture* best = nullptr;
  std::size_t most = 0;
  for (const Architecture& one : table().classes) {
    if (one.model_type != type) continue;
    const std::size_t known = known_of(one, tensors);
    if (best == nullptr || known > most) {
      best = &one;
      most = known;
    }
  }
  return most == 0 ? nullptr : best;  // none of them has any of the tensors
}

}  // namespace octavo::checkpoint
