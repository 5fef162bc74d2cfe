// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/folder.hpp"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "checkpoint/file.hpp"
#include "checkpoint/json_tree.hpp"
#include "checkpoint/safetensors_header.hpp"
#include "checkpoint/sentence.hpp"

namespace octavo::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWeights = ".safetensors";
constexpr JsonTree::Limits kIndexLimits{.bytes = std::size_t{1} << 30,
                                        .levels = 4,
                                        .values = kMostTensors + 64,
                                        .key_bytes = kLongestName};

std::string joined(const std::string& folder, std::string_view name) {
  return (fs::path(folder) / name).string();
}

/// Names in a folder that end so, sorted. Files that writers have not finished begin with a dot.
std::vector<std::string> names_with(const std::string& folder, std::string_view suffix) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(suffix) && name[0] != '.') names.push_back(name);
  }
  if (error) {
    refuse(Code::io, "open_checkpoint: cannot read folder {}: {}", in_quotes(folder),
           error.message());
  }
  std::ranges::sort(names);
  return names;
}

bool is_there(const std::string& folder, std::string_view name) {
  std::error_code error;
  return fs::exists(joined(folder, name), error);
}

[[noreturn]] void refuse_index(const std::string& index, std::string_view rule,
                               std::string_view got) {
  refuse(Code::corrupt_data, "open_checkpoint: index {} must {}; got {}", in_quotes(index), rule,
         got);
}

void read_index(Layout& layout) {
  const std::string path = joined(layout.beside, layout.index);
  const std::optional<std::string> text = small_text(path, kIndexLimits.bytes);
  if (!text) {
    refuse(Code::unavailable, "open_checkpoint: cannot open index {}: no such file",
           in_quotes(path));
  }
  JsonTree tree;
  if (tree.parse(*text, kIndexLimits) != JsonTree::Problem::none) {
    refuse_index(path, "be JSON with each key once",
                 fmt::format("{} bytes of another kind", text->size()));
  }
  const JsonValue map = tree.root()["weight_map"];
  if (!map.is_object()) refuse_index(path, "have an object 'weight_map'", in_quotes(map.spelled()));
  std::set<std::string> files;
  for (const JsonValue file : map.items()) {
    const std::string_view name = file.text();
    // A path would lead out of the folder.
    if (name.empty() || name == "." || name == ".." ||
        name.find_first_of(std::string_view("/\\\0", 3)) != std::string_view::npos) {
      refuse_index(
          path, "name files without folders",
          fmt::format("{} for tensor {}", in_quotes(file.spelled()), in_quotes(file.key())));
    }
    files.emplace(name);
    layout.file_of.emplace(file.key(), name);
  }
  if (files.empty()) refuse_index(path, "name at least one file in 'weight_map'", "none");
  layout.files.assign(files.begin(), files.end());
  for (const std::string& file : layout.files) {
    if (is_there(layout.beside, file)) continue;
    const auto tensor =
        std::ranges::find_if(layout.file_of, [&](const auto& row) { return row.second == file; });
    refuse(Code::unavailable,
           "open_checkpoint: file {} must be there, since index {} says that it holds tensor {}; "
           "got none",
           in_quotes(joined(layout.beside, file)), in_quotes(path), in_quotes(tensor->first));
  }
}

/// What else than safetensors a folder holds, for the end of a sentence.
std::string other_weights(const std::string& folder) {
  for (const std::string_view suffix : {".bin", ".pt", ".pth", ".gguf", ".ckpt", ".h5"}) {
    const std::vector<std::string> names = names_with(folder, suffix);
    if (names.empty()) continue;
    return fmt::format("{}: save the model as safetensors first", in_quotes(names[0]));
  }
  return "none";
}

void find_in_folder(Layout& layout) {
  const std::vector<std::string> weights = names_with(layout.folder, kWeights);
  const std::vector<std::string> indices = names_with(layout.folder, kIndexSuffix);
  constexpr std::string_view kModel = "model.safetensors",
                             kModelIndex = "model.safetensors.index.json";
  const bool model = std::ranges::binary_search(weights, kModel);
  const bool model_index = std::ranges::binary_search(indices, kModelIndex);
  if (model && model_index) {
    refuse(
        Code::corrupt_data,
        "open_checkpoint: folder {} must hold {} or {}; got both: remove the one that is old, or "
        "name one",
        in_quotes(layout.folder), kModel, kModelIndex);
  }
  if (model) {
    layout.files = {std::string(kModel)};
  } else if (model_index || indices.size() == 1) {
    layout.index = model_index ? std::string(kModelIndex) : indices[0];
    read_index(layout);
  } else if (weights.size() == 1) {
    layout.files = weights;
  } else if (weights.empty()) {
    refuse(Code::unavailable, "open_checkpoint: folder {} must hold *.safetensors; got {}",
           in_quotes(layout.folder), other_weights(layout.folder));
  } else {
    refuse(Code::corrupt_data,
           "open_checkpoint: folder {} must have one *.safetensors.index.json for its {} "
           "*.safetensors; got {}",
           in_quotes(layout.folder), weights.size(), indices.size());
  }
}

}  // namespace

Layout layout_of(const std::string& path) {
  check_path("open_checkpoint", path);
  Layout layout;
  std::error_code error;
  const fs::path given(path);
  if (fs::is_directory(given, error)) {
    layout.folder = layout.beside = path;
    find_in_folder(layout);
    return layout;
  }
  layout.beside = given.has_parent_path() ? given.parent_path().string() : ".";
  if (path.ends_with(kIndexSuffix)) {
    layout.folder = layout.beside;
    layout.index = given.filename().string();
    read_index(layout);
  } else {
    layout.files = {given.filename().string()};
  }
  return layout;
}

void check_index(const Layout& layout, const std::vector<TensorEntry>& entries) {
  if (layout.index.empty()) return;
  std::size_t known = 0;
  for (const TensorEntry& entry : entries) {
    const auto said = layout.file_of.find(entry.name);
    const std::string& file = layout.files[entry.file];
    if (said == layout.file_of.end()) {
      refuse_index(joined(layout.beside, layout.index), "name every tensor of its files",
                   fmt::format("tensor {} of {} unnamed", in_quotes(entry.name), in_quotes(file)));
    }
    if (said->second != file) {
      refuse_index(joined(layout.beside, layout.index), "name the file that a tensor is in",
                   fmt::format("{} for tensor {} of {}", in_quotes(said->second),
                               in_quotes(entry.name), in_quotes(file)));
    }
    ++known;
  }
  if (known == layout.file_of.size()) return;
  std::set<std::string_view> there;
  for (const TensorEntry& entry : entries) there.insert(entry.name);
  for (const auto& [tensor, file] : layout.file_of) {
    if (there.contains(tensor)) continue;
    refuse_index(
        joined(layout.beside, layout.index), "name tensors that are in their files",
        fmt::format("tensor {}, which {} does not hold", in_quotes(tensor), in_quotes(file)));
  }
}

std::optional<std::string> small_text(const std::string& path, std::size_t most_bytes) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  const InputFile file(path);
  if (file.bytes() > static_cast<std::int64_t>(most_bytes)) {
    refuse(Code::corrupt_data, "open_checkpoint: file {} must have at most {} bytes; got {}",
           in_quotes(path), most_bytes, file.bytes());
  }
  std::string text(static_cast<std::size_t>(file.bytes()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace octavo::checkpoint
