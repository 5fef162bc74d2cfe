// SPDX-License-Identifier: Apache-2.0
#include "core/devices/pages.hpp"

#include <sys/mman.h>

namespace octavo {
namespace {

void advise(void* block, std::size_t bytes, int advice) noexcept {
  if (bytes >= kLargePage) (void)::madvise(block, bytes / kLargePage * kLargePage, advice);
}

}  // namespace

void prefer_large_pages([[maybe_unused]] void* block, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(MADV_HUGEPAGE)
  advise(block, bytes, MADV_HUGEPAGE);
#endif
}

void lend_to_system([[maybe_unused]] void* block, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(MADV_FREE)
  advise(block, bytes, MADV_FREE);
#endif
}

}  // namespace octavo
