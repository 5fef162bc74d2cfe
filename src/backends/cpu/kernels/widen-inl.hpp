// SPDX-License-Identifier: Apache-2.0
// Rows of any operand type to float32, for the instruction set of the region that includes this.

template <class Raw>
Raw raw_at(const void* source, std::int64_t i) {
  Raw raw;
  std::memcpy(&raw, static_cast<const char*>(source) + i * std::int64_t{sizeof(Raw)}, sizeof(Raw));
  return raw;
}

// In two loops, so that the second works on 32-bit lanes alone: compilers mix widths otherwise.
template <octavo::FloatFormat F, class Raw>
void widen_float(const void* source, std::int64_t count, float* out) noexcept {
  constexpr std::int64_t kPiece = 256;
  std::uint32_t codes[kPiece];
  for (std::int64_t begin = 0; begin < count; begin += kPiece) {
    const std::int64_t n = count - begin < kPiece ? count - begin : kPiece;
    for (std::int64_t i = 0; i < n; ++i) codes[i] = raw_at<Raw>(source, begin + i);
    for (std::int64_t i = 0; i < n; ++i) out[begin + i] = octavo::decode<F>(codes[i]);
  }
}

template <class Raw>
void widen_number(const void* source, std::int64_t count, float* out) noexcept {
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(raw_at<Raw>(source, i));
}

void widen_row(octavo::DType dtype, const void* source, std::int64_t count, float* out) noexcept {
  switch (dtype) {
    case octavo::DType::float8_e4m3fn:
      return widen_float<octavo::kE4M3FN, std::uint8_t>(source, count, out);
    case octavo::DType::float8_e4m3fnuz:
      return widen_float<octavo::kE4M3FNUZ, std::uint8_t>(source, count, out);
    case octavo::DType::float8_e5m2:
      return widen_float<octavo::kE5M2, std::uint8_t>(source, count, out);
    case octavo::DType::float8_e5m2fnuz:
      return widen_float<octavo::kE5M2FNUZ, std::uint8_t>(source, count, out);
    case octavo::DType::bfloat16:
      return widen_float<octavo::kBFloat16, std::uint16_t>(source, count, out);
    case octavo::DType::float16:
      return widen_float<octavo::kFloat16, std::uint16_t>(source, count, out);
    case octavo::DType::float32:
      return widen_number<float>(source, count, out);
    case octavo::DType::int8:
      return widen_number<std::int8_t>(source, count, out);
    default:
      return widen_number<std::uint8_t>(source, count, out);
  }
}
