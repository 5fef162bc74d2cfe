// SPDX-License-Identifier: Apache-2.0
// Workspaces of callers, of threads and of single calls.
#include "ops/scratch.hpp"

#include <utility>

#include "core/error.hpp"

namespace octavo {
namespace {

constexpr std::size_t kKeptBytes = std::size_t{16} << 20;  // scratch that a thread keeps

using Block = std::unique_ptr<char, Scratch::Free>;

Block allocate(std::size_t bytes) noexcept {
  return Block(static_cast<char*>(
      ::operator new (bytes, std::align_val_t{kScratchAlignment}, std::nothrow)));
}

// Small workspaces stay with the thread: a call of a few microseconds must not map memory. A call
// takes the block away while it runs, since a thread of a lent pool that waits for its tasks may
// begin another call.
thread_local Scratch kept_scratch;

}  // namespace

void keep_scratch(Scratch& used) noexcept {
  if (used.own_bytes > kKeptBytes || used.own_bytes <= kept_scratch.own_bytes) return;
  kept_scratch = std::move(used);
}

Result<Scratch> find_scratch(const char* operation, std::size_t bytes, const Workspace* lent) {
  Scratch scratch;
  if (bytes == 0) return scratch;
  if (lent != nullptr) {
    void* data = lent->data;
    std::size_t space = lent->bytes;
    scratch.data = static_cast<char*>(std::align(kScratchAlignment, bytes, data, space));
    if (scratch.data != nullptr) return scratch;
    return fail(Code::invalid_argument,
                "{}: context.workspace.bytes must be at least {} (workspace_bytes); got {}",
                operation, bytes + kScratchAlignment - 1, lent->bytes);
  }
  if (kept_scratch.own_bytes >= bytes) {
    std::swap(scratch, kept_scratch);
    return scratch;
  }
  if (bytes <= kKeptBytes) kept_scratch = {};
  scratch.own = allocate(bytes);
  scratch.data = scratch.own.get();
  scratch.own_bytes = bytes;
  if (scratch.data != nullptr) return scratch;
  return fail(Code::out_of_memory, "{}: workspace must be available; got none for {} bytes",
              operation, bytes);
}

}  // namespace octavo
