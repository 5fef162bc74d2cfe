// SPDX-License-Identifier: Apache-2.0
// Memory that the host must not touch by the addresses that tensors carry.
//
//   tensors carry    +----------------+
//   these addresses  |   no access    | ---+
//                    +----------------+    |  one file in memory, mapped twice
//   who may touch    +----------------+    |
//   it uses these    |  read, write   | ---+
//                    +----------------+
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

namespace octavo::test {

class FarMemory {
 public:
  FarMemory();
  FarMemory(const FarMemory&) = delete;
  FarMemory& operator=(const FarMemory&) = delete;

  /// Poisoned; null where there is no more. `owner` is a number of the caller's.
  void* allocate(std::size_t bytes, int owner = 0);
  /// Poisoned again: whoever reads it afterwards shows. False where nothing begins there.
  bool release(void* memory);
  /// The owner of the allocation that has all these bytes, -1 where none has.
  int owner(const void* address, std::size_t bytes) const;

  /// The address that works, for one of these; any other as it is.
  template <class T>
  T* near(T* address) const {
    const auto* bytes = reinterpret_cast<const char*>(address);
    if (bytes < far_ || bytes > far_ + kBytes) return address;
    return reinterpret_cast<T*>(const_cast<char*>(near_ + (bytes - far_)));
  }
  bool has(const void* address) const {
    const auto* bytes = static_cast<const char*>(address);
    return bytes >= far_ && bytes < far_ + kBytes;
  }

 private:
  static constexpr std::size_t kBytes = std::size_t{4} << 30;  // of addresses
  struct Block {
    std::size_t bytes;
    int owner;
  };

  mutable std::mutex mutex_;
  char *far_ = nullptr, *near_ = nullptr;
  std::map<std::size_t, std::size_t> free_;
  std::map<std::size_t, Block> live_;
};

}  // namespace octavo::test
