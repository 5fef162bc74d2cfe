// SPDX-License-Identifier: Apache-2.0
// Changes of width by what every instruction set has, for vectors of at most 32 bytes.
// stream(bytes, out) stores past the caches.
//
// Needs: Lanes, put_vector, stream
// Gives: any_below, even_bytes, fused, half_to_float, kLanesWithSigns, looked_up, put_low_bytes,
//        put_lower_halves, put_with_signs, subtract_saturated, sum_of_halves, wide_halves

template <class Halves>
inline auto wide_halves(Halves halves) {
  return __builtin_convertvector(halves, Lanes<std::uint32_t, sizeof(Halves) / 2>);
}

// float16 codes to their values, a NaN to one of its sign.
template <class Halves>
inline auto half_to_float(Halves codes) {
  using Floats = Lanes<float, sizeof(Halves) / 2>;
  using Ints = Lanes<std::int32_t, sizeof(Halves) / 2>;
  using Words = Lanes<std::uint32_t, sizeof(Halves) / 2>;
  const Words code = wide_halves(codes);
  const Words magnitude = code & 0x7FFFU;
  const Ints number = reinterpret_cast<const Ints&>(magnitude);
  const Words none{};
  const Words beyond = number >= 0x7C00 ? none + (112U << 23) : none;  // infinities and NaN
  const Floats tiny = __builtin_convertvector(number, Floats) * 0x1p-24F;
  const Words normal = (magnitude << 13) + (112U << 23) + beyond;
  const Words value = number < 0x0400 ? reinterpret_cast<const Words&>(tiny) : normal;
  const Words bits = value | (code & 0x8000U) << 16;
  return reinterpret_cast<const Floats&>(bits);
}

template <class Bytes, std::size_t... i>
inline Bytes even_bytes(Bytes a, Bytes b, std::index_sequence<i...>) {
  return __builtin_shufflevector(a, b, 2 * static_cast<int>(i)...);
}

// Four vectors of words, cut to bytes; `streamed`: to a whole vector's boundary, past the caches.
template <class Words>
inline void put_low_bytes(Words a, Words b, Words c, Words d, std::uint8_t* out, bool streamed) {
  using Bytes = Lanes<std::uint8_t, sizeof(Words)>;
  constexpr auto kAll = std::make_index_sequence<sizeof(Words)>();
  const auto front =
      even_bytes(reinterpret_cast<const Bytes&>(a), reinterpret_cast<const Bytes&>(b), kAll);
  const auto back =
      even_bytes(reinterpret_cast<const Bytes&>(c), reinterpret_cast<const Bytes&>(d), kAll);
  const Bytes bytes = even_bytes(front, back, kAll);
  if (streamed) return stream(bytes, out);
  put_vector(bytes, out);
}

// max(a - b, 0) of numbers without signs.
template <class Halves>
inline Halves subtract_saturated(Halves a, Halves b) {
  return (a > b ? a : b) - b;
}

// In each lane, the number of a table of as many halves that its low bits name; is one of a below
// its bound? Not with vectors of this width.
template <class Halves>
inline Halves looked_up(Halves table, Halves places);
template <class Halves>
inline bool any_below(Halves a, Halves bound);

// Signs of elements that come on top of their magnitudes: not with vectors of this width.
inline constexpr int kLanesWithSigns = 0;
template <class Words>
inline void put_lower_halves(Words a, Words b, Words c, Words d, Words front_azp, Words back_azp,
                             std::uint8_t* out, bool streamed, bool to_signed);
template <class Floats>
inline Floats fused(Floats a, Floats b, Floats c);
template <class Words>
inline Words sum_of_halves(Words halves, int lower, int upper);
template <std::int64_t bytes, bool in_turn, class Words>
inline void put_with_signs(Words a, Words b, Words c, Words d, std::uint8_t last,
                           const char* elements, std::uint8_t* out, bool streamed);
