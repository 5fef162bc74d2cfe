// SPDX-License-Identifier: Apache-2.0
// What a dense product is told: the same for the kernel of many rows and for that of few.
#pragma once

#include "backends/cuda/kernels/common/epilogue.hpp"
#include "backends/cuda/kernels/common/full_epilogue.hpp"
#include "backends/cuda/kernels/common/k_scale_steps.hpp"
#include "backends/cuda/kernels/common/row_tiles.hpp"
#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// What is stored: finished values, or what they are made from.
enum class DenseOut : std::uint8_t {
  bf16,
  f16,
  f32,   ///< finished; where there are no factors and no bias, float sums as they are
  sums,  ///< int32
  full,  ///< what FullEpilogue says: sums go there
};

/// What a launch is told beside the matrices.
struct DenseShape {
  std::int32_t m = 0, n = 0;
  std::int32_t k_bytes = 0;
  std::int32_t chunk_steps = 0;  ///< of 128 bytes of K: chunks whose sums are added in order
  DenseOut out_type{};
  EpilogueParams epilogue;
  FullEpilogue full;
  RowTiles groups;   ///< of DenseOut::full and a kernel that has all of K
  KScales k_scales;  ///< of Summing::scaled
};

template <class Map>
struct DenseParams : DenseShape {
  Map a, b;  ///< boxes of 128 bytes of K by the kernel's kRows of A, kRowsOfB of B
  Map out;   ///< boxes of 128 bytes of columns by its kRowsOfOut; none of DenseOut::full
};

/// How sums are kept along K.
enum class Summing : std::uint8_t {
  plain,     ///< in the tensor cores: exact for integers, fast accumulation for fp8
  promoted,  ///< by 128 elements there, then in float32
  scaled,    ///< the same, by the scales of the 128 elements (k_scales.hpp)
};

/// Are sums of 128 elements added in float32, in chunks of K?
constexpr bool is_promoted(Summing summing) { return summing != Summing::plain; }

}  // namespace octavo::cuda
