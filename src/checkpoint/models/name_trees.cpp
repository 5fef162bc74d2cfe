// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/models/name_trees.hpp"

#include <algorithm>
#include <charconv>

namespace octavo::checkpoint {
namespace {

constexpr std::string_view kItself = "=", kAnyNumber = "*";

}  // namespace

std::string_view take(std::string_view& rest, char separator) {
  const std::size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view first = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return first;
}

bool is_number(std::string_view part) noexcept {
  return !part.empty() && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
}

void NameTrees::add(std::string_view line) {
  Tree tree;
  while (!line.empty()) {
    Child child{.part = std::string(take(line, ' ')), .kind = {}, .tree = {}};
    const std::string_view value = take(line, ' ');
    if (is_number(value)) {
      std::from_chars(value.data(), value.data() + value.size(), child.tree.emplace());
    } else if (!value.empty()) {
      child.kind = static_cast<ModuleKind>(value[0]);
    }
    tree.push_back(std::move(child));
  }
  trees_.push_back(std::move(tree));
}

std::size_t NameTrees::add_empty() {
  trees_.emplace_back();
  return trees_.size() - 1;
}

void NameTrees::add(std::size_t tree, std::string_view name, ModuleKind kind) {
  while (true) {
    const std::string part(take(name, '.'));
    auto child = std::ranges::find(trees_[tree], part, &Child::part);
    if (child == trees_[tree].end()) {
      trees_[tree].push_back({.part = part, .kind = {}, .tree = {}});
      child = trees_[tree].end() - 1;
    }
    if (name.empty()) {
      child->kind = kind;
      return;
    }
    if (!child->tree) {
      child->tree = trees_.size();
      const std::size_t next = *child->tree;  // `child` goes with the growth
      trees_.emplace_back();
      tree = next;
    } else {
      tree = *child->tree;
    }
  }
}

const NameTrees::Child* NameTrees::child_of(const Tree& tree, std::string_view part) {
  const auto find = [&](std::string_view wanted) {
    const auto found = std::ranges::find(tree, wanted, &Child::part);
    return found == tree.end() ? nullptr : &*found;
  };
  const Child* const exact = find(part);
  return exact != nullptr || !is_number(part) ? exact : find(kAnyNumber);
}

std::optional<ModuleKind> NameTrees::own_kind(std::size_t tree) const {
  const Child* const itself = child_of(trees_[tree], kItself);
  return itself == nullptr ? std::nullopt : itself->kind;
}

std::optional<ModuleKind> NameTrees::find(std::size_t tree, std::string_view name) const {
  if (name.ends_with('.')) return std::nullopt;
  while (tree < trees_.size()) {
    const std::string_view part = take(name, '.');
    if (part == kItself || part == kAnyNumber) return std::nullopt;  // the trees' own marks
    const Child* const child = child_of(trees_[tree], part);
    if (child == nullptr) return std::nullopt;
    if (name.empty()) {
      return child->kind || !child->tree ? child->kind : own_kind(*child->tree);
    }
    if (!child->tree) return std::nullopt;
    tree = *child->tree;
  }
  return std::nullopt;
}

void NameTrees::each(std::size_t tree,
                     const std::function<void(const std::string&, ModuleKind)>& told) const {
  struct Walk {
    const NameTrees& trees;
    const std::function<void(const std::string&, ModuleKind)>& told;
    void at(std::size_t number, const std::string& stem) const {
      for (const Child& child : trees.trees_[number]) {
        const std::string name = child.part == kItself ? stem
                                 : stem.empty()        ? child.part
                                                       : stem + "." + child.part;
        if (child.kind) told(name, *child.kind);
        if (child.tree) at(*child.tree, name);
      }
    }
  };
  if (tree < trees_.size()) Walk{*this, told}.at(tree, "");
}

}  // namespace octavo::checkpoint
