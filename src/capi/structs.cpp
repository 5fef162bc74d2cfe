// SPDX-License-Identifier: Apache-2.0
// Checking struct_size.
#include "capi/structs.hpp"

namespace octavo::capi {

void check_size(const ArgumentPath& place, const void* given, std::size_t known) {
  require(place, given);
  std::size_t size = 0;
  std::memcpy(&size, given, sizeof size);
  if (size == known) return;
  refuse(Code::invalid_argument, "{} must be {}, the struct's sizeof in this version; got {}",
         place.of("struct_size").text(), known, size);
}

}  // namespace octavo::capi
