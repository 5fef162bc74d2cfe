// SPDX-License-Identifier: Apache-2.0
// Tiles of int32 sums. Included inside an instruction-set region after a `Dot` that says how four
// bytes meet four bytes; every including file gets its own copy.
//
// One flat loop along K a function, accumulators named by constants only, no clones: else g++ 12
// keeps them on the stack.

inline __m512i load_vector(const void* p) { return _mm512_load_si512(p); }

// A vector of B. g++ 12 would load it once more for every row of a low tile, and the loads would be
// what such a tile waits for; in a high one the register is not to be spared.
template <bool low>
inline __attribute__((always_inline)) __m512i load_right(const void* p) {
  __m512i b = load_vector(p);
  if constexpr (low) __asm__("" : "+v"(b));
  return b;
}

// Four bytes of a row in every lane; those of a tail that do not exist are zero and not read.
inline __m512i broadcast_step(const std::uint8_t* a) {
  std::int32_t bytes;
  std::memcpy(&bytes, a, sizeof(bytes));
  return _mm512_set1_epi32(bytes);
}
inline __m512i broadcast_tail(const std::uint8_t* a, __mmask64 existing) {
  const __m512i bytes = _mm512_maskz_loadu_epi8(existing, a);
  return _mm512_broadcastd_epi32(_mm512_castsi512_si128(bytes));
}

template <int lines>
inline __attribute__((always_inline)) void prefetch(const char*& ahead) {
  if constexpr (lines > 0) _mm_prefetch(ahead, _MM_HINT_T0);
  if constexpr (lines > 1) _mm_prefetch(ahead + 64, _MM_HINT_T0);
  if constexpr (lines > 2) _mm_prefetch(ahead + 128, _MM_HINT_T0);
  if constexpr (lines > 2) _mm_prefetch(ahead + 192, _MM_HINT_T0);
  ahead += std::int64_t{64} * lines;
}

inline __m512i times(__m512i x, std::int32_t shift) {
  return _mm512_mullo_epi32(x, _mm512_set1_epi32(shift));
}

// The shifts times the columns' sums.
template <int rows, int vectors, std::size_t... i, std::size_t... v>
inline __attribute__((always_inline)) void take_away(__m512i (&sums)[rows * vectors],
                                                     const octavo::cpu::DotTile& t,
                                                     std::index_sequence<i...>,
                                                     std::index_sequence<v...>) {
  const __m512i columns[] = {_mm512_loadu_si512(t.column_sums + v * 16)...};
  if (t.shift_stride == 0) {
    const __m512i same[] = {times(columns[v], *t.shift)...};
    ((sums[i] = _mm512_sub_epi32(sums[i], same[i % vectors])), ...);
  } else {
    ((sums[i] = _mm512_sub_epi32(sums[i], times(columns[i % vectors], t.shift[i / vectors]))), ...);
  }
}

// One step of the tile: accumulator i belongs to row i / vectors and vector i % vectors.
template <int rows, int vectors, std::size_t... i, std::size_t... v, class Load>
inline __attribute__((always_inline)) void dot_step(__m512i (&sums)[rows * vectors],
                                                    const std::int8_t* b, __m512i flip,
                                                    const Load& load, std::index_sequence<i...>,
                                                    std::index_sequence<v...>) {
  const Dot::Right right[] = {
      Dot::right(load_right<(rows > 1 && rows * vectors <= 12)>(b + v * 64))...};
  ((sums[i] = Dot::add(sums[i], Dot::left(_mm512_xor_si512(load(i / vectors), flip)),
                       right[i % vectors])),
   ...);
}

constexpr std::size_t kRowSums = 64;  // from one row of sums to the next

template <int rows, int vectors, int lines, std::size_t... i>
inline __attribute__((always_inline)) void dot_rows(const octavo::cpu::DotTile& t,
                                                    std::index_sequence<i...> all) {
  constexpr std::make_index_sequence<vectors> kVectors;
  const std::int64_t lda = t.lda;
  const std::int64_t ldb = t.ldb;
  const std::uint8_t* a = t.a;
  const std::int8_t* b = t.b;
  const char* ahead = t.ahead;
  std::int32_t* const c = t.c;
  const auto place = [&](std::size_t n) { return c + n / vectors * kRowSums + n % vectors * 16; };
  __m512i sums[] = {((void)i, _mm512_setzero_si512())...};
  if (t.add) ((sums[i] = load_vector(place(i))), ...);
  if (t.column_sums != nullptr) take_away<rows, vectors>(sums, t, all, kVectors);
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(t.flip));
  const auto row = [&](std::size_t r) {
    return broadcast_step(a + static_cast<std::int64_t>(r) * lda);
  };
  std::int64_t steps = t.depth / 4;
  // Few accumulators wait for each other: a second set takes every other step.
  if constexpr (rows * vectors <= 4) {
    __m512i odd[] = {((void)i, _mm512_setzero_si512())...};
    OCTAVO_FLAT_LOOP
    for (; steps >= 2; steps -= 2) {
      dot_step<rows, vectors>(sums, b, flip, row, all, kVectors);
      a += 4;
      b += ldb;
      prefetch<lines>(ahead);
      dot_step<rows, vectors>(odd, b, flip, row, all, kVectors);
      a += 4;
      b += ldb;
      prefetch<lines>(ahead);
    }
    ((sums[i] = _mm512_add_epi32(sums[i], odd[i])), ...);
  }
  OCTAVO_FLAT_LOOP
  for (; steps > 0; --steps) {
    dot_step<rows, vectors>(sums, b, flip, row, all, kVectors);
    a += 4;
    b += ldb;
    prefetch<lines>(ahead);
  }
  if (const std::int64_t left = t.depth % 4; left != 0) {
    const __mmask64 existing = (std::uint64_t{1} << left) - 1;
    const auto tail = [&](std::size_t r) {
      return broadcast_tail(a + static_cast<std::int64_t>(r) * lda, existing);
    };
    dot_step<rows, vectors>(sums, b, flip, tail, all, kVectors);
  }
  (_mm512_store_si512(place(i), sums[i]), ...);
}

template <int rows, int vectors, int lines>
OCTAVO_KERNEL void dot_tile(const octavo::cpu::DotTile& tile) noexcept {
  dot_rows<rows, vectors, lines>(tile, std::make_index_sequence<rows * vectors>());
}

// Tiles of 1 to `most` rows, the first one first.
template <int vectors, int lines, std::size_t... row>
constexpr std::array<octavo::cpu::DotKernel, sizeof...(row)> dot_tiles(
    std::index_sequence<row...>) {
  return {&dot_tile<static_cast<int>(row) + 1, vectors, lines>...};
}
template <int vectors, int lines, std::int64_t most>
octavo::cpu::DotKernel find_tile(std::int64_t rows) noexcept {
  static constexpr auto kTiles =
      dot_tiles<vectors, lines>(std::make_index_sequence<static_cast<std::size_t>(most)>());
  return kTiles[static_cast<std::size_t>(rows - 1)];
}

octavo::cpu::DotKernel find_dot_tile(std::int64_t rows, std::int64_t vectors,
                                     int ahead_lines) noexcept {
  if (rows < 1 || rows > kMaxRows[static_cast<std::size_t>(vectors - 1)]) return nullptr;
  switch (vectors * 10 + ahead_lines) {
    case 10:
      return find_tile<1, 0, kMaxRows[0]>(rows);
    case 20:
      return find_tile<2, 0, kMaxRows[1]>(rows);
    case 21:
      return find_tile<2, 1, kMaxRows[1]>(rows);
    case 22:
      return find_tile<2, 2, kMaxRows[1]>(rows);
    case 30:
      return find_tile<3, 0, kMaxRows[2]>(rows);
    case 40:
      return find_tile<4, 0, kMaxRows[3]>(rows);
    case 41:
      return find_tile<4, 1, kMaxRows[3]>(rows);
    case 44:
      return find_tile<4, 4, kMaxRows[3]>(rows);
    default:
      return nullptr;
  }
}
