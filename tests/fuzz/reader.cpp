// SPDX-License-Identifier: Apache-2.0
// The safetensors reader and the dialects: any bytes are a file, whose tensors and layers are read.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "octavo/checkpoint.hpp"

namespace {

/// A file in memory, and its name.
struct MemoryFile {
  int fd = ::memfd_create("fuzz", MFD_CLOEXEC);
  std::string path = "/proc/self/fd/" + std::to_string(fd);

  void fill(std::string_view bytes) const {
    if (::ftruncate(fd, 0) != 0 ||
        ::pwrite(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
      std::abort();
    }
  }
};

template <class Body>
void tolerate(Body&& body) {
  try {
    body();
  } catch (const octavo::Error&) {  // the promised way to say no
  }
}

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
  static const MemoryFile file;
  file.fill(file_of({reinterpret_cast<const char*>(data), size}));
  tolerate([] {
    const octavo::Checkpoint checkpoint = octavo::open_checkpoint(file.path);
    for (const octavo::TensorEntry& entry : checkpoint.entries()) {
      tolerate([&] { (void)checkpoint.tensor(entry.name); });
      if (checkpoint.bytes(entry.name).size() !=
          static_cast<std::size_t>(entry.end - entry.begin)) {
        std::abort();
      }
    }
    for (const std::string& layer : checkpoint.quantized_layers()) {
      tolerate([&] { (void)checkpoint.weight(layer); });
    }
  });
  return 0;
}
