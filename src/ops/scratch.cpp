// SPDX-License-Identifier: Apache-2.0
// Workspaces of callers, of threads and of single calls.
#include "ops/scratch.hpp"

#include <array>
#include <atomic>
#include <utility>

#include "core/devices.hpp"
#include "core/error.hpp"
#include "core/extents.hpp"
#include "core/pages.hpp"

namespace octavo {
namespace {

constexpr std::size_t kKeptBytes = std::size_t{16} << 20;      // scratch that a thread keeps
constexpr std::size_t kShelvedBytes = std::size_t{256} << 20;  // that the process keeps in all

using Block = std::unique_ptr<char, ScratchFree>;

Block allocate(std::size_t bytes) noexcept {
  const bool large = bytes > kKeptBytes;
  const std::align_val_t alignment{large ? kLargePage : kScratchAlignment};
  Block block(static_cast<char*>(::operator new(bytes, alignment, std::nothrow)),
              ScratchFree{alignment});
  if (large && block != nullptr) prefer_large_pages(block.get(), bytes);
  return block;
}

// Small workspaces stay with the thread: a call of a few microseconds must not map memory. A call
// takes the block away while it runs, since a thread of a lent pool that waits for its tasks may
// begin another call.
thread_local Scratch kept_scratch;

// Large ones stay with the process, a few, for whoever needs one next: mapping and clearing them
// took an eighth of a call's time. The system may have their pages back whenever it wants some.
// Nobody waits for the shelf, least of all the child of a fork; it is never destroyed.
class Shelf {
 public:
  Scratch take(std::size_t bytes) noexcept {
    Scratch found;
    if (!try_lock()) return found;
    Slot* best = nullptr;
    for (Slot& slot : slots_) {
      const bool fits = slot.data != nullptr && slot.bytes >= bytes;
      if (fits && (best == nullptr || slot.bytes < best->bytes)) best = &slot;
    }
    if (best != nullptr) {
      found.own = Block(best->data, ScratchFree{std::align_val_t{kLargePage}});
      found.data = best->data;
      found.own_bytes = best->bytes;
      *best = {};
    }
    unlock();
    return found;
  }

  /// Keeps a large block if there is room, in the place of a smaller one if need be.
  void put(Scratch& used) noexcept {
    if (used.own_bytes > kShelvedBytes) return;
    lend_to_system(used.data, used.own_bytes);
    if (!try_lock()) return;
    std::size_t held = used.own_bytes;
    Slot* smallest = slots_.data();
    for (Slot& slot : slots_) {
      held += slot.bytes;
      if (slot.bytes < smallest->bytes) smallest = &slot;
    }
    Block dropped;
    if (smallest->bytes < used.own_bytes && held - smallest->bytes <= kShelvedBytes) {
      dropped = Block(smallest->data, ScratchFree{std::align_val_t{kLargePage}});
      *smallest = {used.own.release(), used.own_bytes};
    }
    unlock();
  }

 private:
  struct Slot {
    char* data = nullptr;
    std::size_t bytes = 0;
  };
  bool try_lock() noexcept { return !busy_.test_and_set(std::memory_order_acquire); }
  void unlock() noexcept { busy_.clear(std::memory_order_release); }

  std::array<Slot, 4> slots_{};
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
};
constinit Shelf shelf;

}  // namespace

void keep_scratch(Scratch& used) noexcept {
  if (used.own_bytes > kKeptBytes) return shelf.put(used);
  if (used.own_bytes > kept_scratch.own_bytes) kept_scratch = std::move(used);
}

Result<Scratch> find_scratch(const char* operation, std::size_t bytes, const Device& device,
                             const ExecContext& context) {
  const Workspace* lent = context.workspace;
  Scratch scratch;
  if (bytes == 0) return scratch;
  if (bytes >= static_cast<std::size_t>(kMostBytes)) {
    return fail(Code::out_of_memory, "{}: workspace must count less than 2^63 bytes; got more",
                operation);
  }
  if (lent != nullptr) {
    void* data = lent->data;
    std::size_t space = lent->bytes;
    scratch.data = static_cast<char*>(std::align(kScratchAlignment, bytes, data, space));
    if (scratch.data != nullptr) return scratch;
    return fail(Code::invalid_argument,
                "{}: context.workspace.bytes must be at least {} (workspace_bytes); got {}",
                operation, bytes + kScratchAlignment - 1, lent->bytes);
  }
  if (!on_host(device)) {
    const std::array<std::int64_t, 1> shape{static_cast<std::int64_t>(bytes)};
    OCTAVO_TRY_ASSIGN(scratch.on_device,
                      Tensor::try_empty(operation, DType::uint8, shape, context.place(device)));
    scratch.data = static_cast<char*>(scratch.on_device.data());
    return scratch;
  }
  if (kept_scratch.own_bytes >= bytes) {
    std::swap(scratch, kept_scratch);
    return scratch;
  }
  if (bytes > kKeptBytes) {
    scratch = shelf.take(bytes);
    if (scratch.data != nullptr) return scratch;
  } else {
    kept_scratch = {};
  }
  scratch.own = allocate(bytes);
  scratch.data = scratch.own.get();
  scratch.own_bytes = bytes;
  if (scratch.data != nullptr) return scratch;
  return fail(Code::out_of_memory, "{}: workspace must be available; got none for {} bytes",
              operation, bytes);
}

}  // namespace octavo
