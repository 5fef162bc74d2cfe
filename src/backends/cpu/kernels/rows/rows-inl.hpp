// SPDX-License-Identifier: Apache-2.0
// Rows of elements to and from float32 (out[i] = decode(in[i]), out[i] = encode(in[i]); section 1),
// and their products and sums, for the instruction set of the region.
//
// Conversions go through pieces of 32-bit codes, so that arithmetic and change of width are loops
// of their own: compilers mix widths badly otherwise.
//
// Needs: round_bfloat16
// Gives: add_products, kPiece, multiply_row, narrow_row, shift_sums, widen_row

constexpr std::int64_t kPiece = 256;

template <class Raw>
Raw raw_at(const void* source, std::int64_t i) {
  Raw raw;
  std::memcpy(&raw, static_cast<const char*>(source) + i * std::int64_t{sizeof(Raw)}, sizeof(Raw));
  return raw;
}
template <class Raw>
void put_raw(void* target, std::int64_t i, Raw raw) {
  std::memcpy(static_cast<char*>(target) + i * std::int64_t{sizeof(Raw)}, &raw, sizeof(Raw));
}

// decode and encode of bfloat16, whose numbers are the upper halves of float32's: a carry makes
// infinity by itself, only NaN needs a look.
inline __attribute__((always_inline)) float decode_bfloat16(std::uint32_t code) noexcept {
  const std::uint32_t bits = code << 16;
  const std::uint32_t quiet = (bits & 0x80000000U) | 0x7FC00000U;
  return std::bit_cast<float>((code & 0x7FFFU) > 0x7F80U ? quiet : bits);
}
inline __attribute__((always_inline)) std::uint32_t encode_bfloat16(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t quiet = (bits & 0x80000000U) | 0x7FC00000U;
  return ((bits & 0x7FFFFFFFU) > 0x7F800000U ? quiet : round_bfloat16(bits)) >> 16;
}

template <octavo::FloatFormat F>
inline __attribute__((always_inline)) float decode_one(std::uint32_t code) noexcept {
  if constexpr (F.bias == 127) return decode_bfloat16(code);
  return octavo::decode<F>(code);
}
template <octavo::FloatFormat F, octavo::Overflow overflow>
inline __attribute__((always_inline)) std::uint32_t encode_one(float x) noexcept {
  if constexpr (F.bias == 127) return encode_bfloat16(x);
  return octavo::encode<F>(x, overflow);
}

template <octavo::FloatFormat F, class Raw>
void widen_float(const void* source, std::int64_t count, float* out) noexcept {
  std::uint32_t codes[kPiece];
  for (std::int64_t begin = 0; begin < count; begin += kPiece) {
    const std::int64_t n = count - begin < kPiece ? count - begin : kPiece;
    for (std::int64_t i = 0; i < n; ++i) codes[i] = raw_at<Raw>(source, begin + i);
    for (std::int64_t i = 0; i < n; ++i) out[begin + i] = decode_one<F>(codes[i]);
  }
}

template <class Raw>
void widen_number(const void* source, std::int64_t count, float* out) noexcept {
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(raw_at<Raw>(source, i));
}

template <octavo::FloatFormat F, class Raw, octavo::Overflow overflow>
void narrow_float(const float* in, std::int64_t count, void* out) noexcept {
  std::uint32_t codes[kPiece];
  for (std::int64_t begin = 0; begin < count; begin += kPiece) {
    const std::int64_t n = count - begin < kPiece ? count - begin : kPiece;
    for (std::int64_t i = 0; i < n; ++i) codes[i] = encode_one<F, overflow>(in[begin + i]);
    for (std::int64_t i = 0; i < n; ++i) put_raw(out, begin + i, static_cast<Raw>(codes[i]));
  }
}
template <octavo::FloatFormat F>
void narrow_float8(const float* in, std::int64_t count, void* out,
                   octavo::Overflow overflow) noexcept {
  if (overflow == octavo::Overflow::saturate) {
    narrow_float<F, std::uint8_t, octavo::Overflow::saturate>(in, count, out);
  } else {
    narrow_float<F, std::uint8_t, octavo::Overflow::ieee>(in, count, out);
  }
}

template <std::int32_t low, std::int32_t high>
void narrow_integer(const float* in, std::int64_t count, void* out) noexcept {
  std::int32_t codes[kPiece];
  for (std::int64_t begin = 0; begin < count; begin += kPiece) {
    const std::int64_t n = count - begin < kPiece ? count - begin : kPiece;
    for (std::int64_t i = 0; i < n; ++i) codes[i] = octavo::round_to_int<low, high>(in[begin + i]);
    for (std::int64_t i = 0; i < n; ++i) {
      put_raw(out, begin + i, static_cast<std::uint8_t>(codes[i]));
    }
  }
}

constexpr auto kWidenFloat8 =
    octavo::by_float8<void (*)(const void*, std::int64_t, float*) noexcept>(
        []<octavo::FloatFormat F>() { return &widen_float<F, std::uint8_t>; });
constexpr auto kNarrowFloat8 =
    octavo::by_float8<void (*)(const float*, std::int64_t, void*, octavo::Overflow) noexcept>(
        []<octavo::FloatFormat F>() { return &narrow_float8<F>; });

void widen_row(octavo::DType dtype, const void* source, std::int64_t count, float* out) noexcept {
  if (octavo::is_float8(dtype)) {
    return kWidenFloat8[static_cast<std::size_t>(dtype)](source, count, out);
  }
  switch (dtype) {
    case octavo::DType::bfloat16:
      return widen_float<octavo::kBFloat16, std::uint16_t>(source, count, out);
    case octavo::DType::float16:
      return widen_float<octavo::kFloat16, std::uint16_t>(source, count, out);
    case octavo::DType::float32:
      return widen_number<float>(source, count, out);
    case octavo::DType::int8:
      return widen_number<std::int8_t>(source, count, out);
    case octavo::DType::uint8:
      return widen_number<std::uint8_t>(source, count, out);
    default:
      __builtin_unreachable();
  }
}

void narrow_row(octavo::DType dtype, const float* in, std::int64_t count, void* out,
                octavo::Overflow overflow) noexcept {
  if (octavo::is_float8(dtype)) {
    return kNarrowFloat8[static_cast<std::size_t>(dtype)](in, count, out, overflow);
  }
  switch (dtype) {
    case octavo::DType::bfloat16:
      return narrow_float<octavo::kBFloat16, std::uint16_t, octavo::Overflow::ieee>(in, count, out);
    case octavo::DType::float16:
      return narrow_float<octavo::kFloat16, std::uint16_t, octavo::Overflow::ieee>(in, count, out);
    case octavo::DType::float32:
      for (std::int64_t i = 0; i < count; ++i) put_raw(out, i, in[i]);
      return;
    case octavo::DType::int8:
      return narrow_integer<-128, 127>(in, count, out);
    case octavo::DType::uint8:
      return narrow_integer<0, 255>(in, count, out);
    default:
      __builtin_unreachable();
  }
}

void multiply_row(const float* factors, std::int64_t step, std::int64_t count, float* x) noexcept {
  if (step == 0) {
    const float factor = *factors;
    for (std::int64_t i = 0; i < count; ++i) x[i] *= factor;
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) x[i] *= factors[i];
}

void shift_sums(const std::int32_t* sums, const std::int32_t* column_sums, double azp,
                std::int64_t count, float* out) noexcept {
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(static_cast<double>(sums[i]) -
                                azp * static_cast<double>(column_sums[i]));
  }
}

void add_products(const float* a, const float* b, std::int64_t count, double* sums) noexcept {
  if (b == nullptr) {
    for (std::int64_t i = 0; i < count; ++i) sums[i] += static_cast<double>(a[i]);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    sums[i] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
}
