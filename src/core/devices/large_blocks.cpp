// SPDX-License-Identifier: Apache-2.0
#include "core/devices/large_blocks.hpp"

#include <array>
#include <atomic>
#include <utility>

namespace octavo {
namespace {

constexpr std::size_t kKeptBytes = std::size_t{256} << 20;  // in all

// Mapping and clearing large blocks took an eighth of a call's time. The system may have their
// pages back whenever it wants some. Nobody waits for the shelf, least of all the child of a fork;
// it is never destroyed.
class Shelf {
 public:
  LargeBlock take(std::size_t least, std::size_t most) noexcept {
    LargeBlock found;
    if (!try_lock()) return found;
    Slot* best = nullptr;
    for (Slot& slot : slots_) {
      const bool fits = slot.data != nullptr && slot.bytes >= least && slot.bytes <= most;
      if (fits && (best == nullptr || slot.bytes < best->bytes)) best = &slot;
    }
    if (best != nullptr) {
      found.data.reset(best->data);
      found.bytes = best->bytes;
      *best = {};
    }
    unlock();
    return found;
  }

  // In the place of a smaller one if need be.
  void put(LargeBlock used) noexcept {
    if (used.data == nullptr || used.bytes > kKeptBytes) return;
    lend_to_system(used.data.get(), used.bytes);
    if (!try_lock()) return;
    std::size_t held = used.bytes;
    Slot* smallest = slots_.data();
    for (Slot& slot : slots_) {
      held += slot.bytes;
      if (slot.bytes < smallest->bytes) smallest = &slot;
    }
    LargeBlock dropped;
    if (smallest->bytes < used.bytes && held - smallest->bytes <= kKeptBytes) {
      dropped.data.reset(smallest->data);
      *smallest = {used.data.release(), used.bytes};
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

  std::array<Slot, 16> slots_{};
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
};
constinit Shelf shelf;

}  // namespace

LargeBlock take_large_block(std::size_t least, std::size_t most) noexcept {
  LargeBlock block = shelf.take(least, most);
  if (block.data != nullptr) return block;
  block.bytes = large_block_bytes(least);
  block.data.reset(
      static_cast<char*>(::operator new (block.bytes, std::align_val_t{kLargePage}, std::nothrow)));
  if (block.data != nullptr) prefer_large_pages(block.data.get(), block.bytes);
  return block;
}

void keep_large_block(LargeBlock block) noexcept { shelf.put(std::move(block)); }

}  // namespace octavo
