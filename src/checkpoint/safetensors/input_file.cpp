// SPDX-License-Identifier: Apache-2.0
// Reading: pread into memory that the caller owns, since a memory map turns a file cut short by
// somebody else into a signal.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "checkpoint/safetensors/file.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

std::string reason(int error) { return std::system_category().message(error); }

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Descriptor::~Descriptor() {
  if (valid()) ::close(fd_);
}

void check_path(const char* operation, std::string_view path) {
  if (!path.empty() && path.find('\0') == std::string_view::npos) return;
  refuse(Code::invalid_argument, "{}: path must name a file, without NUL bytes; got {}", operation,
         in_quotes(path));
}

InputFile::InputFile(std::string path) : path_(std::move(path)) {
  check_path("open_checkpoint", path_);
  // O_NONBLOCK: opening a FIFO without a writer must not wait.
  fd_ = Descriptor(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd_.valid()) {
    const int error = errno;
    const bool missing = error == ENOENT || error == ENOTDIR;
    refuse(missing ? Code::unavailable : Code::io, "open_checkpoint: cannot open file {}: {}",
           in_quotes(path_), reason(error));
  }
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) {
    refuse(Code::io, "open_checkpoint: cannot examine file {}: {}", in_quotes(path_),
           reason(errno));
  }
  if (!S_ISREG(status.st_mode)) {
    refuse(Code::io, "open_checkpoint: path must name a regular file; got {}, which is {}",
           in_quotes(path_), S_ISDIR(status.st_mode) ? "a directory" : "a special file");
  }
  constexpr std::int64_t kDiskBlock = 512;  // of st_blocks, whatever the file system's
  bytes_ = status.st_size;
  sparse_ = status.st_blocks > 0 && status.st_blocks * kDiskBlock < bytes_;
}

std::string InputFile::identity() const {
  struct stat status {};
  (void)::fstat(fd_.get(), &status);
  return fmt::format("\n{} {} {}.{}", path_, bytes_, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

void InputFile::announce(std::int64_t offset, std::int64_t bytes) const noexcept {
  (void)::posix_fadvise(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(bytes),
                        POSIX_FADV_WILLNEED);
}

void InputFile::read(std::int64_t offset, std::span<std::byte> into) const {
  constexpr std::size_t kChunk = std::size_t{1} << 30;  // Linux reads less than 2 GiB at once
  while (!into.empty()) {
    const ssize_t got =
        ::pread(fd_.get(), into.data(), std::min(into.size(), kChunk), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      refuse(Code::io, "checkpoint: cannot read file {} at offset {}: {}", in_quotes(path_), offset,
             reason(errno));
    }
    if (got == 0) {
      refuse(
          Code::io,
          "checkpoint: file {} must keep its {} bytes while it is open; got its end at offset {}",
          in_quotes(path_), bytes_, offset);
    }
    into = into.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
}

std::int64_t file_bytes(const char* path) noexcept {
  struct stat status {};
  return ::stat(path, &status) == 0 ? static_cast<std::int64_t>(status.st_size) : 0;
}

}  // namespace octavo::checkpoint
