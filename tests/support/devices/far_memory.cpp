// SPDX-License-Identifier: Apache-2.0
#include "support/devices/far_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iterator>

namespace octavo::test {
namespace {

constexpr int kPoison = 0xA5;
constexpr std::size_t kAlignment = 256;  // as CUDA's

// With a gap behind what was asked for.
std::size_t rounded(std::size_t bytes) {
  return (bytes + 2 * kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

FarMemory::FarMemory() {
  const int file = memfd_create("far", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, kBytes) != 0) std::abort();
  void* far = mmap(nullptr, kBytes, PROT_NONE, MAP_SHARED, file, 0);
  void* near = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (far == MAP_FAILED || near == MAP_FAILED) std::abort();
  close(file);
  far_ = static_cast<char*>(far);
  near_ = static_cast<char*>(near);
  free_[0] = kBytes;
}

void* FarMemory::allocate(std::size_t bytes, int owner) {
  const std::lock_guard lock(mutex_);
  const std::size_t size = rounded(bytes);
  for (auto block = free_.begin(); block != free_.end(); ++block) {
    if (block->second < size) continue;
    const auto [at, whole] = *block;
    free_.erase(block);
    if (whole > size) free_[at + size] = whole - size;
    live_[at] = {bytes, owner};
    std::memset(near_ + at, kPoison, bytes);
    return far_ + at;
  }
  return nullptr;
}

bool FarMemory::release(void* memory) {
  const std::lock_guard lock(mutex_);
  if (!has(memory)) return false;
  const auto at = static_cast<std::size_t>(static_cast<char*>(memory) - far_);
  const auto live = live_.find(at);
  if (live == live_.end()) return false;
  std::memset(near_ + at, kPoison, live->second.bytes);
  std::size_t size = rounded(live->second.bytes);
  live_.erase(live);
  auto next = free_.lower_bound(at);
  if (next != free_.end() && at + size == next->first) {
    size += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == at) {
      before->second += size;
      return true;
    }
  }
  free_[at] = size;
  return true;
}

int FarMemory::owner(const void* address, std::size_t bytes) const {
  const std::lock_guard lock(mutex_);
  if (!has(address)) return -1;
  const auto at = static_cast<std::size_t>(static_cast<const char*>(address) - far_);
  auto block = live_.upper_bound(at);
  if (block == live_.begin()) return -1;
  --block;
  return at + bytes <= block->first + block->second.bytes ? block->second.owner : -1;
}

}  // namespace octavo::test
