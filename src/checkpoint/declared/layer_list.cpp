// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/declared/layer_list.hpp"

#include <re2/re2.h>

#include <utility>

namespace octavo::checkpoint {
namespace {

/// A shell pattern over a whole name as an expression of NamePatterns.
std::string expression_of(std::string_view wildcard) {
  std::string text(kExpressionMark);
  for (std::size_t i = 0; i < wildcard.size(); ++i) {
    const char c = wildcard[i];
    const std::size_t end = c == '[' ? wildcard.find(']', i + 2) : std::string_view::npos;
    if (c == '*') {
      text += ".*";
    } else if (c == '?') {
      text += '.';
    } else if (end != std::string_view::npos) {  // [abc], [!abc]
      std::string set(wildcard.substr(i + 1, end - i - 1));
      if (set[0] == '!') set[0] = '^';
      text += '[' + set + ']';
      i = end;
    } else {
      text += RE2::QuoteMeta(re2::StringPiece(&c, 1));
    }
  }
  return text + "(\\..*)?$";
}

/// Whether `found` holds for the name, or for what is in front of or behind one of its dots.
template <class Found>
bool any_part(std::string_view name, bool ends, const Found& found) {
  if (found(name)) return true;
  for (std::size_t dot = name.find('.'); dot != std::string_view::npos;
       dot = name.find('.', dot + 1)) {
    if (found(name.substr(0, dot)) || (ends && found(name.substr(dot + 1)))) return true;
  }
  return false;
}

}  // namespace

std::string wildcard_pattern(std::string_view name) {
  const bool wild = name.find_first_of("*?[") != std::string_view::npos;
  return wild ? expression_of(name) : std::string(name);
}

LayerList::LayerList(Spelling spelling, std::vector<std::string> names) : spelling_(spelling) {
  std::vector<std::string> expressions;
  for (std::string& name : names) {
    if (spelling == Spelling::patterns && name.starts_with(kExpressionMark)) {
      expressions.push_back(std::move(name));
    } else if (spelling == Spelling::wildcards && name.find_first_of("*?[") != std::string::npos) {
      expressions.push_back(expression_of(name));
    } else {
      all_.push_back(name);
      exact_.insert(std::move(name));
    }
  }
  all_.insert(all_.end(), expressions.begin(), expressions.end());
  if (!expressions.empty())
    patterns_.emplace("Checkpoint::weight", Code::corrupt_data, expressions);
}

bool LayerList::contains(std::string_view layer) const {
  if (patterns_ && patterns_->match(layer)) return true;
  if (exact_.empty()) return false;
  const auto listed = [this](std::string_view part) { return exact_.contains(part); };
  if (spelling_ == Spelling::patterns) return listed(layer);
  return any_part(layer, spelling_ == Spelling::modules, listed);
}

}  // namespace octavo::checkpoint
