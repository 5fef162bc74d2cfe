// SPDX-License-Identifier: Apache-2.0
// The kernels' machine code, a part of the library where it was built with nvcc.
#pragma once

#include <cstddef>

namespace octavo::cuda {

/// What the driver loads together.
enum class Image : unsigned char {
  dense,     ///< for sm_90a
  few_rows,  ///< for sm_90a
  mma,       ///< for sm_80 and sm_89, and as PTX for every device after these
  portable,  ///< for sm_90a, and as PTX for every device from sm_80 on
};
constexpr std::size_t kImages = 4;

/// Null where this build has none.
const void* image_data(Image image) noexcept;

}  // namespace octavo::cuda
