// SPDX-License-Identifier: Apache-2.0
#include "output_place.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "octavo/status.hpp"
#include "output.hpp"

namespace octavo::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBeside = ".octavo-new";
constexpr std::string_view kOurs = ".octavo-";  // of a run that goes on, or was killed

[[noreturn]] void refuse_out(Code code, const char* operation, const std::string& rest) {
  throw Error(Status(code, fmt::format("{}: {}", operation, rest)));
}

/// How many files of others a folder holds.
std::int64_t files_of_others(const fs::path& folder) {
  std::error_code error;
  std::int64_t count = 0;
  for (fs::directory_iterator it(folder, error), last; !error && it != last; it.increment(error)) {
    count += it->path().filename().string().starts_with(kOurs) ? 0 : 1;
  }
  return count;
}

bool is_unfinished(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / ".octavo-job.json", error);
}

/// What --overwrite removes is a model, and nothing else that somebody gave the name of.
bool is_model(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder / "config.json", error)) return false;
  for (fs::directory_iterator it(folder, error), last; !error && it != last; it.increment(error)) {
    if (it->path().extension() == ".safetensors") return true;
  }
  return false;
}

/// Whether the model is read as a folder, which is written as a folder.
bool is_folder_input(const std::string& in) {
  std::error_code error;
  return fs::is_directory(in, error) || in.ends_with(".safetensors.index.json");
}

}  // namespace

void refuse_existing(const char* operation, const char* argument, const std::string& path,
                     bool overwrite) {
  std::error_code error;
  if (overwrite || !fs::is_regular_file(path, error)) return;
  refuse_out(Code::invalid_argument, operation,
             fmt::format("{} must be new unless --overwrite is given; got '{}', which is there",
                         argument, printable(path)));
}

OutputPlace::OutputPlace(const char* operation, const std::string& in, const std::string& out,
                         bool overwrite)
    : operation_(operation), out_(out), path_(out) {
  std::error_code error;
  if (in == out || fs::equivalent(in, out, error)) {
    refuse_out(Code::invalid_argument, operation,
               fmt::format("OUT must be another place than IN; got '{}' for both", printable(out)));
  }
  if (!fs::is_directory(out, error)) {
    refuse_existing(operation, "OUT", out, overwrite);
    return;
  }
  if (!is_folder_input(in) || is_unfinished(out)) return;  // the library's to say
  const std::int64_t files = files_of_others(out);
  if (files == 0) return;
  if (!overwrite) {
    refuse_out(Code::invalid_argument, operation,
               fmt::format("OUT must be a new or empty folder unless --overwrite is given; got "
                           "'{}', which holds {}",
                           printable(out), count_text(files, "file")));
  }
  if (!is_model(out)) {
    refuse_out(Code::invalid_argument, operation,
               fmt::format("OUT must be a model's folder (config.json and safetensors files) for "
                           "--overwrite to replace it; got '{}'",
                           printable(out)));
  }
  out_ = fs::canonical(out, error).string();
  path_ = out_ + kBeside;
  lock_folder();
}

OutputPlace::~OutputPlace() {
  if (lock_ >= 0) ::close(lock_);
}

// Where the file system has no locks, nobody is kept away.
void OutputPlace::lock_folder() {
  lock_ = ::open(out_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0 || ::flock(lock_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(lock_);
  refuse_out(Code::invalid_argument, operation_,
             fmt::format("OUT must be written by one run at a time; got '{}', which another run "
                         "writes",
                         printable(out_)));
}

std::string OutputPlace::about_out(std::string sentence) const {
  const std::size_t at = path_ == out_ ? std::string::npos : sentence.find(path_);
  return at == std::string::npos ? sentence : sentence.replace(at, path_.size(), out_);
}

void OutputPlace::done() {
  if (path_ != out_) replace_folder();
}

void OutputPlace::replace_folder() {
  std::error_code error;
  if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, out_.c_str(), RENAME_EXCHANGE) != 0) {
    refuse_out(
        Code::io, operation_,
        fmt::format("folder '{}' must be exchanged for '{}'; got {}: both are there",
                    printable(out_), printable(path_), std::generic_category().message(errno)));
  }
  fs::remove_all(path_, error);  // the old one now
  if (error) {
    warn(fmt::format("{}: what '{}' held before is left in '{}': {}", operation_, out_, path_,
                     error.message()));
  }
}

}  // namespace octavo::cli
