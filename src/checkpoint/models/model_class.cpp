// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/models/model_class.hpp"

#include "checkpoint/models/layout_file.hpp"
#include "checkpoint/models/loadable.hpp"

namespace octavo::checkpoint {

std::optional<Architecture::Found> ModelClass::find(std::string_view layer) const {
  return architecture == nullptr ? std::nullopt : architecture->find(layer);
}

bool ModelClass::is_conv1d(std::string_view layer) const {
  const auto found = find(layer);
  return found && found->kind == ModuleKind::conv1d;
}

bool ModelClass::is_of_stack(std::string_view layer) const {
  const auto found = find(layer);
  return found ? found->kind == ModuleKind::expert : is_expert(layer);
}

bool ModelClass::interleaves(std::string_view stack) const {
  const auto found = find(stack);
  return found ? found->kind == ModuleKind::interleaved_experts : interleaved;
}

ModelClass model_class(std::string_view config, const std::string* layout,
                       const std::vector<TensorEntry>& tensors) {
  ModelClass made{.architecture = {}, .model_type = model_type_of(config)};
  if (layout != nullptr) {
    made.architecture = std::make_shared<const Architecture>(architecture_of_layout(*layout));
  } else if (const Architecture* const known = architecture_of(config, tensors)) {
    made.architecture = {std::shared_ptr<const void>(), known};  // the table's own
  }
  made.interleaved = made.architecture != nullptr ? made.architecture->interleaves_experts()
                                                  : type_interleaves_experts(made.model_type);
  return made;
}

}  // namespace octavo::checkpoint
