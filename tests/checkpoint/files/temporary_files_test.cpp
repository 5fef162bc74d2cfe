// SPDX-License-Identifier: Apache-2.0
// The writer's temporary files, whoever dies and whatever the operating system refuses; what a
// replaced file keeps; config.json beside a file.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdarg>

#include "checkpoint/support.hpp"

namespace octavo::test {
namespace {

/// The call of the writer that fails: 1 is the next one, 0 none. Counts down.
thread_local int failing_call = 0;

bool fails() {
  if (failing_call == 0 || --failing_call > 0) return false;
  errno = EIO;
  return true;
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace
}  // namespace octavo::test

// What the writer calls, in front of the C library's own.
extern "C" {

int openat(int directory, const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if (octavo::test::fails()) return -1;
  return octavo::test::next<int(int, const char*, int, ...)>("openat")(directory, path, flags,
                                                                       mode);
}
ssize_t pwrite(int fd, const void* data, size_t bytes, off_t offset) {
  if (octavo::test::fails()) return -1;
  return octavo::test::next<ssize_t(int, const void*, size_t, off_t)>("pwrite")(fd, data, bytes,
                                                                                offset);
}
int posix_fallocate(int fd, off_t offset, off_t bytes) {
  if (octavo::test::fails()) return EIO;
  return octavo::test::next<int(int, off_t, off_t)>("posix_fallocate")(fd, offset, bytes);
}
int fsync(int fd) {
  if (octavo::test::fails()) return -1;
  return octavo::test::next<int(int)>("fsync")(fd);
}
int fchmod(int fd, mode_t mode) noexcept {
  if (octavo::test::fails()) return -1;
  return octavo::test::next<int(int, mode_t)>("fchmod")(fd, mode);
}
int flock(int fd, int operation) noexcept {
  if (octavo::test::fails()) return -1;
  return octavo::test::next<int(int, int)>("flock")(fd, operation);
}
int rename(const char* from, const char* to) noexcept {
  if (octavo::test::fails()) return -1;
  return octavo::test::next<int(const char*, const char*)>("rename")(from, to);
}

}  // extern "C"

namespace octavo::test {
namespace {

using Names = std::vector<std::string>;

class TemporaryFiles : public Scratch {
 protected:
  std::vector<TensorToWrite> tensors(std::function<void()> midway = [] {}) const {
    return {{"a", "I8", {1}, [midway] {
               midway();
               return std::vector<std::byte>(1);
             }}};
  }
  /// The process that holds a lock on, or is in the middle of writing, what `body` says.
  template <class Body>
  static pid_t start(Body&& body) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    body();
    ::_exit(0);
  }
};

TEST_F(TemporaryFiles, AFaultAtAnyCallLeavesTheOldFileOrTheNewOne) {
  int refused = 0;
  for (int n = 1;; ++n) {
    write_file(path("target"), "old content");
    bool threw = false;
    failing_call = n;
    try {
      write_safetensors(path("target"), tensors());
    } catch (const Error& error) {
      threw = true;
      EXPECT_EQ(Code::io, error.code()) << error.what();
    }
    const bool reached = failing_call == 0;
    failing_call = 0;
    SCOPED_TRACE(n);
    EXPECT_EQ(threw, read_file(path("target")) == "old content");
    EXPECT_EQ(Names{"target"}, listing());
    refused += threw ? 1 : 0;
    if (!reached) break;
  }
  // creating, reserving, permissions, the header, a tensor, flushing, renaming
  EXPECT_EQ(7, refused);
}

TEST_F(TemporaryFiles, OfAWriterThatWasKilledAreRemovedByTheNext) {
  const pid_t child =
      start([&] { write_safetensors(path("target"), tensors([] { ::raise(SIGKILL); })); });
  int status = 0;
  ASSERT_EQ(child, ::waitpid(child, &status, 0));
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_EQ(1U, listing().size());  // nobody could have removed it
  write_safetensors(path("other"), tensors());
  EXPECT_EQ(Names{"other"}, listing());
}

TEST_F(TemporaryFiles, OfAWriterThatLivesAreLeftAlone) {
  int ready[2], go[2];
  ASSERT_EQ(0, ::pipe(ready));
  ASSERT_EQ(0, ::pipe(go));
  const pid_t child = start([&] {
    write_safetensors(path("slow"), tensors([&] {
                        char byte = 0;
                        if (::write(ready[1], &byte, 1) != 1 || ::read(go[0], &byte, 1) != 1) {
                          ::_exit(1);
                        }
                      }));
  });
  char byte = 0;
  ASSERT_EQ(1, ::read(ready[0], &byte, 1));
  const Names before = listing();
  ASSERT_EQ(1U, before.size());
  write_safetensors(path("quick"), tensors());
  Names expected = before;
  expected.emplace_back("quick");
  EXPECT_EQ(expected, listing());
  ASSERT_EQ(1, ::write(go[1], &byte, 1));
  int status = 0;
  ASSERT_EQ(child, ::waitpid(child, &status, 0));
  EXPECT_EQ(0, status);
  EXPECT_EQ((Names{"quick", "slow"}), listing());
  for (const int fd : {ready[0], ready[1], go[0], go[1]}) ::close(fd);
}

// The name of a writer's file, of 32 digits.
std::string temporary(char digit) {
  return std::string(".octavo-").append(32, digit).append(".tmp");
}

TEST_F(TemporaryFiles, OnlyRegularFilesOfThatNameAreRemoved) {
  write_file(path(temporary('1')), "x");
  const Names others{".octavo-1.tmp", ".octavo-" + std::string(32, 'g') + ".tmp",
                     ".octavo-" + std::string(33, '1') + ".tmp", ".octavo-other", "kept.tmp"};
  for (const std::string& name : others) write_file(path(name), "x");
  ASSERT_EQ(0, ::mkfifo(path(temporary('2')).c_str(), 0600));
  std::filesystem::create_symlink("kept.tmp", folder_ / temporary('3'));
  std::filesystem::create_directory(folder_ / temporary('4'));
  write_safetensors(path("target"), tensors());
  Names left{temporary('2'), temporary('3'), temporary('4'), "target"};
  left.insert(left.end(), others.begin(), others.end());
  std::ranges::sort(left);
  EXPECT_EQ(left, listing());
}

TEST_F(TemporaryFiles, AReplacedFileKeepsItsOwnerAndItsPermissions) {
  if (::geteuid() != 0) GTEST_SKIP() << "only the superuser gives files away";
  write_file(path("target"), "old content");
  ASSERT_EQ(0, ::chown(path("target").c_str(), 1234, 4321));
  ASSERT_EQ(0, ::chmod(path("target").c_str(), 04640));
  mode_t midway = 0;
  write_safetensors(path("target"), tensors([&] {
                      for (const std::string& name : listing()) {
                        struct stat status {};
                        ASSERT_EQ(0, ::stat(path(name).c_str(), &status));
                        midway |= status.st_mode & 07777U;
                      }
                    }));
  EXPECT_EQ(04640U, midway);  // nobody else could read it before
  struct stat status {};
  ASSERT_EQ(0, ::stat(path("target").c_str(), &status));
  EXPECT_EQ(1234U, status.st_uid);
  EXPECT_EQ(4321U, status.st_gid);
  EXPECT_EQ(04640U, status.st_mode & 07777U);
}

TEST_F(TemporaryFiles, AnOwnerThatCannotBeKeptIsAnError) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs the file of somebody else";
  constexpr uid_t kNobody = 65534;
  write_file(path("target"), "old content");
  ASSERT_EQ(0, ::chmod(folder_.c_str(), 0777));
  ASSERT_EQ(0, ::seteuid(kNobody));
  expect_error(Code::io, "cannot keep the owner 0:0",
               [&] { write_safetensors(path("target"), tensors()); });
  ASSERT_EQ(0, ::seteuid(0));
  EXPECT_EQ("old content", read_file(path("target")));
  EXPECT_EQ(Names{"target"}, listing());
}

TEST_F(TemporaryFiles, ThePathHasToNameAFile) {
  for (const std::string& bad : {std::string(), std::string("a\0b", 3)}) {
    const char* const rule = "path must name a file, without NUL bytes; got ";
    expect_error(Code::invalid_argument, rule, [&] { write_safetensors(bad, tensors()); });
    expect_error(Code::invalid_argument, rule, [&] { open_checkpoint(bad); });
  }
}

TEST_F(TemporaryFiles, TheListenerKnowsThePathAsLongAsItIsThere) {
  write_safetensors(path("in"), {stored<float>("l.weight", "F32", {1, 2}, {1, 2})});
  std::vector<std::string> told;
  std::size_t midway = 0;
  QuantizeFileOptions options;
  options.temporary = [&](const std::string& name) {
    told.push_back(name);
    EXPECT_FALSE(std::filesystem::exists(name));
  };
  options.progress = [&](std::int64_t, std::int64_t) {
    ++midway;
    EXPECT_TRUE(std::filesystem::exists(told.back()));
  };
  quantize_file(path("in"), path("out"), options);
  EXPECT_LE(1U, midway);
  ASSERT_EQ(2U, told.size());
  EXPECT_EQ("", told.back());
  EXPECT_EQ(folder_, std::filesystem::path(told[0]).parent_path());
}

TEST_F(TemporaryFiles, AConfigJsonThatDoesNotDeclareTheQuantizationIsAWarning) {
  write_safetensors(path("in"), {stored<float>("l.weight", "F32", {1, 2}, {1, 2})});
  for (const Scheme scheme :
       {Scheme::int8_dynamic, Scheme::fp8_dynamic, Scheme::fp8_block, Scheme::llm_int8}) {
    SCOPED_TRACE(scheme_name(scheme));
    const auto warnings = [&] {
      return quantize_file(path("in"), path("out"), {.scheme = scheme}).warnings;
    };
    std::filesystem::remove(path("config.json"));
    EXPECT_EQ(Names{}, warnings());
    const std::string own = open_checkpoint(path("out")).metadata().at("quantization_config");
    const struct {
      std::string text;
      const char* got;
    } rows[] = {
        {"{}", "got no such field: add "},
        {"{\"quantization_config\":null}", "got no such field: add "},
        {R"({"quantization_config":{"quant_method":"gptq"}})", "got one of another method: add "},
        {"{", "got a file that is no JSON: add "},
        {std::string(100000, '['), "got a file that is no JSON: add "},
    };
    for (const auto& row : rows) {
      write_file(path("config.json"), row.text);
      const Names got = warnings();
      ASSERT_EQ(1U, got.size());
      EXPECT_NE(std::string::npos, got[0].find(row.got)) << got[0];
      EXPECT_NE(std::string::npos, got[0].find("\"quantization_config\": " + own)) << got[0];
      EXPECT_EQ(std::string::npos, got[0].find('\n'));
    }
    write_file(path("config.json"), R"({"a":1,"quantization_config":)" + own + "}");
    EXPECT_EQ(Names{}, warnings());

    const LayerToWrite layer{"l", open_checkpoint(path("out")).weight("l")};
    EXPECT_EQ(Names{}, write_checkpoint(path("out"), std::span(&layer, 1)));
    write_file(path("config.json"), "{}");
    EXPECT_EQ(1U, write_checkpoint(path("out"), std::span(&layer, 1)).size());
    std::filesystem::remove(path("config.json"));
    std::filesystem::create_directory(path("config.json"));
    EXPECT_NE(std::string::npos, warnings().at(0).find("got a file that cannot be read"));
  }
}

}  // namespace
}  // namespace octavo::test
