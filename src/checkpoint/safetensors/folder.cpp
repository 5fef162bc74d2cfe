// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors/folder.hpp"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "checkpoint/safetensors/file.hpp"
#include "checkpoint/safetensors/header.hpp"
#include "checkpoint/text/json_tree.hpp"
#include "checkpoint/text/sentence.hpp"

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
    if (suffix == ".gguf")
      return fmt::format("{}: give the path of that file", in_quotes(names[0]));
    return fmt::format("{}: save the model as safetensors first", in_quotes(names[0]));
  }
  return "none";
}

/// An index beside model.safetensors: of itself, or of other files, which are not read.
void check_index_beside(Layout& layout, std::string_view index) {
  Layout other{.folder = layout.folder, .beside = layout.beside, .index = std::string(index)};
  try {
    read_index(other);
  } catch (const Error& error) {
    layout.findings.push_back(error.what());
    return;
  }
  if (other.files == layout.files) {
    layout.index = std::move(other.index);
    layout.file_of = std::move(other.file_of);
    return;
  }
  layout.findings.push_back(
      fmt::format("open_checkpoint: folder {} must hold {} or {}; got both, of which the first is "
                  "read",
                  in_quotes(layout.folder), in_quotes(layout.files[0]), in_quotes(index)));
}

void find_in_folder(Layout& layout) {
  const std::vector<std::string> weights = names_with(layout.folder, kWeights);
  const std::vector<std::string> indices = names_with(layout.folder, kIndexSuffix);
  constexpr std::string_view kModel = "model.safetensors",
                             kModelIndex = "model.safetensors.index.json";
  const bool model = std::ranges::binary_search(weights, kModel);
  const bool model_index = std::ranges::binary_search(indices, kModelIndex);
  if (model) {  // which transformers reads, whatever an index beside it says
    layout.files = {std::string(kModel)};
    if (model_index) check_index_beside(layout, kModelIndex);
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

/// Tensors on which an index and its files do not agree.
struct Disagreement {
  std::size_t count = 0;
  std::string tensor, file;  ///< the first

  void add(std::string_view name, std::string_view where) {
    if (count++ == 0) {
      tensor = name;
      file = where;
    }
  }
};

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

std::vector<std::string> settle(const Layout& layout, std::vector<TensorEntry>& entries) {
  std::vector<std::string> findings;
  if (layout.index.empty()) return findings;
  const std::string index = in_quotes(joined(layout.beside, layout.index));
  Disagreement stale, unnamed, nowhere;
  std::map<std::string_view, std::size_t> last;  // of each name, the entry that counts
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::string& file = layout.files[entries[i].file];
    const auto said = layout.file_of.find(entries[i].name);
    if (said == layout.file_of.end()) unnamed.add(entries[i].name, file);
    if (said != layout.file_of.end() && said->second != file) {
      stale.add(entries[i].name, file);
    } else if (!last.emplace(entries[i].name, i).second) {
      last[entries[i].name] = i;
      stale.add(entries[i].name, file);
    }
  }
  for (const auto& [tensor, file] : layout.file_of) {
    if (!last.contains(tensor)) nowhere.add(tensor, file);
  }
  const auto tell = [&](const Disagreement& found, const char* rule, const char* what) {
    if (found.count == 0) return;
    findings.push_back(fmt::format(
        "open_checkpoint: index {} must {}; got {} tensors {}, the first "
        "{} in {}",
        index, rule, found.count, what, in_quotes(found.tensor), in_quotes(found.file)));
  };
  tell(stale, "name the file that a tensor is in",
       "in files that it does not name for them, which "
       "are passed over");
  tell(unnamed, "name every tensor of its files", "that it does not name, which are read");
  tell(nowhere, "name tensors that are in their files", "that are nowhere");
  std::vector<TensorEntry> kept;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto counts = last.find(entries[i].name);
    if (counts != last.end() && counts->second == i) kept.push_back(entries[i]);
  }
  entries = std::move(kept);
  return findings;
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
