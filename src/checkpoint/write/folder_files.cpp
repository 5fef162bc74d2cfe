// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/write/folder_files.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

#include "checkpoint/declared/declared.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/folder.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

namespace fs = std::filesystem;

/// Weights in forms that would say something else than the quantised ones.
constexpr std::array<std::string_view, 9> kWeightForms{
    ".safetensors", ".bin", ".pt", ".pth", ".gguf", ".ckpt", ".h5", ".msgpack", ".onnx"};

bool is_inside(const fs::path& inner, const fs::path& outer) {
  const auto [end, rest] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return end == outer.end();
}

/// Without links and dots. Throws Error (io).
fs::path resolved(const char* operation, const std::string& path) {
  std::error_code error;
  fs::path found = fs::weakly_canonical(path, error);
  if (error)
    refuse(Code::io, "{}: cannot resolve {}: {}", operation, in_quotes(path), error.message());
  return found;
}

void add(const fs::path& folder, const std::string& prefix, const Checkpoint& in, OtherFiles& all) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), last; !error && it != last; it.increment(error)) {
    const std::string file = it->path().filename().string();
    const std::string name = prefix + file;
    if (file[0] == '.') continue;
    std::error_code status;
    if (it->is_directory(status)) {
      if (!it->is_symlink(status)) add(it->path(), name + "/", in, all);
      continue;
    }
    if (!it->is_regular_file(status)) continue;
    const bool own = prefix.empty() &&
                     std::ranges::find(in.files(), file, &CheckpointFile::name) != in.files().end();
    if (own || is_declaration(name) || file.ends_with(kIndexSuffix)) continue;
    const bool weights = std::ranges::any_of(
        kWeightForms, [&](std::string_view form) { return file.ends_with(form); });
    if (weights) {
      all.left_out.push_back(name);
    } else {
      all.names.push_back(name);
      all.bytes += static_cast<std::int64_t>(it->file_size(status));
    }
  }
  if (error) {
    refuse(Code::io, "open_checkpoint: cannot read folder {}: {}", in_quotes(folder.string()),
           error.message());
  }
}

}  // namespace

OutputFolder::OutputFolder(const char* operation, const std::string& in, const std::string& out,
                           TemporaryListener listener)
    : operation_(operation), path_(out), listener_(std::move(listener)) {
  check_path(operation, out);
  const fs::path from = resolved(operation, in);
  const fs::path to = resolved(operation, out);
  if (is_inside(to, from) || is_inside(from, to)) {
    refuse(
        Code::invalid_argument,
        "{}: out must be a folder beside the input's, not it nor around it nor inside it; got {} "
        "for {}",
        operation, in_quotes(out), in_quotes(in));
  }
  // Between its making and its locking another run may have removed it.
  constexpr int kTries = 100;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    make();
    lock_ = Descriptor(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!lock_.valid() && errno == ENOENT) continue;
    if (!lock_.valid()) {
      refuse(Code::io, "{}: cannot open folder {}: {}", operation, in_quotes(out),
             std::system_category().message(errno));
    }
    if (!take_lock(lock_)) break;
    if (is_still(path_.c_str(), lock_)) return;
  }
  refuse(Code::invalid_argument,
         "{}: folder {} must be written by one run at a time; got another run that writes it",
         operation, in_quotes(out));
}

void OutputFolder::make() {
  std::error_code error;
  made_.clear();
  for (fs::path folder = path_; !folder.empty() && !fs::exists(folder, error);
       folder = folder.parent_path()) {
    made_.push_back(folder.string());
  }
  fs::create_directories(path_, error);
  if (error || !fs::is_directory(path_)) {
    refuse(Code::io, "{}: cannot make folder {}: {}", operation_, in_quotes(path_),
           error ? error.message() : "there is something else of that name");
  }
}

std::string OutputFolder::at(std::string_view name) const {
  return (fs::path(path_) / name).string();
}

bool OutputFolder::holds(std::string_view name, const FileLayout& layout) const {
  if (bytes(name) != layout.bytes) return false;
  const InputFile file(at(name));
  const std::string wanted = layout.start();
  std::string start(wanted.size(), '\0');
  file.read(0, std::as_writable_bytes(std::span(start)));
  return start == wanted;
}

std::int64_t OutputFolder::bytes(std::string_view name) const noexcept {
  return file_bytes(at(name).c_str());
}

std::vector<std::string> OutputFolder::names() const {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(path_, error), last; !error && it != last; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) {
    refuse(Code::io, "{}: cannot read folder {}: {}", operation_, in_quotes(path_),
           error.message());
  }
  std::ranges::sort(names);
  return names;
}

void OutputFolder::write(std::string_view name, std::string_view text) const {
  AtomicFile file(at(name), static_cast<std::int64_t>(text.size()), Space::reserved, listener_);
  file.write(0, std::as_bytes(std::span(text)));
  file.commit();
}

void OutputFolder::copy(const std::string& from, const std::string& name) const {
  const InputFile input((fs::path(from) / name).string());
  const fs::path target(at(name));
  std::error_code error;
  fs::create_directories(target.parent_path(), error);
  AtomicFile file(target.string(), input.bytes(), Space::reserved, listener_);
  std::vector<std::byte> buffer(std::size_t{1} << 20);
  for (std::int64_t at = 0; at < input.bytes();) {
    const auto count = std::min<std::int64_t>(std::ssize(buffer), input.bytes() - at);
    const std::span part = std::span(buffer).first(static_cast<std::size_t>(count));
    input.read(at, part);
    file.write(at, part);
    at += count;
  }
  file.commit();
}

void OutputFolder::remove(std::string_view name) const noexcept {
  std::error_code error;
  fs::remove(at(name), error);
}

void OutputFolder::remove_made() const noexcept {
  for (const std::string& folder : made_) {
    if (::rmdir(folder.c_str()) != 0) return;
  }
}

void OutputFolder::need(std::int64_t bytes) const {
  struct statvfs disk {};
  if (::statvfs(path_.c_str(), &disk) != 0) return;  // what is reserved later says it
  const auto room =
      static_cast<std::int64_t>(disk.f_bavail) * static_cast<std::int64_t>(disk.f_frsize);
  if (bytes <= room) return;
  refuse(Code::io, "{}: folder {} must be on a disk with {} bytes free; got {}", operation_,
         in_quotes(path_), bytes, room);
}

OtherFiles other_files(const Checkpoint& in) {
  OtherFiles all;
  if (in.impl().gguf) {
    for (const auto& [name, text] : in.impl().made_texts) {
      if (is_declaration(name)) continue;
      all.names.push_back(name);
      all.bytes += std::ssize(text);
    }
    return all;
  }
  add(in.impl().beside, "", in, all);
  std::ranges::sort(all.names);
  std::ranges::sort(all.left_out);
  return all;
}

}  // namespace octavo::checkpoint
