// SPDX-License-Identifier: Apache-2.0
// What the checkpoint tests share: a scratch folder, files made byte by byte, expected errors.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::test {

/// A folder of its own for each test, removed afterwards.
class Scratch : public ::testing::Test {
 protected:
  Scratch() {
    std::string pattern = (std::filesystem::temp_directory_path() / "octavo-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    folder_ = pattern;
  }
  ~Scratch() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  /// The names in the folder, sorted.
  std::vector<std::string> listing() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  std::filesystem::path folder_;
};

inline void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Length, header, data: a safetensors file, however wrong.
inline std::string raw_file(std::uint64_t length, std::string_view json, std::string_view data) {
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes.append(json).append(data);
}
inline std::string raw_file(std::string_view json, std::size_t data_bytes = 0) {
  return raw_file(json.size(), json, std::string(data_bytes, '\x5A'));
}

/// Runs `body` and expects an Error of that code whose sentence contains `fragment` and is one
/// line.
template <class Body>
void expect_error(Code code, std::string_view fragment, Body&& body) {
  try {
    body();
    ADD_FAILURE() << "no error; expected: " << fragment;
  } catch (const Error& error) {
    const std::string_view what = error.what();
    EXPECT_EQ(code, error.code()) << what;
    EXPECT_NE(std::string_view::npos, what.find(fragment)) << what << "\nexpected: " << fragment;
    EXPECT_EQ(std::string_view::npos, what.find_first_of("\n\r")) << what;
  }
}

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// A tensor to be written whose elements are at hand.
template <class T>
TensorToWrite stored(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                     const std::vector<T>& values) {
  return {std::move(name), std::move(dtype), std::move(shape),
          [bytes = bytes_of(values)] { return bytes; }};
}

}  // namespace octavo::test
