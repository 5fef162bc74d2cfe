// SPDX-License-Identifier: Apache-2.0
// The one table of backends. Its order is the order of preference.
#include <array>
#include <string_view>

#include "backends/backend.hpp"
#include "backends/cpu/dot/avx512.hpp"
#include "backends/cpu/generic/generic.hpp"
#include "backends/reference/reference.hpp"

namespace octavo {
namespace {

constexpr std::array<const Backend*, 3> kRegistry{&kAvx512Backend, &kGenericBackend,
                                                  &kReferenceBackend};

}  // namespace

std::span<const Backend* const> registry() noexcept { return kRegistry; }

const Backend* find_backend(std::string_view name) noexcept {
  for (const Backend* backend : kRegistry) {
    if (name == backend->name) return backend;
  }
  return nullptr;
}

}  // namespace octavo
