// SPDX-License-Identifier: Apache-2.0
// A model's folder in Hugging Face's layout: which files hold its tensors.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// How the name of an index ends.
inline constexpr std::string_view kIndexSuffix = ".safetensors.index.json";

/// The file in an output folder while a run writes the others (write/job.hpp).
inline constexpr std::string_view kJobName = ".octavo-job.json";

/// Which files a checkpoint is made of.
struct Layout {
  std::string folder;                ///< of a folder: its path; else empty
  std::string beside;                ///< the folder that all files lie in
  std::vector<std::string> files{};  ///< without their folder; sorted where an index names them
  std::string index{};               ///< the index file without its folder; empty: none
  std::map<std::string, std::string, std::less<>> file_of{};  ///< by tensor, as the index says
  std::vector<std::string> findings{};  ///< sentences: what in the folder is passed over
};

/// The layout of a file, an index (*.safetensors.index.json) or a folder. A folder has an index or
/// one file: model.safetensors, or the only one named *.safetensors. Names of files in an index are
/// untrusted: they have to be names, not paths. Throws Error: unavailable, io, corrupt_data.
Layout layout_of(const std::string& path);

/// Takes out of `entries`, which are those of all files, what the index gives to another file: the
/// index is the authority, as in transformers. Of a tensor that it does not name, the last file's
/// counts. Returns a sentence for each way in which index and files disagree.
std::vector<std::string> settle(const Layout& layout, std::vector<TensorEntry>& entries);

/// The text of a file of at most `most_bytes`; nothing where there is none. Throws Error (io,
/// corrupt_data: a longer one).
std::optional<std::string> small_text(const std::string& path, std::size_t most_bytes);

}  // namespace octavo::checkpoint
