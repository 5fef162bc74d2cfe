// SPDX-License-Identifier: Apache-2.0
// The one table of backends. Its order is the order of preference.
#include <algorithm>
#include <array>
#include <string_view>

#include "backends/backend.hpp"
#include "backends/cpu/dot/backends.hpp"
#include "backends/cpu/generic/generic.hpp"
#include "backends/cuda/backends.hpp"
#include "backends/reference/reference.hpp"

namespace octavo {
namespace {

// Of processors, those that this build is for.
constexpr std::array kBuilt {
  &cuda::kSm90Backend, &cuda::kSm80Backend, &cuda::kCudaBackend,
#if defined(__x86_64__)
      &kAvx512Backend, &kAvx2Backend,
#elif defined(__aarch64__)
      &kSveBackend, &kNeonBackend,
#endif
      &kGenericBackend, &kReferenceBackend
};

// Behind those that are built there is room for one more.
constinit auto backends = [] {
  std::array<const Backend*, kBuilt.size() + 1> all{};
  std::ranges::copy(kBuilt, all.begin());
  return all;
}();
constinit std::size_t count = kBuilt.size();

}  // namespace

std::span<const Backend* const> registry() noexcept { return {backends.data(), count}; }

void add_backend(const Backend& backend) noexcept {
  if (count < backends.size()) backends[count++] = &backend;
}

const Backend* find_backend(std::string_view name) noexcept {
  for (const Backend* backend : registry()) {
    if (name == backend->name) return backend;
  }
  return nullptr;
}

}  // namespace octavo
