// SPDX-License-Identifier: Apache-2.0
// The writer: a file appears whole or not at all, and nothing else is left behind.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>

#include "checkpoint/support.hpp"

namespace octavo::test::atomic_writer_test {
namespace {

class AtomicWriter : public Scratch {
 protected:
  void SetUp() override { write_file(path("target"), "old content"); }

  /// The old file is as it was and no temporary file lies beside it.
  void expect_untouched(const std::vector<std::string>& names = {"target"}) const {
    EXPECT_EQ("old content", read_file(path("target")));
    EXPECT_EQ(names, listing());
  }
};

std::vector<TensorToWrite> some() {
  return {stored<float>("a", "F32", {2}, {1, 2}), stored<std::int8_t>("b", "I8", {1}, {3})};
}

TEST_F(AtomicWriter, ReplacesTheTargetAndKeepsItsPermissions) {
  ASSERT_EQ(0, ::chmod(path("target").c_str(), 0640));
  write_safetensors(path("target"), some());
  EXPECT_EQ(2U, open_checkpoint(path("target")).entries().size());
  EXPECT_EQ(std::vector<std::string>{"target"}, listing());
  struct stat status {};
  ASSERT_EQ(0, ::stat(path("target").c_str(), &status));
  EXPECT_EQ(0640U, status.st_mode & 07777U);
}

TEST_F(AtomicWriter, ANewFileGetsThePermissionsOfTheProcess) {
  const mode_t old = ::umask(027);
  write_safetensors(path("new"), some());
  ::umask(old);
  struct stat status {};
  ASSERT_EQ(0, ::stat(path("new").c_str(), &status));
  EXPECT_EQ(0640U, status.st_mode & 07777U);
}

TEST_F(AtomicWriter, ATensorThatThrowsMidwayLeavesEverythingAsItWas) {
  auto tensors = some();
  tensors[1].bytes = []() -> std::vector<std::byte> { throw std::runtime_error("no data"); };
  EXPECT_THROW(write_safetensors(path("target"), tensors), std::runtime_error);
  expect_untouched();
}

TEST_F(AtomicWriter, MemoryThatRunsOutMidwayIsAnErrorAndLeavesEverythingAsItWas) {
  auto tensors = some();
  tensors[1].bytes = []() -> std::vector<std::byte> { throw std::bad_alloc(); };
  expect_error(Code::out_of_memory, "write_safetensors: memory",
               [&] { write_safetensors(path("target"), tensors); });
  expect_untouched();
}

TEST_F(AtomicWriter, WrongTensorsAreRefused) {
  struct Row {
    TensorToWrite tensor;
    const char* fragment;
  };
  const Row rows[] = {
      {stored<std::int8_t>("x", "I8", {2}, {1}), "must give the 2 bytes of I8 [2]; got 1"},
      {stored<std::int8_t>("x", "I9", {1}, {1}), "must be a safetensors type; got 'I9'"},
      {stored<std::int8_t>("x", "I8", {-1}, {1}), "no negative extent"},
      {stored<std::int8_t>("x", "F4", {1}, {1}), "fill whole bytes"},
      {stored<std::int8_t>("x", "I8", {1LL << 32, 1LL << 32, 0}, {}), "fill whole bytes"},
      {stored<std::int8_t>("__metadata__", "I8", {1}, {1}), "must not be '__metadata__'"},
      {stored<std::int8_t>(std::string(65537, 'n'), "I8", {1}, {1}), "longer than 65536 bytes"},
      {stored<std::int8_t>("\xC3(", "I8", {1}, {1}), "must be UTF-8"},
      {stored<std::int8_t>("a", "I8", {1}, {1}), "must be unique; got 'a' twice"},
  };
  for (const Row& row : rows) {
    auto tensors = some();
    tensors.push_back(row.tensor);
    expect_error(Code::invalid_argument, row.fragment,
                 [&] { write_safetensors(path("target"), tensors); });
    expect_untouched();
  }
}

TEST_F(AtomicWriter, AFolderThatIsMissingOrATargetThatIsNoFile) {
  expect_error(Code::io, "cannot open the directory",
               [&] { write_safetensors(path("none/x"), some()); });
  expect_error(Code::io, "must name a regular file",
               [&] { write_safetensors(folder_.string(), some()); });
  ASSERT_EQ(0, ::mkfifo(path("pipe").c_str(), 0600));
  expect_error(Code::io, "must name a regular file",
               [&] { write_safetensors(path("pipe"), some()); });
  expect_untouched({"pipe", "target"});
}

TEST_F(AtomicWriter, AFolderThatMayNotBeWritten) {
  // Permissions do not bind the superuser, who has to be somebody else for a moment.
  constexpr uid_t kNobody = 65534;
  const uid_t user = ::geteuid();
  ASSERT_EQ(0, ::chmod(folder_.c_str(), 0555));
  ASSERT_EQ(0, ::seteuid(user == 0 ? kNobody : user));
  expect_error(Code::io, "cannot create a temporary file",
               [&] { write_safetensors(path("target"), some()); });
  ASSERT_EQ(0, ::seteuid(user));
  ASSERT_EQ(0, ::chmod(folder_.c_str(), 0700));
  expect_untouched();
}

TEST_F(AtomicWriter, AFullDiskIsNoticedBeforeAnyTensorIsMade) {
  struct rlimit before {};
  ASSERT_EQ(0, ::getrlimit(RLIMIT_FSIZE, &before));
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 4096;
  ASSERT_EQ(0, ::setrlimit(RLIMIT_FSIZE, &small));
  bool called = false;
  auto tensors = some();
  tensors[0].bytes = [&called] {
    called = true;
    return std::vector<std::byte>(8);
  };
  expect_error(Code::io, "cannot reserve 4105 bytes",
               [&] { write_safetensors(path("target"), tensors); });
  ASSERT_EQ(0, ::setrlimit(RLIMIT_FSIZE, &before));
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(called);
  expect_untouched();
}

TEST_F(AtomicWriter, AWriteThatFailsMidwayLeavesEverythingAsItWas) {
  struct rlimit before {};
  ASSERT_EQ(0, ::getrlimit(RLIMIT_FSIZE, &before));
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  auto tensors = some();
  // The disk is reserved by now; the limit strikes at the write of this very tensor.
  tensors[1].bytes = [&before] {
    struct rlimit small = before;
    small.rlim_cur = 4096;
    EXPECT_EQ(0, ::setrlimit(RLIMIT_FSIZE, &small));
    return std::vector<std::byte>(1);
  };
  expect_error(Code::io, "cannot write", [&] { write_safetensors(path("target"), tensors); });
  ASSERT_EQ(0, ::setrlimit(RLIMIT_FSIZE, &before));
  std::signal(SIGXFSZ, handler);
  expect_untouched();
}

TEST_F(AtomicWriter, ASymbolicLinkStaysALink) {
  std::filesystem::create_directory(folder_ / "below");
  std::filesystem::create_symlink("below/real", folder_ / "link");
  write_safetensors(path("link"), some());
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "link"));
  EXPECT_EQ(2U, open_checkpoint(path("below/real")).entries().size());

  std::filesystem::create_symlink("loop", folder_ / "loop");
  expect_error(Code::io, "cannot follow the symbolic links",
               [&] { write_safetensors(path("loop"), some()); });
}

TEST_F(AtomicWriter, ARelativePathWithoutAFolder) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_);
  write_safetensors("target", some());
  std::filesystem::current_path(before);
  EXPECT_EQ(2U, open_checkpoint(path("target")).entries().size());
}

TEST_F(AtomicWriter, AnOpenReaderKeepsTheOldFile) {
  write_safetensors(path("target"), some());
  const Checkpoint old = open_checkpoint(path("target"));
  write_safetensors(path("target"), {stored<float>("a", "F32", {2}, {7, 8})});
  EXPECT_EQ(2.0F, old.tensor("a").data_as<float>()[1]);
  EXPECT_EQ(8.0F, open_checkpoint(path("target")).tensor("a").data_as<float>()[1]);
}

}  // namespace
}  // namespace octavo::test::atomic_writer_test
