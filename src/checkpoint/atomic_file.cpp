// SPDX-License-Identifier: Apache-2.0
// Writing: temporary file beside the target, reserve, write, fsync, rename, fsync the directory.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>

#include "checkpoint/file.hpp"
#include "checkpoint/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr mode_t kPermissionBits = 07777;

/// The file that `path` names once every symbolic link in its last component is followed; it need
/// not exist.
std::filesystem::path follow_links(std::filesystem::path path) {
  constexpr int kMostLinks = 40;  // what Linux follows
  std::error_code error;
  for (int hop = 0; hop < kMostLinks; ++hop) {
    if (!std::filesystem::is_symlink(path, error)) return path;
    const std::filesystem::path next = std::filesystem::read_symlink(path, error);
    if (error) break;
    path = path.parent_path() / next;
  }
  refuse(Code::io, "write_safetensors: cannot follow the symbolic links of {}",
         in_quotes(path.string()));
}

/// The permissions of an existing target, which the new file takes over.
std::optional<mode_t> existing_mode(const std::string& target) {
  struct stat status {};
  if (::stat(target.c_str(), &status) != 0) return std::nullopt;
  if (!S_ISREG(status.st_mode)) {
    refuse(Code::io, "write_safetensors: path must name a regular file or nothing yet; got {}",
           in_quotes(target));
  }
  return status.st_mode & kPermissionBits;
}

/// Makes a new file in `directory`, with the permissions that the process gives new files.
Descriptor create_beside(const std::filesystem::path& directory, std::string& name) {
  static std::atomic<std::uint64_t> counter{0};
  constexpr mode_t kReadWriteAll = 0666;
  constexpr int kTries = 1000;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    name = (directory / fmt::format(".octavo-{}-{}.tmp", ::getpid(), ++counter)).string();
    const int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kReadWriteAll);
    if (fd >= 0 || errno != EEXIST) return Descriptor(fd);
  }
  return Descriptor();
}

}  // namespace

void AtomicFile::refuse_io(const char* step, int error) const {
  refuse(Code::io, "write_safetensors: cannot {} for {}: {}", step, in_quotes(target_),
         std::system_category().message(error));
}

AtomicFile::AtomicFile(const std::string& target, std::int64_t bytes) {
  const std::filesystem::path resolved = follow_links(target);
  target_ = resolved.string();
  const std::optional<mode_t> mode = existing_mode(target_);
  const std::filesystem::path parent = resolved.has_parent_path() ? resolved.parent_path() : ".";

  directory_ = Descriptor(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_.valid()) refuse_io("open the directory", errno);
  fd_ = create_beside(parent, temporary_);
  if (!fd_.valid()) {
    const int error = errno;
    temporary_.clear();
    refuse_io("create a temporary file", error);
  }
  // From here on a failure must remove the temporary file, and no destructor runs for an object
  // whose constructor throws.
  try {
    int error = 0;
    do {
      error = ::posix_fallocate(fd_.get(), 0, static_cast<off_t>(bytes));
    } while (error == EINTR);
    if (error != 0) refuse_io(fmt::format("reserve {} bytes", bytes).c_str(), error);
    if (mode && ::fchmod(fd_.get(), *mode) != 0) refuse_io("set the permissions", errno);
  } catch (...) {
    ::unlink(temporary_.c_str());
    throw;
  }
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::int64_t offset, std::span<const std::byte> from) {
  constexpr std::size_t kChunk = std::size_t{1} << 30;
  while (!from.empty()) {
    const ssize_t put =
        ::pwrite(fd_.get(), from.data(), std::min(from.size(), kChunk), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) refuse_io("write", put < 0 ? errno : EIO);
    from = from.subspan(static_cast<std::size_t>(put));
    offset += put;
  }
}

void AtomicFile::commit() {
  if (::fsync(fd_.get()) != 0) refuse_io("flush the data", errno);
  if (::close(fd_.release()) != 0) refuse_io("close the temporary file", errno);
  if (std::rename(temporary_.c_str(), target_.c_str()) != 0) refuse_io("rename", errno);
  temporary_.clear();
  // The new file is in place. If this fails, a power cut may bring the old one back, never a mix.
  (void)::fsync(directory_.get());
}

}  // namespace octavo::checkpoint
