// SPDX-License-Identifier: Apache-2.0
// The safetensors reader and the dialects: any bytes are a file, whose tensors and layers are read.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "fuzz/read_file.hpp"

namespace {

/// Inputs that begin with '{' are header and data without the length, the data behind a NUL byte:
/// without a length that fits, no mutation would get any further.
std::string file_of(std::string_view input) {
  if (input.empty() || input[0] != '{') return std::string(input);
  const std::string_view json = input.substr(0, input.find('\0'));
  const std::string_view data = input.substr(std::min(input.size(), json.size() + 1));
  const std::uint64_t length = json.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes.append(json).append(data);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  octavo::fuzz::read_file(file_of({reinterpret_cast<const char*>(data), size}));
  return 0;
}
