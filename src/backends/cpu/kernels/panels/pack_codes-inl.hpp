// SPDX-License-Identifier: Apache-2.0
// Packing int8 B into panels of [steps][columns][4] bytes, and back:
//
//   panel[k / 4][j][k % 4] = b[k][j]            sums[j] += the sum over k of b[k][j]
//
// Needs: interleave, step_sums, turn, Vec
// Gives: pack_codes, unpack_piece
#include "backends/cpu/kernels/panels/pack-inl.hpp"

void pack_codes(const octavo::cpu::PackPiece& p) noexcept {
  pack_piece(p, SameElements<1, true>());
}

void unpack_piece(const octavo::cpu::UnpackPiece& p) noexcept {
  const auto* from = static_cast<const char*>(p.panel);
  for (std::int64_t square = 0; square < p.squares; ++square) {
    Vec::Ints m[16];
    for (Vec::Ints& step : m) {
      step = Vec::load_ints(from);
      from += p.step_bytes;
    }
    turn(m);
    for (std::int64_t j = 0; j < 16; ++j) {
      Vec::store_unaligned(p.b + square * 64 + j * p.stride_n, m[j]);
    }
  }
}
