// SPDX-License-Identifier: Apache-2.0
// Workspaces of callers, of threads and of single calls.
#include "ops/scratch.hpp"

#include <array>
#include <utility>

#include "core/data/extents.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"

namespace octavo {
namespace {

constexpr std::size_t kKeptBytes = std::size_t{16} << 20;  // scratch that a thread keeps

// Small workspaces stay with the thread: a call of a few microseconds must not map memory. A call
// takes the block away while it runs, since a thread of a lent pool that waits for its tasks may
// begin another call.
thread_local Scratch kept_scratch;

}  // namespace

void keep_scratch(Scratch& used) noexcept {
  if (used.large.data != nullptr) return keep_large_block(std::move(used.large));
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
    if (lent->data == nullptr && lent->bytes > 0) {
      return fail(Code::invalid_argument,
                  "{}: context.workspace.data must not be null; got null for {} bytes", operation,
                  lent->bytes);
    }
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
    scratch.large = take_large_block(bytes, static_cast<std::size_t>(-1));
    scratch.data = scratch.large.data.get();
  } else {
    kept_scratch = {};
    scratch.own.reset(static_cast<char*>(
        ::operator new (bytes, std::align_val_t{kScratchAlignment}, std::nothrow)));
    scratch.data = scratch.own.get();
    scratch.own_bytes = bytes;
  }
  if (scratch.data != nullptr) return scratch;
  return fail(Code::out_of_memory, "{}: workspace must be available; got none for {} bytes",
              operation, bytes);
}

}  // namespace octavo
