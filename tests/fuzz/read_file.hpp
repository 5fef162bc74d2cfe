// SPDX-License-Identifier: Apache-2.0
// A file in memory is opened, and everything in it is read.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "octavo/checkpoint.hpp"

namespace octavo::fuzz {

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
  } catch (const Error&) {  // the promised way to say no
  }
}

inline void read_file(std::string_view bytes) {
  static const MemoryFile file;
  file.fill(bytes);
  tolerate([] {
    const Checkpoint checkpoint = open_checkpoint(file.path);
    for (const TensorEntry& entry : checkpoint.entries()) {
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
}

}  // namespace octavo::fuzz
