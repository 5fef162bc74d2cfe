// SPDX-License-Identifier: Apache-2.0
// A tile of float32 sums in vectors of any width, product and sum each rounded, k ascending:
//
//   c[r][j] = c[r][j] + a[k][r] * b[k][j]       a panel [depth][rows], b panel [depth][16]
//
// Needs: nothing
// Gives: add_product

// Adds A B to rows x (vectors * lanes) of c; b and c begin at the tile's first column. Accumulators
// are named by constants only, so that they stay in registers.
template <class Vec, std::size_t vectors, std::size_t... row>
inline __attribute__((always_inline)) void add_product(std::int64_t depth, const float* a,
                                                       const float* b, float* c, std::int64_t ldc,
                                                       std::index_sequence<row...>) {
  constexpr std::int64_t kLanes = sizeof(Vec) / sizeof(float);
  constexpr std::int64_t kRows = sizeof...(row);
  static_assert(vectors == 1 || vectors == 2);
  float* const place[] = {c + static_cast<std::int64_t>(row) * ldc...};
  Vec left[] = {*reinterpret_cast<const Vec*>(place[row])...};
  Vec right[] = {*reinterpret_cast<const Vec*>(place[row] + (vectors - 1) * kLanes)...};
  for (std::int64_t k = 0; k < depth; ++k, a += kRows, b += octavo::cpu::kPanelCols) {
    const Vec b0 = *reinterpret_cast<const Vec*>(b);
    ((left[row] += b0 * a[row]), ...);
    if constexpr (vectors == 2) {
      const Vec b1 = *reinterpret_cast<const Vec*>(b + kLanes);
      ((right[row] += b1 * a[row]), ...);
    }
  }
  ((*reinterpret_cast<Vec*>(place[row]) = left[row]), ...);
  if constexpr (vectors == 2) ((*reinterpret_cast<Vec*>(place[row] + kLanes) = right[row]), ...);
}
