// SPDX-License-Identifier: Apache-2.0
// Files: one that is read exactly as asked, and one that appears whole or not at all.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

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
  /// Asks the operating system to have those bytes at hand soon.
  void announce(std::int64_t offset, std::int64_t bytes) const noexcept;
  /// Whether the file has holes, that is takes less of the disk than its size.
  bool sparse() const noexcept { return sparse_; }
  /// A line of its path, size and time of change, which tells it from one that is written anew.
  std::string identity() const;

 private:
  std::string path_;
  Descriptor fd_;
  std::int64_t bytes_ = 0;
  bool sparse_ = false;
};

/// The size of a file, 0 where there is none. Allocates nothing.
std::int64_t file_bytes(const char* path) noexcept;

/// Throws Error (invalid_argument) for a path that is empty or holds a NUL byte, behind which the
/// operating system would not read on.
void check_path(const char* operation, std::string_view path);

/// How names begin that writers keep for themselves.
inline constexpr std::string_view kPrivatePrefix = ".octavo-";

/// Whether this process has the lock of an open file or folder from now on, until it is closed.
/// False where another one has it; true as well where the file system has no locks.
bool take_lock(const Descriptor& file) noexcept;

/// Whether a path names what is open.
bool is_still(const char* path, const Descriptor& file) noexcept;

/// Told the path of a temporary file before it is there, and "" once it is gone or in place: what
/// has to be removed if the process ends in between. Must not throw.
using TemporaryListener = std::function<void(const std::string& path)>;

/// Whether a file's space is taken from the disk before it is written.
enum class Space : std::uint8_t { reserved, holes };

/// A file written beside its target and moved over it in one step. Until `commit` returns the
/// target is untouched; without it the temporary file is removed. A replaced file's owner, group
/// and permissions are kept.
///
/// A temporary file is locked (flock) as long as its writer lives, whoever ends it. Those of dead
/// writers, which nobody locks, are removed from the target's folder by the next one.
///
/// A symbolic link as target stays a link: the file that it points to is replaced.
class AtomicFile {
 public:
  /// A file of `bytes`, reserved so that a full disk is noticed before any work is done.
  /// Throws Error (invalid_argument: path; io).
  AtomicFile(const std::string& target, std::int64_t bytes, Space space,
             TemporaryListener listener);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  /// Any number of threads may write at once. What is written goes on to the disk meanwhile.
  void write(std::int64_t offset, std::span<const std::byte> from);
  void commit();

 private:
  [[noreturn]] void refuse_io(const char* step, int error) const;
  void create(bool replaces);
  void keep_identity(const struct stat& old);
  void forget() noexcept;

  TemporaryListener listener_;
  std::string target_;     ///< links resolved
  std::string temporary_;  ///< empty where none is there
  Descriptor fd_;
  Descriptor directory_;
};

}  // namespace octavo::checkpoint
