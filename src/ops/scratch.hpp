// SPDX-License-Identifier: Apache-2.0
// The scratch memory of calls.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

#include "core/devices/large_blocks.hpp"
#include "octavo/context.hpp"
#include "octavo/status.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

inline constexpr std::size_t kScratchAlignment = 64;

struct ScratchFree {
  void operator()(char* memory) const noexcept {
    ::operator delete (memory, std::align_val_t{kScratchAlignment});
  }
};

/// A block of a call: of the caller, or its own.
struct Scratch {
  char* data = nullptr;
  std::unique_ptr<char, ScratchFree> own;
  std::size_t own_bytes = 0;
  LargeBlock large;  ///< its own as well
  Tensor on_device;  ///< a device's own
};

/// That many bytes: of the context's workspace, which must be large enough, else what this thread
/// or (large ones) this process kept from an earlier call, else new. A device's are new: keeping
/// them is its allocator's business.
Result<Scratch> find_scratch(const char* operation, std::size_t bytes, const Device& device,
                             const ExecContext& context);

/// Ends the use of a block, whose memory may stay with the thread or the process.
void keep_scratch(Scratch& used) noexcept;

}  // namespace octavo
