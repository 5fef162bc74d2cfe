// SPDX-License-Identifier: Apache-2.0
// llama.cpp's blocks as the container shows them: int8 codes, and scales along K.
#include <array>

#include "checkpoint/dialects/dialect.hpp"

namespace octavo::checkpoint {

// Files do not say how activations meet a weight: they stay as they are.
Weight read_gguf(const Layer& layer) {
  constexpr std::array<ScaleGrid, 2> kGrids{{{1, 32}, {1, 16}}};
  const Tensor codes = layer.matrix();
  return scaled_weight(layer, {codes, layer.tensor(layer.dialect.scale), {}}, kGrids,
                       activations_stay);
}

}  // namespace octavo::checkpoint
