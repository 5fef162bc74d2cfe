// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/models/architecture.hpp"

#include <re2/re2.h>

#include <algorithm>

namespace octavo::checkpoint {
namespace {

/// The name with its first `parts` as `to` has them: numbers of `name` stand for "*".
std::string with_prefix(std::string_view name, std::size_t parts, std::string_view to) {
  std::vector<std::string_view> numbers;
  for (; parts > 0; --parts) {
    const std::string_view part = take(name, '.');
    if (is_number(part)) numbers.push_back(part);
  }
  std::string made;
  std::size_t number = 0;
  for (const char c : to) {
    if (c == '*' && number < numbers.size()) {
      made += numbers[number++];
    } else {
      made += c;
    }
  }
  if (!made.empty() && !name.empty()) made += '.';
  return made.append(name);
}

/// The name with "*" for its numbers, and where its parts end.
std::string starred(std::string_view name, std::vector<std::size_t>& ends) {
  std::string made;
  while (!name.empty()) {
    const std::string_view part = take(name, '.');
    if (!made.empty()) made += '.';
    made += is_number(part) ? std::string_view("*") : part;
    ends.push_back(made.size());
  }
  return made;
}

}  // namespace

std::string Architecture::moved(std::string_view tensor) const {
  if (moves.empty()) return std::string(tensor);
  std::vector<std::size_t> ends;
  const std::string stars = starred(tensor, ends);
  std::size_t end = tensor.size();
  for (std::size_t parts = ends.size(); parts > 0; --parts) {
    auto found = moves.find(tensor.substr(0, end));  // with its own numbers
    if (found == moves.end())
      found = moves.find(std::string_view(stars).substr(0, ends[parts - 1]));
    if (found != moves.end()) return with_prefix(tensor, parts, found->second);
    end = tensor.rfind('.', end == 0 ? 0 : end - 1);
    if (end == std::string_view::npos) break;
  }
  return std::string(tensor);
}

std::optional<Architecture::Found> Architecture::find_exact(std::string_view tensor) const {
  if (const auto kind = trees->find(file_tree, tensor)) return Found{*kind, moved(tensor)};
  if (const auto kind = trees->find(module_tree, tensor)) return Found{*kind, std::string(tensor)};
  if (module_tree != file_tree) return std::nullopt;
  std::string module = moved(tensor);  // a layout file has no tree of what its files call modules
  const auto kind = trees->find(module_tree, module);
  return kind ? std::optional(Found{*kind, std::move(module)}) : std::nullopt;
}

std::optional<Architecture::Found> Architecture::find(std::string_view tensor) const {
  if (auto found = find_exact(tensor)) return found;
  if (prefix.empty()) return std::nullopt;
  const std::string dotted = prefix + ".";
  if (auto found = find_exact(dotted + std::string(tensor))) return found;
  if (!tensor.starts_with(dotted)) return std::nullopt;
  return find_exact(tensor.substr(dotted.size()));
}

std::vector<std::string> Architecture::spellings(const std::string& module) const {
  std::vector<std::string> all{module};
  const std::string dotted = prefix + ".";
  if (!prefix.empty() && module.starts_with(dotted)) all.push_back(module.substr(dotted.size()));
  return all;
}

std::vector<std::pair<std::string, ModuleKind>> Architecture::modules() const {
  std::vector<std::pair<std::string, ModuleKind>> all;
  trees->each(module_tree,
              [&](const std::string& own, ModuleKind kind) { all.emplace_back(own, kind); });
  return all;
}

bool Architecture::passes_over(std::string_view tensor) const {
  return std::ranges::any_of(unexpected, [&](const std::string& pattern) {
    RE2::Options options(RE2::Quiet);
    options.set_max_mem(NamePatterns::kExpressionMemory);
    const RE2 expression(pattern, options);  // what RE2 cannot read matches nothing
    return expression.ok() &&
           RE2::PartialMatch(re2::StringPiece(tensor.data(), tensor.size()), expression);
  });
}

bool Architecture::is_tied(std::string_view module) const {
  return std::ranges::any_of(ties, [&](const auto& tie) {
    return module == tie.first || module.starts_with(tie.first + ".");
  });
}

bool Architecture::interleaves_experts() const {
  bool any = false;
  trees->each(module_tree, [&](const std::string&, ModuleKind kind) {
    any = any || kind == ModuleKind::interleaved_experts;
  });
  return any;
}

}  // namespace octavo::checkpoint
