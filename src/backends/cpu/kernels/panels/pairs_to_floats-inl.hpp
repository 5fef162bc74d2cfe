// SPDX-License-Identifier: Apache-2.0
// Panels of 16-bit floats as panels of float32, exactly:
//
//   [k / 2][j][2]  ->  [k][j]
//
// Needs: BFloat16Pairs, Float16Pairs, kDecodeAhead, Vec
// Gives: from_pairs

template <class Pairs>
OCTAVO_INLINE void floats_of(const Pairs& put, const void* pairs, std::int64_t steps,
                             std::int64_t vectors, void* panel) {
  const std::int64_t row_bytes = vectors * 64;
  const char* from = static_cast<const char*>(pairs);
  char* out = static_cast<char*>(panel);
  for (; steps > 0; --steps, out += 2 * row_bytes) {
    for (std::int64_t v = 0; v < vectors; ++v, from += 64) {
      __builtin_prefetch(from + kDecodeAhead);
      put.put(out + v * 64, row_bytes, Vec::load_ints(from));
    }
  }
}

void from_pairs(octavo::DType dtype, const void* pairs, std::int64_t steps, std::int64_t vectors,
                void* panel) noexcept {
  if (dtype == octavo::DType::bfloat16) {
    return floats_of(BFloat16Pairs(), pairs, steps, vectors, panel);
  }
  floats_of(Float16Pairs(), pairs, steps, vectors, panel);
}
