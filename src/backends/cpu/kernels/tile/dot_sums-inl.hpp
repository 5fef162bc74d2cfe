// SPDX-License-Identifier: Apache-2.0
// What tiles and kernels of unpacked weights share: rows of A in all columns; what becomes of sums.
//
// Needs: Dot, Vec
// Gives: add_scaled, broadcast_step, take_away, times

// Four bytes of a row in every column.
OCTAVO_INLINE Vec::Ints broadcast_step(const char* a) {
  std::int32_t bytes;
  std::memcpy(&bytes, a, sizeof(bytes));
  return Vec::broadcast(bytes);
}

OCTAVO_INLINE Vec::Ints times(Vec::Ints x, std::int32_t shift) {
  return Vec::multiply(x, Vec::broadcast(shift));
}

// The shifts times the columns' sums.
template <int rows, int vectors, std::size_t... i, std::size_t... v>
OCTAVO_INLINE void take_away(Vec::Ints (&sums)[rows * vectors], const octavo::cpu::DotTile& t,
                             const std::int32_t* column_sums, std::index_sequence<i...>,
                             std::index_sequence<v...>) {
  const Vec::Ints columns[] = {Vec::load_unaligned_ints(column_sums + v * 16)...};
  if (t.shift_stride == 0) {
    const Vec::Ints same[] = {times(columns[v], *t.shift)...};
    ((sums[i] = Vec::subtract(sums[i], same[i % vectors])), ...);
  } else {
    ((sums[i] = Vec::subtract(sums[i], times(columns[i % vectors], t.shift[i / vectors]))), ...);
  }
}

OCTAVO_INLINE void add_to(float* place, Vec::Floats x) {
  Vec::store(place, Vec::add(Vec::load_floats(place), x));
}

// total += (sum * sa) * sb.
template <int rows, int vectors, std::size_t... i, std::size_t... v>
OCTAVO_INLINE void add_scaled(const Dot::Sum (&sums)[rows * vectors], const octavo::cpu::DotTile& t,
                              const float* scale_a, const float* scale_b, std::index_sequence<i...>,
                              std::index_sequence<v...>) {
  const Vec::Floats columns[] = {Vec::load_unaligned_floats(scale_b + v * 16)...};
  float* const total = t.total;
  const std::int64_t stride = t.scale_a_stride;
  const auto row = [&](std::size_t r) { return scale_a + static_cast<std::int64_t>(r) * stride; };
  (add_to(total + i / vectors * octavo::cpu::kRowSums + i % vectors * 16,
          Vec::multiply(Vec::multiply(Dot::floats(sums[i]), Vec::broadcast(*row(i / vectors))),
                        columns[i % vectors])),
   ...);
}
