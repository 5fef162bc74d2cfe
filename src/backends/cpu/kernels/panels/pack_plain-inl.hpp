// SPDX-License-Identifier: Apache-2.0
// Packing B into panels of [steps][columns][4] bytes, and back, in plain C++:
//
//   panel[k / 4][j][k % 4] = b[k][j]            sums[j] += the sum over k of b[k][j]
//
//              column 0           column 1
//   step 0    b00 b10 b20 b30    b01 b11 b21 b31   ..
//   step 1    b40 b50 b60 b70    ..
//
// Needs: nothing
// Gives: pack_codes, unpack_piece
void pack_codes(const octavo::cpu::PackPiece& p) noexcept {
  const std::int64_t padded = (p.columns + 15) / 16 * 16;
  const auto* b = static_cast<const std::int8_t*>(p.b);
  auto* out = static_cast<std::int8_t*>(p.panel);
  for (std::int64_t step = 0; step < p.depth; step += 4) {
    for (std::int64_t j = 0; j < padded; ++j) {
      std::uint32_t sum = 0;
      for (std::int64_t k = step; k < step + 4; ++k, ++out) {
        const bool inside = k < p.depth && j < p.columns;
        *out = inside ? b[k * p.stride_k + j * p.stride_n] : std::int8_t{0};
        sum += static_cast<std::uint32_t>(*out);
      }
      p.sums[j] = static_cast<std::int32_t>(static_cast<std::uint32_t>(p.sums[j]) + sum);
    }
  }
}

void unpack_piece(const octavo::cpu::UnpackPiece& p) noexcept {
  const auto* from = static_cast<const std::int8_t*>(p.panel);
  for (std::int64_t k = 0; k < 64 * p.squares; k += 4, from += p.step_bytes) {
    for (std::int64_t j = 0; j < 16; ++j) std::memcpy(p.b + k + j * p.stride_n, from + j * 4, 4);
  }
}
