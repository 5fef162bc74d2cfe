// SPDX-License-Identifier: Apache-2.0
// Into how many chunks K is cut, which are summed by themselves and then added in order.
//
// A rule of N and K alone: a row's bits depend on it, and must not depend on the batch. Where a few
// rows' tiles of N fill the device K stays whole; else two chunks, which CTAs may take side by
// side.
//
//     N, of 128 columns a tile     K (of 8 bits) < 4096    >= 4096
//     up to 65 tiles (8320)                1                  2
//     more                                 1                  1
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// What an H200 and an H100 SXM have.
constexpr int kMultiprocessors = 132;

/// Chunks of K, each of ceil(steps / chunks) steps of 128 bytes but the last.
constexpr int chunks_of(std::int64_t n, std::int64_t k_bytes) {
  constexpr std::int64_t kTile = 128, kRowTiles = 2, kLeastBytes = 4096;
  return (n + kTile - 1) / kTile * kRowTiles < kMultiprocessors && k_bytes >= kLeastBytes ? 2 : 1;
}

/// Steps of 128 bytes in a chunk.
constexpr std::int32_t chunk_steps(std::int64_t n, std::int64_t k_bytes) {
  const std::int64_t steps = (k_bytes + 127) / 128, chunks = chunks_of(n, k_bytes);
  return static_cast<std::int32_t>((steps + chunks - 1) / chunks);
}

}  // namespace octavo::cuda
