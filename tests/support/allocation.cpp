// SPDX-License-Identifier: Apache-2.0
// Replacements of the global allocation functions.
#include "support/allocation.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

thread_local bool active = false;
thread_local std::int64_t seen = 0;
thread_local std::int64_t asked = 0;
thread_local std::int64_t fail_from = 0;
std::atomic<std::int64_t> live{0};

void* allocate(std::size_t bytes, std::size_t alignment) noexcept {
  if (active) {
    ++seen;
    asked += static_cast<std::int64_t>(bytes);
    if (fail_from > 0 && seen >= fail_from) return nullptr;
  }
  const std::size_t size = bytes == 0 ? 1 : bytes;
  void* memory = alignment == 0 ? std::malloc(size)
                                : std::aligned_alloc(
                                      alignment, (size + alignment - 1) / alignment * alignment);
  if (memory != nullptr) live.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

void* allocate_or_throw(std::size_t bytes, std::size_t alignment) {
  void* memory = allocate(bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void release(void* memory) noexcept {
  if (memory != nullptr) live.fetch_sub(1, std::memory_order_relaxed);
  std::free(memory);
}

}  // namespace

namespace octavo::test {

FailingAllocations::FailingAllocations(std::int64_t n) noexcept {
  seen = 0;
  asked = 0;
  fail_from = n;
  active = true;
}
FailingAllocations::~FailingAllocations() { active = false; }
std::int64_t FailingAllocations::count() const noexcept { return seen; }
std::int64_t FailingAllocations::bytes() const noexcept { return asked; }

std::int64_t live_allocations() noexcept { return live.load(std::memory_order_relaxed); }

}  // namespace octavo::test

void* operator new(std::size_t n) { return allocate_or_throw(n, 0); }
void* operator new[](std::size_t n) { return allocate_or_throw(n, 0); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return allocate(n, 0); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return allocate(n, 0); }
void* operator new(std::size_t n, std::align_val_t a) {
  return allocate_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a) {
  return allocate_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return allocate(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return allocate(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { release(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { release(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { release(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { release(p); }
