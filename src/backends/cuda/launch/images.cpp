// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/launch/images.hpp"

#if OCTAVO_CUDA_IMAGES
// Read by the assembler from the build folder: OCTAVO_CUDA_<image> is its path.
#define OCTAVO_IMAGE(name, path)                                                \
  asm(".section .rodata\n.balign 64\n.global " name "\n.hidden " name "\n" name \
      ":\n.incbin \"" path "\"\n.balign 64\n.previous\n")
OCTAVO_IMAGE("octavo_cuda_dense", OCTAVO_CUDA_DENSE);
OCTAVO_IMAGE("octavo_cuda_few_rows", OCTAVO_CUDA_FEW_ROWS);
OCTAVO_IMAGE("octavo_cuda_mma", OCTAVO_CUDA_MMA);
OCTAVO_IMAGE("octavo_cuda_portable", OCTAVO_CUDA_PORTABLE);
extern "C" const unsigned char octavo_cuda_dense[], octavo_cuda_few_rows[], octavo_cuda_mma[],
    octavo_cuda_portable[];
#endif

namespace octavo::cuda {

const void* image_data([[maybe_unused]] Image image) noexcept {
#if OCTAVO_CUDA_IMAGES
  constexpr const unsigned char* kData[kImages] = {octavo_cuda_dense, octavo_cuda_few_rows,
                                                   octavo_cuda_mma, octavo_cuda_portable};
  return kData[static_cast<std::size_t>(image)];
#else
  return nullptr;
#endif
}

}  // namespace octavo::cuda
