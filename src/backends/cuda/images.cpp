// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/images.hpp"

#if OCTAVO_CUDA_IMAGES
// Read by the assembler from the build folder: OCTAVO_CUDA_HOPPER and OCTAVO_CUDA_PORTABLE are
// their paths.
#define OCTAVO_IMAGE(name, path)                                                \
  asm(".section .rodata\n.balign 64\n.global " name "\n.hidden " name "\n" name \
      ":\n.incbin \"" path "\"\n.balign 64\n.previous\n")
OCTAVO_IMAGE("octavo_cuda_hopper", OCTAVO_CUDA_HOPPER);
OCTAVO_IMAGE("octavo_cuda_portable", OCTAVO_CUDA_PORTABLE);
extern "C" const unsigned char octavo_cuda_hopper[], octavo_cuda_portable[];
#endif

namespace octavo::cuda {

const void* image_data([[maybe_unused]] Image image) noexcept {
#if OCTAVO_CUDA_IMAGES
  return image == Image::hopper ? octavo_cuda_hopper : octavo_cuda_portable;
#else
  return nullptr;
#endif
}

}  // namespace octavo::cuda
