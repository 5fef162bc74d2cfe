// SPDX-License-Identifier: Apache-2.0
// The table of devices, and the host's row.
#include "core/devices/devices.hpp"

#include <fmt/core.h>

#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "core/devices/cuda_devices.hpp"
#include "core/devices/large_blocks.hpp"

namespace octavo {
namespace {

constexpr std::align_val_t kAlignment{64};

// Large tensors keep to blocks of their own length: a loop that makes the same ones again finds
// those of the time before, whose pages are there.
void* allocate(std::size_t bytes, const Place&) noexcept {
  if (bytes < kLargePage) return ::operator new(bytes, kAlignment, std::nothrow);
  return take_large_block(bytes, large_block_bytes(bytes)).data.release();
}

void release(void* memory, std::size_t bytes, const Place&) noexcept {
  if (bytes < kLargePage) return ::operator delete(memory, kAlignment);
  LargeBlock block;
  block.data.reset(static_cast<char*>(memory));
  block.bytes = large_block_bytes(bytes);
  keep_large_block(std::move(block));
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
