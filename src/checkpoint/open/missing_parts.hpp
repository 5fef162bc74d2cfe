// SPDX-License-Identifier: Apache-2.0
// Models that open and are not all there.
#pragma once

#include <string>

#include "checkpoint/gguf/gguf_tensors.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// Opens what an operation makes `out` of. A GGUF file is taken for the folder that it was made of,
/// unless `out` is a safetensors file. `others`: what becomes of blocks with minima. Throws Error,
/// as open_checkpoint; corrupt_data, too, where parts are missing; unsupported: blocks that are not
/// read, models that no folder is made of.
Checkpoint open_whole(const char* operation, const std::string& path, const std::string& out,
                      const std::string& layout_file,
                      OtherBlocks others = OtherBlocks::as_they_are);

/// Blocks with minima are quantised as codes are: where that is asked for.
inline OtherBlocks others_of(const QuantizeFileOptions& options) noexcept {
  return options.requantize ? OtherBlocks::floats : OtherBlocks::as_they_are;
}

/// Whether a file's name says that the model has others: "model-00001-of-00002.safetensors".
bool is_one_of_several(const std::string& file);

}  // namespace octavo::checkpoint
