// SPDX-License-Identifier: Apache-2.0
// Writing: a locked temporary file beside the target, reserve, write, fsync, rename, fsync the
// directory.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "checkpoint/safetensors/file.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr mode_t kPermissionBits = 07777;
constexpr std::string_view kSuffix = ".tmp";
constexpr std::size_t kDigits = 32;  // of a temporary file's name, hexadecimal

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

/// What an existing target is, whose owner and permissions the new file takes over.
std::optional<struct stat> existing(const std::string& target) {
  struct stat status {};
  if (::stat(target.c_str(), &status) != 0) return std::nullopt;
  if (!S_ISREG(status.st_mode)) {
    refuse(Code::io, "write_safetensors: path must name a regular file or nothing yet; got {}",
           in_quotes(target));
  }
  return status;
}

/// A name that nobody else has: a process number would not do, since they repeat, and containers
/// that share a folder have the same.
std::string new_name() {
  std::array<std::uint64_t, 2> random{};
  if (::getrandom(random.data(), sizeof random, 0) != static_cast<ssize_t>(sizeof random)) {
    static std::atomic<std::uint64_t> counter{0};
    random = {static_cast<std::uint64_t>(::getpid()), ++counter};
  }
  return fmt::format("{}{:016x}{:016x}{}", kPrivatePrefix, random[0], random[1], kSuffix);
}

/// Whether new_name() could have made it.
bool is_temporary(std::string_view name) noexcept {
  if (name.size() != kPrivatePrefix.size() + kDigits + kSuffix.size()) return false;
  return name.starts_with(kPrivatePrefix) && name.ends_with(kSuffix) &&
         name.find_first_not_of("0123456789abcdef", kPrivatePrefix.size()) ==
             kPrivatePrefix.size() + kDigits;
}

/// Whether the lock of an open file could be taken; where the file system has none, never.
bool take_lock(int fd) noexcept { return ::flock(fd, LOCK_EX | LOCK_NB) == 0; }

/// Whether `name` in that folder is the open file still.
bool is_still(int directory, const char* name, int flags, int fd) noexcept {
  struct stat opened {};
  struct stat named {};
  return ::fstat(fd, &opened) == 0 && ::fstatat(directory, name, &named, flags) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/// Removes a temporary file of a writer that is dead. Failures are its next chance.
void remove_if_stale(int directory, const char* name) noexcept {
  const Descriptor file(::openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return;
  if (take_lock(file.get()) && is_still(directory, name, AT_SYMLINK_NOFOLLOW, file.get())) {
    (void)::unlinkat(directory, name, 0);
  }
}

void remove_stale(int directory) {
  struct Close {
    void operator()(DIR* stream) const noexcept { ::closedir(stream); }
  };
  // Another description of the folder: the stream's place is its own.
  Descriptor again(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::unique_ptr<DIR, Close> stream(again.valid() ? ::fdopendir(again.get()) : nullptr);
  if (!stream) return;
  (void)again.release();  // the stream's now
  while (const dirent* entry = ::readdir(stream.get())) {
    if (is_temporary(entry->d_name)) remove_if_stale(directory, entry->d_name);
  }
}

}  // namespace

bool take_lock(const Descriptor& file) noexcept {
  return take_lock(file.get()) || errno != EWOULDBLOCK;
}

bool is_still(const char* path, const Descriptor& file) noexcept {
  return is_still(AT_FDCWD, path, 0, file.get());
}

void AtomicFile::refuse_io(const char* step, int error) const {
  refuse(Code::io, "write_safetensors: cannot {} for {}: {}", step, in_quotes(target_),
         std::system_category().message(error));
}

// Makes and locks the temporary file. One that replaces a file is nobody else's to read before it
// has that file's permissions; a new one has those that the process gives new files.
void AtomicFile::create(bool replaces) {
  constexpr int kTries = 100;
  const mode_t mode = replaces ? 0600 : 0666;
  const std::filesystem::path folder = std::filesystem::path(target_).parent_path();
  int error = EEXIST;
  for (int attempt = 0; attempt < kTries && error == EEXIST; ++attempt) {
    const std::string name = new_name();
    temporary_ = (folder / name).string();
    if (listener_) listener_(temporary_);
    fd_ = Descriptor(
        ::openat(directory_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    // Between its making and its locking another writer may have taken it for stale.
    if (fd_.valid() && take_lock(fd_) &&
        is_still(directory_.get(), name.c_str(), AT_SYMLINK_NOFOLLOW, fd_.get())) {
      return;
    }
    error = fd_.valid() ? EEXIST : errno;
    if (fd_.valid()) (void)::unlink(temporary_.c_str());
    fd_ = Descriptor();
    forget();
  }
  refuse_io("create a temporary file", error);
}

void AtomicFile::forget() noexcept {
  temporary_.clear();
  if (listener_) listener_(temporary_);
}

AtomicFile::AtomicFile(const std::string& target, std::int64_t bytes, Space space,
                       TemporaryListener listener)
    : listener_(std::move(listener)) {
  check_path("write_safetensors", target);
  const std::filesystem::path resolved = follow_links(target);
  target_ = resolved.string();
  const std::optional<struct stat> old = existing(target_);
  const std::filesystem::path parent = resolved.has_parent_path() ? resolved.parent_path() : ".";

  directory_ = Descriptor(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_.valid()) refuse_io("open the directory", errno);
  remove_stale(directory_.get());
  create(old.has_value());
  // From here on a failure must remove the temporary file, and no destructor runs for an object
  // whose constructor throws.
  try {
    int error = 0;
    do {
      error = space == Space::reserved ? ::posix_fallocate(fd_.get(), 0, static_cast<off_t>(bytes))
              : ::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0 ? errno
                                                                       : 0;
    } while (error == EINTR);
    if (error != 0) refuse_io(fmt::format("reserve {} bytes", bytes).c_str(), error);
    if (old) keep_identity(*old);
  } catch (...) {
    ::unlink(temporary_.c_str());
    forget();
    throw;
  }
}

// The owner first: changing it takes the permissions' special bits away.
void AtomicFile::keep_identity(const struct stat& old) {
  struct stat own {};
  if (::fstat(fd_.get(), &own) != 0) refuse_io("examine the temporary file", errno);
  const bool same = own.st_uid == old.st_uid && own.st_gid == old.st_gid;
  if (!same && ::fchown(fd_.get(), old.st_uid, old.st_gid) != 0) {
    refuse_io(fmt::format("keep the owner {}:{}", old.st_uid, old.st_gid).c_str(), errno);
  }
  if (::fchmod(fd_.get(), old.st_mode & kPermissionBits) != 0) {
    refuse_io("set the permissions", errno);
  }
}

AtomicFile::~AtomicFile() {
  if (temporary_.empty()) return;
  ::unlink(temporary_.c_str());
  forget();
}

void AtomicFile::write(std::int64_t offset, std::span<const std::byte> from) {
  constexpr std::size_t kChunk = std::size_t{1} << 30;
  constexpr ssize_t kFlushed = ssize_t{1} << 17;
  while (!from.empty()) {
    const ssize_t put =
        ::pwrite(fd_.get(), from.data(), std::min(from.size(), kChunk), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) refuse_io("write", put < 0 ? errno : EIO);
    // Flushing at the end then finds little left to do. A file system that cannot is no error.
    if (put >= kFlushed) {
      (void)::sync_file_range(fd_.get(), offset, static_cast<off_t>(put), SYNC_FILE_RANGE_WRITE);
    }
    from = from.subspan(static_cast<std::size_t>(put));
    offset += put;
  }
}

// The file stays open, and locked, until it has its name: nobody may take it for stale. What
// closing could report, flushing has reported.
void AtomicFile::commit() {
  if (::fsync(fd_.get()) != 0) refuse_io("flush the data", errno);
  if (std::rename(temporary_.c_str(), target_.c_str()) != 0) refuse_io("rename", errno);
  forget();
  // The new file is in place. If this fails, a power cut may bring the old one back, never a mix.
  (void)::fsync(directory_.get());
}

}  // namespace octavo::checkpoint
