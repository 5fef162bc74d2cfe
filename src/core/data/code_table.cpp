// SPDX-License-Identifier: Apache-2.0
#include "core/data/code_table.hpp"

#include "core/data/element.hpp"
#include "core/fp_env.hpp"

namespace octavo {

CodeTable rescaled_codes(DType dtype, float scale, float other) noexcept {
  const FloatEnvironment environment;
  CodeTable table;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto code = static_cast<std::uint8_t>(i);
    store_float(dtype, table.data(), static_cast<std::int64_t>(i),
                load_float(dtype, &code, 0) * scale / other, Overflow::saturate);
  }
  return table;
}

}  // namespace octavo
