// SPDX-License-Identifier: Apache-2.0
// The table of devices, and the host's row.
#include "core/devices.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <new>

#include "core/cuda/devices.hpp"
#include "core/pages.hpp"

namespace octavo {
namespace {

// A large block lies in large pages where the system gives them.
std::align_val_t alignment_of(std::size_t bytes) noexcept {
  constexpr std::size_t kAlignment = 64;
  return std::align_val_t{bytes >= kLargePage ? kLargePage : kAlignment};
}

void* allocate(std::size_t bytes, const Place&) noexcept {
  void* memory = ::operator new(bytes, alignment_of(bytes), std::nothrow);
  if (memory != nullptr && bytes >= kLargePage) prefer_large_pages(memory, bytes);
  return memory;
}

void release(void* memory, std::size_t bytes, const Place&) noexcept {
  ::operator delete(memory, alignment_of(bytes));
}

Status copy(const TensorView& from, const TensorView& to, std::size_t bytes, void*) noexcept {
  if (bytes > 0) std::memcpy(to.data, from.data, bytes);
  return {};
}

constexpr DeviceMemory kHostMemory{
    .unavailable = [](std::int32_t) noexcept -> const char* { return nullptr; },
    .allocate = &allocate,
    .release = &release,
    .copy = &copy,
    .wait = [](const Place&) noexcept { return Status(); },
};

constexpr DeviceKind kHost{DeviceType::cpu, "cpu", "CPU", &kHostMemory};
constexpr DeviceKind kCuda{DeviceType::cuda, "cuda", "CUDA", &cuda::kCudaMemory};

constinit std::array<const DeviceKind*, 3> kinds{&kHost, &kCuda, nullptr};
constinit std::size_t kind_count = 2;

}  // namespace

std::span<const DeviceKind* const> device_kinds() noexcept { return {kinds.data(), kind_count}; }

const DeviceKind* find_kind(DeviceType type) noexcept {
  for (const DeviceKind* kind : device_kinds()) {
    if (kind->type == type) return kind;
  }
  return nullptr;
}

std::string device_string(const Device& device) {
  const DeviceKind* kind = find_kind(device.type);
  if (kind == &kHost) return std::string(kind->name);
  if (kind != nullptr) return fmt::format("{}:{}", kind->name, device.index);
  return fmt::format("type {}:{}", static_cast<int>(device.type), device.index);
}

void add_device(const DeviceKind& kind) noexcept {
  if (kind_count < kinds.size()) kinds[kind_count++] = &kind;
}

}  // namespace octavo
