// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/open/missing_parts.hpp"

#include <re2/re2.h>

#include <filesystem>
#include <memory>
#include <system_error>

#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/folder.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

constexpr const char* kSplitCount = "split.count";  // of llama.cpp's

/// How many files a name says that there are: 2 of "model-00001-of-00002.safetensors"; else "".
std::string files_in_all(const std::string& name) {
  std::string count;
  RE2::FullMatch(name, R"(.*-\d+-of-0*(\d+)\.safetensors)", &count);
  return count;
}

}  // namespace

std::vector<std::string> missing_parts(const Checkpoint& model) {
  std::vector<std::string> all;
  const std::string& folder = model.folder();
  const auto parts = model.metadata().find(kSplitCount);
  if (model.impl().gguf && parts != model.metadata().end() && parts->second != "1") {
    all.push_back(
        fmt::format("file {} must hold the whole model (llama-gguf-split --merge); got "
                    "one of {}",
                    in_quotes(model.path()), in_quotes(parts->second)));
  }
  if (folder.empty()) return all;
  const std::string& file = model.files().front().name;
  if (model.impl().index.empty() && checkpoint::is_one_of_several(file)) {
    all.push_back(
        fmt::format("folder {} must hold all {} files of the model and their index; got {} alone",
                    in_quotes(folder), files_in_all(file), in_quotes(file)));
  }
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::path(folder) / kJobName, error)) {
    all.push_back(fmt::format(
        "folder {} must be written to its end; got {}, which a run left that was ended: give the "
        "same command again",
        in_quotes(folder), kJobName));
  }
  return all;
}

std::vector<std::string> index_findings(const Checkpoint& model) { return model.impl().findings; }

namespace checkpoint {

bool is_one_of_several(const std::string& file) {
  const std::string count = files_in_all(file);
  return !count.empty() && count != "1";
}

Checkpoint open_whole(const char* operation, const std::string& path, const std::string& out,
                      const std::string& layout_file, OtherBlocks others) {
  const bool to_folder = !out.ends_with(".safetensors");
  const Checkpoint opened(std::make_shared<const Checkpoint::Impl>(
      path, layout_file, to_folder ? operation : nullptr, others));
  for (const std::string& missing : missing_parts(opened)) {
    refuse(Code::corrupt_data, "{}: {}", operation, missing);
  }
  if (opened.impl().gguf) opened.impl().gguf->check_blocks(operation);
  return opened;
}

}  // namespace checkpoint
}  // namespace octavo
