// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/layers/layer_choice.hpp"

#include <algorithm>
#include <utility>

#include "checkpoint/declared/declared.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/text/json_text.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

bool is_matrix(const TensorEntry& entry) {
  return is_float_matrix(entry) && entry.begin != entry.end;
}

/// The numbers of rows that tables have which ids choose from, by the names of config.json's
/// fields.
std::set<std::int64_t> table_rows(std::string_view config) {
  std::set<std::int64_t> rows;
  for (const JsonField& field : json_fields(config).value_or(std::vector<JsonField>{})) {
    if (field.key.find("vocab") == std::string_view::npos) continue;
    const std::string number(field.value);
    if (!number.empty() &&
        std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; }) &&
        number.size() < 18) {
      rows.insert(std::stoll(number));
    }
  }
  return rows;
}

bool has_number(std::string_view name) {
  while (!name.empty()) {
    if (is_number(take(name, '.'))) return true;
  }
  return false;
}

/// A marked expression of the names that "*" for numbers stands for.
std::string numbered_names(std::string_view stars) {
  std::string expression = std::string(kExpressionMark) + '^';
  for (const char c : stars) {
    if (c == '.') expression += '\\';
    expression += c == '*' ? std::string("\\d+") : std::string(1, c);
  }
  return expression + '$';
}

std::string first_of(const std::vector<const TensorEntry*>& entries) {
  return entries.empty() ? "" : fmt::format(", the first {}", in_quotes(entries[0]->name));
}

}  // namespace

bool is_float_matrix(const TensorEntry& entry) {
  return layer_of(entry.name) && entry.shape.size() == 2 && is_wide(dtype_of_name(entry.dtype));
}

bool stays_for(Readers readers, ModuleKind kind) noexcept {
  if (kind == ModuleKind::protected_linear) return readers != Readers::decompress;
  return kind == ModuleKind::like_linear && readers == Readers::fp8_modules;
}

std::string listed_for(Readers readers, std::string entry) {
  const bool marked = readers == Readers::decompress || !entry.starts_with(kExpressionMark);
  return marked ? std::move(entry) : entry.substr(kExpressionMark.size());
}

LayerChoice::LayerChoice(const Checkpoint& in, const NamePatterns& ignored, Readers readers,
                         bool guess)
    : in_(in), model_(in.impl().model()), ignored_(ignored), readers_(readers), guess_(guess) {
  if (model_.architecture == nullptr) {
    table_rows_ = table_rows(in.impl().text(kConfigFile).value_or("{}"));
  }
}

Treatment LayerChoice::of(const TensorEntry& entry) {
  const auto layer = layer_of(entry.name);
  const auto found = model_.find(layer ? *layer : std::string_view(entry.name));
  if (!found) return of_name(entry);
  there_.insert(found->module);
  // Readers find a linear layer, too, whose weight is empty or of another type than float.
  if (!is_matrix(entry)) {
    const bool linear = layer && entry.shape.size() == 2 && is_linear(found->kind);
    return linear ? Treatment::keep_layer : Treatment::copy;
  }
  if (ignored_.match(*layer) || ignored_.match(found->module)) return Treatment::keep_layer;
  return of_known(*found);
}

Treatment LayerChoice::of_known(const Architecture::Found& found) const {
  switch (found.kind) {
    case ModuleKind::linear:
    case ModuleKind::conv1d:
    case ModuleKind::expert:
      return Treatment::quantize;
    case ModuleKind::protected_linear:
    case ModuleKind::like_linear:
      return stays_for(readers_, found.kind) ? Treatment::keep_layer : Treatment::quantize;
    default:
      return Treatment::keep_layer;
  }
}

// What a known class passes over, or has not in the release of the table, is taken by its name;
// what its name leaves open stays in float.
Treatment LayerChoice::of_name(const TensorEntry& entry) {
  const Treatment treated = treatment(entry, ignored_);
  if (treated == Treatment::copy) return treated;
  const bool known = model_.architecture != nullptr;
  if (treated == Treatment::quantize && is_open(entry)) {
    open_.push_back(&entry);
    if (known) return Treatment::keep_layer;
  }
  if (!known || !model_.architecture->passes_over(entry.name)) {
    (treated == Treatment::quantize ? taken_ : left_).push_back(&entry);
  }
  return treated;
}

// A table of rows that ids choose has as many rows as config.json says that there are ids; outside
// numbered layers nothing tells it from a linear layer.
bool LayerChoice::is_open(const TensorEntry& entry) const {
  if (model_.architecture != nullptr) return !has_number(entry.name);
  return table_rows_.contains(entry.shape[0]) && !has_number(entry.name);
}

void LayerChoice::stays(std::string_view layer) {
  const auto found = model_.find(layer);
  if (found && found->kind == ModuleKind::expert && float_expert_.empty()) float_expert_ = layer;
}

void LayerChoice::saw(std::string_view layer) {
  if (const auto found = model_.find(layer)) there_.insert(found->module);
}

std::vector<std::string> LayerChoice::kept_names(std::string_view layer) const {
  std::vector<std::string> names{std::string(layer)};
  const auto found = model_.find(layer);
  if (!found || !is_linear(found->kind)) return names;
  for (std::string& name : model_.architecture->spellings(found->module)) {
    if (name != names[0]) names.push_back(std::move(name));
  }
  return names;
}

std::vector<std::string> LayerChoice::absent() const {
  std::vector<std::string> names;
  if (model_.architecture == nullptr) {
    if (has_tied_head()) names.emplace_back("lm_head");
    return names;
  }
  for (const auto& [module, kind] : model_.architecture->modules()) {
    if (!is_linear(kind) && kind != ModuleKind::remade) continue;
    if (module.find('*') == std::string::npos) {
      if (!there_.contains(module)) names.push_back(module);
    } else if (kind == ModuleKind::remade || model_.architecture->is_tied(module)) {
      // Of other numbered ones a model has some, and those are there.
      names.push_back(listed_for(readers_, numbered_names(module)));
    }
  }
  return names;
}

// A head that shares the embeddings' weight is in no file.
bool LayerChoice::has_tied_head() const {
  const std::string config = in_.impl().text(kConfigFile).value_or("{}");
  const std::string_view classes = json_field(config, "architectures").value_or("");
  const bool has_head = classes.find("CausalLM") != std::string_view::npos ||
                        classes.find("LMHead") != std::string_view::npos ||
                        classes.find("ConditionalGeneration") != std::string_view::npos;
  return has_head && std::ranges::none_of(in_.entries(), [](const TensorEntry& entry) {
           return entry.name.ends_with("lm_head.weight");
         });
}

void LayerChoice::check(const char* operation) const {
  if (model_.architecture != nullptr || guess_ || open_.empty()) return;
  refuse(
      Code::invalid_argument,
      "{}: model must be of a class that is known (transformers {}), or have a layout file "
      "(--layout), or be guessed at (--guess); got model_type {}, and {} of {} rows, which may be "
      "a linear layer or a table of ids",
      operation, table_release(), in_quotes(model_.model_type), in_quotes(open_[0]->name),
      open_[0]->shape[0]);
}

std::vector<std::string> LayerChoice::notes(const char* operation) const {
  // What lies beside a single file may be about another.
  if (in_.folder().empty() || (!model_.architecture && model_.model_type.empty())) return {};
  if (taken_.empty() && left_.empty()) return {};
  const std::string who =
      model_.architecture != nullptr
          ? fmt::format("{} of transformers {} has not", model_.architecture->name, table_release())
          : fmt::format("a model of type {}, which is not known, has",
                        in_quotes(model_.model_type));
  return {
      fmt::format("{}: tensors that {} are taken by their names: {} as linear layers{}; {} stay "
                  "in float{}",
                  operation, who, taken_.size(), first_of(taken_), left_.size(), first_of(left_))};
}

}  // namespace octavo::checkpoint
