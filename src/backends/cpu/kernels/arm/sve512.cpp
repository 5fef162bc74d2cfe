// SPDX-License-Identifier: Apache-2.0
// The kernels of SVE (sve-inl.hpp) on vectors of 512 bits.
#include "backends/cpu/kernels/sve.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

#if OCTAVO_SVE
#define OCTAVO_SVE_BITS 512  // an attribute takes no constant
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kLanesRows{5, 5, 2, 5};
constexpr std::int64_t kLanesWidth = 4;
constexpr std::array<std::int64_t, kPanelVectors> kEightsRows{4, 4, 2, 6};
constexpr std::int64_t kEightsWidth = 4;

}  // namespace
}  // namespace octavo::cpu

#include "backends/cpu/kernels/arm/sve-inl.hpp"

namespace octavo::cpu {

extern const SveKernels kSve512Dot = kSveKernels;

}  // namespace octavo::cpu
#endif
