// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/models/layout_file.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>

#include "checkpoint/text/json_tree.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr JsonTree::Limits kLimits{
    .bytes = std::size_t{16} << 20, .levels = 4, .values = 1'000'000, .key_bytes = 65536};

struct Field {
  std::string_view name;
  ModuleKind kind;
};
constexpr std::array<Field, 6> kFields{{{"linear", ModuleKind::linear},
                                        {"conv1d", ModuleKind::conv1d},
                                        {"experts", ModuleKind::experts},
                                        {"interleaved_experts", ModuleKind::interleaved_experts},
                                        {"embedding", ModuleKind::embedding},
                                        {"float", ModuleKind::kept_linear}}};

[[noreturn]] void reject(std::string_view property, std::string_view rule, const JsonValue& got) {
  refuse(Code::invalid_argument, "layout: {} must {}; got {}", property, rule,
         in_quotes(got.spelled()));
}

std::string text_of(const JsonValue& value, std::string_view property) {
  if (!value.is_null() && !value.is_text()) reject(property, "be a string", value);
  return std::string(value.text());
}

using Names = std::map<std::string, std::string, std::less<>>;
void add_pairs(Names& names, const JsonValue& value, std::string_view property) {
  if (!value.is_null() && !value.is_object()) reject(property, "be an object of names", value);
  for (const JsonValue item : value.items()) {
    names.emplace(item.key(), text_of(item, property));
  }
}

/// Names of modules are walked part by part, and no module lies as deep.
constexpr std::ptrdiff_t kMostParts = 64;

bool is_name(const JsonValue& value) {
  const std::string_view name = value.text();
  return value.is_text() && !name.empty() && name.front() != '.' && name.back() != '.' &&
         name.find("..") == std::string_view::npos && std::ranges::count(name, '.') < kMostParts;
}

bool is_field(std::string_view key) {
  for (const Field& field : kFields) {
    if (key == field.name) return true;
  }
  return key == "class" || key == "prefix" || key == "tied" || key == "renamed";
}

}  // namespace

Architecture architecture_of_layout(const std::string& text) {
  JsonTree tree;
  const bool read = tree.parse(text, kLimits) == JsonTree::Problem::none;
  if (!read || !tree.root().is_object()) {
    refuse(Code::invalid_argument, "layout: file must be a JSON object; got {} bytes, {}",
           text.size(), in_quotes(text));
  }
  const JsonValue root = tree.root();
  for (const JsonValue field : root.items()) {
    if (!is_field(field.key())) {
      refuse(Code::invalid_argument,
             "layout: fields must be class, prefix, linear, conv1d, experts, interleaved_experts, "
             "embedding, float, tied or renamed; got {}",
             in_quotes(field.key()));
    }
  }
  auto trees = std::make_shared<NameTrees>();
  Architecture made;
  made.name = text_of(root["class"], "class");
  if (made.name.empty()) made.name = "the layout file's class";
  made.prefix = text_of(root["prefix"], "prefix");
  made.module_tree = made.file_tree = trees->add_empty();
  for (const Field& field : kFields) {
    const JsonValue list = root[field.name];
    if (!list.is_null() && !list.is_array()) reject(field.name, "be a list of names", list);
    for (const JsonValue name : list.items()) {
      if (!is_name(name)) reject(field.name, "hold names of at most 64 parts", name);
      trees->add(made.module_tree, name.text(), field.kind);
    }
  }
  made.trees = std::move(trees);
  add_pairs(made.moves, root["renamed"], "renamed");
  add_pairs(made.ties, root["tied"], "tied");
  return made;
}

}  // namespace octavo::checkpoint
