// SPDX-License-Identifier: Apache-2.0
// Panels of 8-bit weights, and rows of float32, as panels of float32 (float(code), exactly), in
// plain C++, and weights of any strides as the latter:
//
//   float32  [vectors][k][16]  ->  [k][j]
//   int8     [k / 4][j][4]     ->  [k][j]
//   fp8      [k / 2][j][2]     ->  [k][j], its columns in the order of kFloat8Form
//   16 bits  [k / 2][j][2]     ->  [k][j]
//
// Needs: nothing
// Gives: decode_float8, decode_int8, from_pairs, pack_floats, pack_rows
void pack_rows(const float* rows, std::int64_t depth, std::int64_t vectors, void* panel) noexcept {
  for (std::int64_t v = 0; v < vectors; ++v) {
    float* out = static_cast<float*>(panel) + v * 16;
    for (std::int64_t k = 0; k < depth; ++k, rows += 16, out += vectors * 16) {
      std::memcpy(out, rows, 64);
    }
  }
}

// The value of a code by the table of its type.
struct Float8Values {
  const octavo::cpu::Float8Table& table;
  float operator()(std::int8_t code) const {
    const bool nan = table.negative_zero_is_nan && code == -128;
    const auto index = static_cast<std::size_t>(code & 0x7F);
    const std::uint32_t sign = code < 0 ? 0x80000000U : 0U;
    const auto magnitude = static_cast<std::uint32_t>(table.low[index] | table.high[index] << 8);
    return std::bit_cast<float>(nan ? 0x7FC00000U : sign | magnitude << 16);
  }
};

void decode_int8(const void* codes, std::int64_t steps, std::int64_t vectors,
                 void* panel) noexcept {
  const auto* from = static_cast<const std::int8_t*>(codes);
  const std::int64_t columns = vectors * 16;
  float* out = static_cast<float*>(panel);
  for (; steps > 0; --steps, out += 4 * columns) {
    for (std::int64_t j = 0; j < columns; ++j) {
      for (std::int64_t k = 0; k < 4; ++k) out[k * columns + j] = static_cast<float>(*from++);
    }
  }
}

void decode_float8(const octavo::cpu::Float8Table& table, const void* codes, std::int64_t steps,
                   std::int64_t code_vectors, std::int64_t vectors, void* panel) noexcept {
  const Float8Values value{table};
  const auto* from = static_cast<const std::int8_t*>(codes);
  const std::int64_t columns = vectors * 16;
  float* out = static_cast<float*>(panel);
  for (; steps > 0; --steps, from += code_vectors * 32, out += 2 * columns) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const std::int8_t* pair = from + j / 32 * 64 + j % 16 / 4 * 16 + j / 16 % 2 * 8 + j % 4 * 2;
      out[j] = value(pair[0]);
      out[columns + j] = value(pair[1]);
    }
  }
}

void from_pairs(octavo::DType dtype, const void* pairs, std::int64_t steps, std::int64_t vectors,
                void* panel) noexcept {
  const auto* from = static_cast<const std::uint16_t*>(pairs);
  const std::int64_t columns = vectors * 16;
  float* out = static_cast<float*>(panel);
  for (; steps > 0; --steps, out += 2 * columns) {
    for (std::int64_t i = 0; i < 2 * columns; ++i, ++from) {
      out[i % 2 * columns + i / 2] = dtype == octavo::DType::bfloat16
                                         ? octavo::decode<octavo::kBFloat16>(*from)
                                         : octavo::decode<octavo::kFloat16>(*from);
    }
  }
}

// Elements of B as floats, [k][j].
template <class Element, class Value>
void pack_elements(const octavo::cpu::PackPiece& p, const Value& value) {
  const std::int64_t padded = (p.columns + 15) / 16 * 16;
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(Element));
  const std::int64_t rows = kSize < 4 ? (p.depth * kSize + 3) / 4 * 4 / kSize : p.depth;
  const auto* b = static_cast<const char*>(p.b);
  float* out = static_cast<float*>(p.panel);
  for (std::int64_t k = 0; k < rows; ++k) {
    for (std::int64_t j = 0; j < padded; ++j, ++out) {
      *out = 0.0F;
      if (k >= p.depth || j >= p.columns) continue;
      Element element;  // at any address
      std::memcpy(&element, b + (k * p.stride_k + j * p.stride_n) * kSize, sizeof(element));
      *out = value(element);
    }
  }
}

void pack_floats(const octavo::cpu::PackPiece& p) noexcept {
  using octavo::DType;
  switch (p.dtype) {
    case DType::float32:
      return pack_elements<float>(p, [](float element) { return element; });
    case DType::bfloat16:
      return pack_elements<std::uint16_t>(p, octavo::decode<octavo::kBFloat16>);
    case DType::float16:
      return pack_elements<std::uint16_t>(p, octavo::decode<octavo::kFloat16>);
    case DType::int8:
      return pack_elements<std::int8_t>(
          p, [](std::int8_t element) { return static_cast<float>(element); });
    default:
      return pack_elements<std::int8_t>(p, Float8Values{*p.table});
  }
}
