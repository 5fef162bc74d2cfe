// SPDX-License-Identifier: Apache-2.0
// The reader of GGUF files: any bytes behind the magic are one, whose tensors and layers are read.
#include <cstdint>
#include <string>
#include <string_view>

#include "fuzz/read_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes = "GGUF";
  bytes.append(reinterpret_cast<const char*>(data), size);
  octavo::fuzz::read_file(bytes);
  return 0;
}
