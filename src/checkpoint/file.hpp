// SPDX-License-Identifier: Apache-2.0
// Files: one that is read exactly as asked, and one that appears whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace octavo::checkpoint {

/// An open file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  int get() const noexcept { return fd_; }
  bool valid() const noexcept { return fd_ >= 0; }
  int release() noexcept {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_;
};

/// A regular file open for reading; any number of threads may read at once. Its size is the one it
/// had when it was opened.
class InputFile {
 public:
  /// Throws Error: unavailable (no such file), io.
  explicit InputFile(std::string path);

  const std::string& path() const noexcept { return path_; }
  std::int64_t bytes() const noexcept { return bytes_; }
  /// Fills `into` from `offset`, to the last byte. Throws Error (io).
  void read(std::int64_t offset, std::span<std::byte> into) const;

 private:
  std::string path_;
  Descriptor fd_;
  std::int64_t bytes_ = 0;
};

/// The size of a file, 0 where there is none. Allocates nothing.
std::int64_t file_bytes(const char* path) noexcept;

/// A file written beside its target and moved over it in one step. Until `commit` returns the
/// target is untouched; without it the temporary file is removed.
///
/// A symbolic link as target stays a link: the file that it points to is replaced.
class AtomicFile {
 public:
  /// Reserves `bytes` of disk, so that a full disk is noticed before any work is done.
  /// Throws Error (io).
  AtomicFile(const std::string& target, std::int64_t bytes);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(std::int64_t offset, std::span<const std::byte> from);
  void commit();

 private:
  [[noreturn]] void refuse_io(const char* step, int error) const;

  std::string target_;  ///< links resolved
  std::string temporary_;
  Descriptor fd_;
  Descriptor directory_;
};

}  // namespace octavo::checkpoint
