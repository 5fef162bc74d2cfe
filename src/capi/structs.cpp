// SPDX-License-Identifier: Apache-2.0
// Checking struct_size.
#include "capi/structs.hpp"

namespace octavo::capi {
namespace {

// No struct has any reason to become larger; a larger size is a size that was never set.
constexpr std::size_t kMostBytes = 4096;

// Fields never straddle a multiple of 8 bytes, so that no size cuts one in two.
std::size_t checked_size(const Place& place, const void* given) {
  require(place, given);
  std::size_t size = 0;
  std::memcpy(&size, given, sizeof size);
  if (size >= sizeof size && size <= kMostBytes && size % sizeof size == 0) return size;
  refuse(Code::invalid_argument,
         "{} must be the struct's sizeof (a multiple of {}, at most {}); got {}",
         place.of("struct_size").text(), sizeof size, kMostBytes, size);
}

}  // namespace

std::size_t checked_output_size(const Place& place, const void* given) {
  return checked_size(place, given);
}

std::size_t checked_input_size(const Place& place, const void* given, std::size_t known) {
  const std::size_t size = checked_size(place, given);
  const auto* bytes = static_cast<const unsigned char*>(given);
  for (std::size_t i = known; i < size; ++i) {
    if (bytes[i] == 0) continue;
    refuse(Code::unsupported,
           "{} must be at most {}, or zero behind that (this version knows no more); got {} with a "
           "value at byte {}",
           place.of("struct_size").text(), known, size, i);
  }
  return size;
}

}  // namespace octavo::capi
