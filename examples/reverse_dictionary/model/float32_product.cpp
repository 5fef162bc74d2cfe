// SPDX-License-Identifier: Apache-2.0
// One call of oneDNN, or none.
#include "float32_product.hpp"

#if defined(REVERSE_DICTIONARY_ONEDNN)
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <stdexcept>
#endif

namespace reverse_dictionary {

#if defined(REVERSE_DICTIONARY_ONEDNN)

bool float32_product(const float* x, std::int64_t rows, std::int64_t inputs, const float* weight,
                     std::span<const float> bias, float* y) {
  const auto outputs = static_cast<std::int64_t>(bias.size());
  for (std::int64_t r = 0; r < rows; ++r) std::copy(bias.begin(), bias.end(), y + r * outputs);
  const dnnl_status_t status = dnnl_sgemm('N', 'T', rows, outputs, inputs, 1.0F, x, inputs, weight,
                                          inputs, 1.0F, y, outputs);
  if (status != dnnl_success) throw std::runtime_error("oneDNN: the float32 product failed");
  return true;
}

std::string float32_library() {
  const dnnl_version_t& version = *dnnl_version();
  return "oneDNN " + std::to_string(version.major) + "." + std::to_string(version.minor) + "." +
         std::to_string(version.patch);
}

#else

bool float32_product(const float*, std::int64_t, std::int64_t, const float*, std::span<const float>,
                     float*) {
  return false;
}

std::string float32_library() { return kOctavo; }

#endif

}  // namespace reverse_dictionary
