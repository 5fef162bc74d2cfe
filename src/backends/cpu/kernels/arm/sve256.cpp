// SPDX-License-Identifier: Apache-2.0
// The kernels of SVE (sve-inl.hpp) on vectors of 256 bits.
#include "backends/cpu/kernels/sve.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

#if OCTAVO_SVE
#define OCTAVO_SVE_BITS 256  // an attribute takes no constant
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kLanesRows{5, 5, 2, 3};
constexpr std::int64_t kLanesWidth = 2;
constexpr std::array<std::int64_t, kPanelVectors> kEightsRows{4, 6, 2, 2};
constexpr std::int64_t kEightsWidth = 2;

}  // namespace
}  // namespace octavo::cpu

#include "backends/cpu/kernels/arm/sve-inl.hpp"

namespace octavo::cpu {

extern const SveKernels kSve256Dot = kSveKernels;

}  // namespace octavo::cpu
#endif
