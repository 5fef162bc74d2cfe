// SPDX-License-Identifier: Apache-2.0
// Guard pages.
#include "support/guard.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace octavo::test {

kit::Allocator guarded(GuardedSide side) {
  return [side](std::size_t bytes) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t inner = (bytes + page - 1) / page * page;
    const std::size_t total = inner + 2 * page;
    void* map = ::mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) throw std::bad_alloc();
    char* first = static_cast<char*>(map) + page;
    if (inner > 0 && ::mprotect(first, inner, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    char* block = side == GuardedSide::left ? first : first + inner - bytes;
    return std::shared_ptr<void>(block, [map, total](void*) { ::munmap(map, total); });
  };
}

}  // namespace octavo::test
