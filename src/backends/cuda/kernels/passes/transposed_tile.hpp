// SPDX-License-Identifier: Apache-2.0
// Elements of two matrices of which one has contiguous along rows, the other down columns: by way
// of tiles of 64 x 64 in shared memory, so that both are read and written by neighbours.
//
//   read:  threads along the source's neighbours, tile[near][far] = read(i, j)
//   write: threads along the output's,            write(i, j, tile[near][far])
#pragma once

#include "backends/cuda/kernels/passes/places.hpp"

namespace octavo::cuda {

struct TransposedTile {
  static constexpr std::uint32_t kThreads = 256, kTile = 64;
  static constexpr std::uint32_t kPitch = kTile + 1;  // words: lines lie in different banks
  static constexpr std::uint32_t kSharedBytes = kTile * kPitch * 4;
};

/// Whether two matrices of one shape are so, and large enough to be worth a tile.
inline bool is_transposed(const MatrixView& from, const MatrixView& to) noexcept {
  constexpr std::int64_t kLeast = 8;
  return from.strides[0] != 0 && from.strides[1] != 0 && to.shape[0] >= kLeast &&
         to.shape[1] >= kLeast && plane_of(from).down != plane_of(to).down;
}

/// Tiles of a matrix: pieces of work.
inline std::int64_t transposed_pieces(const Plane& plane) noexcept {
  constexpr std::int64_t kTile = TransposedTile::kTile;
  return (plane.rows + kTile - 1) / kTile * ((plane.columns + kTile - 1) / kTile);
}

/// read(i, j) gives 32 bits, write(i, j, word) takes them. `plane` goes along the output's
/// neighbours.
template <class Machine, class Read, class Write>
OCTAVO_DEVICE void each_transposed(Machine& m, const Plane& plane, const Read& read,
                                   const Write& write) {
  using T = TransposedTile;
  const std::int64_t near = plane.down ? plane.rows : plane.columns;
  const std::int64_t far = plane.down ? plane.columns : plane.rows;
  const std::int64_t across = (near + T::kTile - 1) / T::kTile;
  const std::int64_t deep = (far + T::kTile - 1) / T::kTile;
  const std::uint32_t along = m.tid() % T::kTile, first = m.tid() / T::kTile;
  each_piece(m, across * deep, [&](std::int64_t piece) {
    const std::int64_t n0 = piece % across * T::kTile, f0 = piece / across * T::kTile;
    for (std::uint32_t other = first; other < T::kTile; other += T::kThreads / T::kTile) {
      const std::int64_t n = n0 + other, f = f0 + along;
      if (n >= near || f >= far) continue;
      const std::uint32_t word = plane.down ? read(n, f) : read(f, n);
      m.store_shared(m.shared_base() + (other * T::kPitch + along) * 4, word);
    }
    m.sync_named(1, T::kThreads);
    for (std::uint32_t other = first; other < T::kTile; other += T::kThreads / T::kTile) {
      const std::int64_t n = n0 + along, f = f0 + other;
      if (n >= near || f >= far) continue;
      const auto word =
          m.template load_shared<std::uint32_t>(m.shared_base() + (along * T::kPitch + other) * 4);
      plane.down ? write(n, f, word) : write(f, n, word);
    }
    m.sync_named(1, T::kThreads);  // the tile has been read
  });
}

}  // namespace octavo::cuda
