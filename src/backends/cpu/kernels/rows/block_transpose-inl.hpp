// SPDX-License-Identifier: Apache-2.0
// Blocks of 16 bytes by 64, transposed as elements of 1, 2 or 4 bytes:
//
//   16 / size rows of 64 bytes   ->   64 / size rows of 16 bytes
//
// Rows half a block apart are interleaved, unit by unit within 128 bits, as often as doubling a
// unit takes it to 16 bytes.
//
// Needs: Lanes, put_vector, vector_at
// Gives: transpose

#define OCTAVO_INLINE inline __attribute__((always_inline))

// Vectors of `width` bytes.
template <int width, class Element>
struct BlockTranspose {
  static constexpr int kSize = static_cast<int>(sizeof(Element));
  static constexpr int kRows = 16 / kSize;
  static constexpr int kUnits = width / kSize;
  using Units = Lanes<Element, kUnits>;
  using Bytes = Lanes<std::uint8_t, width>;
  using Piece = Lanes<std::uint8_t, 16>;

  template <int from, std::size_t... i>
  static OCTAVO_INLINE Units interleaved(Units a, Units b, std::index_sequence<i...>) {
    return __builtin_shufflevector(a, b,
                                   (static_cast<int>(i / kRows * kRows + i % kRows / 2) + from +
                                    (i % 2 == 0 ? 0 : kUnits))...);
  }
  static OCTAVO_INLINE void step(const Units (&in)[kRows], Units (&out)[kRows]) {
    constexpr auto kAll = std::make_index_sequence<static_cast<std::size_t>(kUnits)>();
    for (int i = 0; i < kRows / 2; ++i) {
      out[2 * i] = interleaved<0>(in[i], in[i + kRows / 2], kAll);
      out[2 * i + 1] = interleaved<kRows / 2>(in[i], in[i + kRows / 2], kAll);
    }
  }
  template <std::size_t part, std::size_t... i>
  static OCTAVO_INLINE Piece piece(Bytes x, std::index_sequence<i...>) {
    return __builtin_shufflevector(x, x, static_cast<int>(part * 16 + i)...);
  }
  template <std::size_t... part>
  static OCTAVO_INLINE void put(Units x, char* out, std::int64_t step,
                                std::index_sequence<part...>) {
    (put_vector(piece<part>(reinterpret_cast<Bytes>(x), std::make_index_sequence<16>()),
                out + static_cast<std::int64_t>(part) * kRows * step),
     ...);
  }
  static void run(const char* in, std::int64_t in_step, char* out, std::int64_t out_step) noexcept {
    for (int begin = 0; begin < 64; begin += width) {
      Units a[kRows], b[kRows];
      for (int i = 0; i < kRows; ++i) a[i] = vector_at<Units>(in + i * in_step + begin);
      step(a, b);
      step(b, a);
      if constexpr (kRows >= 8) step(a, b);
      if constexpr (kRows == 16) step(b, a);
      for (int i = 0; i < kRows; ++i) {
        put(kRows == 8 ? b[i] : a[i], out + (begin / kSize + i) * out_step, out_step,
            std::make_index_sequence<static_cast<std::size_t>(width) / 16>());
      }
    }
  }
};

template <int width>
void transpose(std::int64_t size, const void* in, std::int64_t in_step, void* out,
               std::int64_t out_step) noexcept {
  const auto* from = static_cast<const char*>(in);
  auto* to = static_cast<char*>(out);
  if (size == 1) return BlockTranspose<width, std::uint8_t>::run(from, in_step, to, out_step);
  if (size == 2) return BlockTranspose<width, std::uint16_t>::run(from, in_step, to, out_step);
  BlockTranspose<width, std::uint32_t>::run(from, in_step, to, out_step);
}
#undef OCTAVO_INLINE
