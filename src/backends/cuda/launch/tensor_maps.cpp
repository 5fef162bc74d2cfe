// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/launch/tensor_maps.hpp"

#include <array>
#include <cstdint>

#include "core/devices/cuda_devices.hpp"
#include "core/error.hpp"

namespace octavo::cuda {
namespace {

struct Kept {
  TensorMap map;
  EncodedMap encoded;
};
constexpr std::size_t kKept = 64;  // a power of two; 16 KiB a thread

static_assert(
    sizeof(TensorMap) == sizeof(EncodedMap) && alignof(TensorMap) == alignof(EncodedMap),
    "kernels' parameters are laid out alike on the host, on a device and in the simulator");

// Maps differ by address, extent or box.
std::size_t place_of(const TensorMap& map) noexcept {
  std::uint64_t hash = reinterpret_cast<std::uintptr_t>(map.base);
  for (const std::int64_t value : {map.extent[0], map.extent[1], std::int64_t{map.box[1]}})
    hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x9E3779B97F4A7C15U;
  return hash >> 58U;
}
static_assert(kKept == 1U << (64U - 58U));

MapElement element_of(const TensorMap& map) noexcept {
  return map.element_bytes == 1   ? MapElement::bits_8
         : map.element_bytes == 2 ? MapElement::bits_16
                                  : MapElement::bits_32;
}

// The driver asks for a current context, although a map has nothing of one.
Status encode(const TensorMap& map, const Device& device, EncodedMap& encoded) noexcept {
  const CudaDevice* const found = find_device(device.index);
  if (found == nullptr) return unusable("a tensor map", device.index);
  const CurrentContext current(*found);
  constexpr auto kRank = static_cast<std::size_t>(TensorMap::kMostRank);
  std::array<std::uint64_t, kRank> extent{}, pitch{};
  std::array<std::uint32_t, kRank> box{}, steps{};
  const auto rank = static_cast<std::size_t>(map.rank);
  for (std::size_t d = 0; d < rank; ++d) {
    extent[d] = static_cast<std::uint64_t>(map.extent[d]);
    if (d > 0) pitch[d - 1] = static_cast<std::uint64_t>(map.pitch[d]);
    box[d] = static_cast<std::uint32_t>(map.box[d]);
    steps[d] = 1;
  }
  constexpr int kNoInterleave = 0, kZeros = 0;
  const MapSwizzle swizzle =
      map.swizzle == Swizzle::bytes_128 ? MapSwizzle::bytes_128 : MapSwizzle::none;
  return driver_status(
      driver()->encode_map(&encoded, element_of(map), static_cast<std::uint32_t>(rank), map.base,
                           extent.data(), pitch.data(), box.data(), steps.data(), kNoInterleave,
                           swizzle, MapPromotion::bytes_256, kZeros),
      "a tensor map", "must be one that TMA takes");
}

}  // namespace

Status encode_map(const TensorMap& map, const Device& device, EncodedMap& encoded) noexcept {
  thread_local std::array<Kept, kKept> kept;
  Kept& entry = kept[place_of(map)];
  if (entry.map.base == nullptr || !(entry.map == map)) {
    entry.map.base = nullptr;
    OCTAVO_TRY(encode(map, device, entry.encoded));
    entry.map = map;
  }
  encoded = entry.encoded;
  return {};
}

}  // namespace octavo::cuda
