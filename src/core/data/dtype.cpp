// SPDX-License-Identifier: Apache-2.0
// Data types by name.
#include "octavo/dtype.hpp"

namespace octavo {

DType dtype_from_name(std::string_view name) noexcept {
  for (const DTypeInfo& row : kDTypes) {
    if (name == row.name || name == row.short_name || (!name.empty() && name == row.safetensors)) {
      return row.dtype;
    }
  }
  return DType::undefined;
}

}  // namespace octavo
