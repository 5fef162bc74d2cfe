// SPDX-License-Identifier: Apache-2.0
// Weights of every type into the panels of float32 kernels, each widened as its elements' packer
// does.
//
// Needs: BFloat16Pairs, Float16Pairs, Float8Codes, Int8Codes, pack_piece, SameElements
// Gives: pack

void pack(const octavo::cpu::PackPiece& p) noexcept {
  if (p.dtype == octavo::DType::float32) return pack_piece(p, SameElements<4, false>());
  if (p.dtype == octavo::DType::float16) return pack_piece(p, Float16Pairs());
  if (p.dtype == octavo::DType::bfloat16) return pack_piece(p, BFloat16Pairs());
  if (p.dtype == octavo::DType::int8) return pack_piece(p, Int8Codes());
  pack_piece(p, Float8Codes(*p.table));
}
