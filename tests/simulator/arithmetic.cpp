// SPDX-License-Identifier: Apache-2.0
// Loops run over columns, which vectorise. A product of two operands is exact in Real; times
// 2^(F - E) and converted to int32 it is cut toward zero, as the adder does:
//
//     fixed[j] = c[j]                     each at a multiple of 2^(E[j] - F)
//     fixed[j] += int32(a[k] * b[k][j] * 2^(F - E[j]))      |.| < 4 * 2^F
//
// fp8 fits in float, where four times as many columns fit in a register as of double. Two sums of
// int32 hold up to 16 products and c of F = 25, which one does not.
#include "simulator/arithmetic.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "simulator/element.hpp"

namespace octavo::cuda::simulator {
namespace {

constexpr int kBlock = 64;  // columns at a time: what a fiber's stack takes

// How a step adds: products at once, fractional bits of the sum and of the result.
struct Adder {
  int products;
  int sum_bits;
  int result_bits;
};
constexpr Adder kFloat8Adder{32, 13, 13};
constexpr Adder kHalfAdder{16, 25, 23};

constexpr Adder kAdderOf8{8, 24, 23};

constexpr Adder adder_of(TensorUnit unit, MmaType type) {
  if (unit == TensorUnit::mma_sync_of_8) return kAdderOf8;
  return unit == TensorUnit::wgmma && !is_half(type) ? kFloat8Adder : kHalfAdder;
}

using Table = std::array<Element, 256>;

constexpr Table make_table(ElementFormat format, bool as_half) {
  Table table{};
  for (std::uint32_t code = 0; code < 256; ++code) {
    const Element element = decode_element(format, code);
    table[code] = as_half ? converted(element, kHalf) : element;
  }
  return table;
}
constexpr Table kTables[2][2] = {{make_table(kE4M3, false), make_table(kE4M3, true)},
                                 {make_table(kE5M2, false), make_table(kE5M2, true)}};

// The order in which a step takes the 32 or 16 elements along K: that of memory, but for mma_sync
// of fp8, whose first half is elements 0 and 1 of every four.
struct Order {
  std::uint8_t at[32];
};
constexpr Order make_order(bool pairs) {
  Order order{};
  for (int i = 0; i < 32; ++i) {
    order.at[i] = static_cast<std::uint8_t>(pairs ? i % 16 / 2 * 4 + i / 16 * 2 + i % 2 : i);
  }
  return order;
}
constexpr Order kOrders[2] = {make_order(false), make_order(true)};

// How a row's 32 bytes are read: fp8 by table (as fp16 for mma_sync), 16 bits by their fields.
class Decoder {
 public:
  Decoder(TensorUnit unit, ElementFormat format)
      : format_(format),
        order_(kOrders[format.bits == 8 && unit == TensorUnit::mma_sync ? 1 : 0]),
        table_(kTables[format.infinite ? 1 : 0][unit == TensorUnit::mma_sync ? 1 : 0]) {}

  int count() const { return 8 * kStepBytes / format_.bits; }
  Element operator()(const std::uint8_t* row, int k) const {
    if (format_.bits == 8) return table_[row[order_.at[k]]];
    return decode_element(format_, static_cast<std::uint32_t>(row[2 * k] | row[2 * k + 1] << 8));
  }

 private:
  ElementFormat format_;
  const Order& order_;
  const Table& table_;
};

// Elements along K of `width` rows side by side; what is special is 0 there.
template <class Real, int width>
struct Panel {
  Real value[32][width];
  std::int16_t exponent[32][width];
  bool special[width];

  void decode(const Decoder& decoder, const std::uint8_t* rows, int count) {
    for (int j = 0; j < width; ++j) {
      special[j] = false;
      for (int k = 0; k < decoder.count(); ++k) {
        const Element element = j < count ? decoder(rows + j * kStepBytes, k) : Element{};
        value[k][j] = element.special ? Real{0} : static_cast<Real>(element.value);
        exponent[k][j] = element.exponent;
        special[j] |= element.special;
      }
    }
  }
};

bool is_special(std::uint32_t c) { return (c & 0x7F800000U) == 0x7F800000U; }

// 2^exponent as Real; of float, at most 2^127: a larger one meets nothing but zeros, as the largest
// exponent of a product that is not zero is -32 or more.
template <class Real>
Real scale_of(int exponent) {
  if constexpr (sizeof(Real) == sizeof(float)) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(127 + std::min(exponent, 127)) << 23);
  } else {
    return power_of_two(exponent);
  }
}

// sum * 2^(exponent - F) as float32, cut toward zero behind M bits.
template <Adder adder>
std::uint32_t cut(double sum, int exponent) {
  constexpr std::uint64_t kBelow = (std::uint64_t{1} << (52 - adder.result_bits)) - 1U;
  double result = sum * power_of_two(exponent - adder.sum_bits);
  result = std::bit_cast<double>(std::bit_cast<std::uint64_t>(result) & ~kBelow);
  if constexpr (126 + adder.sum_bits > 149) {  // float32's subnormals end sooner
    const bool subnormal = std::abs(result) < 0x1p-126;
    const double units = subnormal ? result * 0x1p149 : 0.0;
    const double kept = static_cast<double>(static_cast<std::int32_t>(units)) * 0x1p-149;
    result = subnormal ? kept : result;
  }
  const bool beyond = std::abs(result) >= 0x1p128;
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(beyond ? 0.0 : result));
  return beyond ? (result < 0.0 ? 0xFF800000U : 0x7F800000U) : bits;
}

// One fused sum of a row and every column, of the products from `first` on.
template <Adder adder, class Real, int width>
void add_products(const Panel<Real, 1>& a, const Panel<Real, width>& b, int first,
                  std::uint32_t (&d)[width]) {
  std::int16_t largest[width];
  for (int j = 0; j < width; ++j) {
    const int exponent = std::max(static_cast<int>(d[j] >> 23 & 0xFFU), 1) - 127;
    largest[j] = static_cast<std::int16_t>((d[j] & 0x7FFFFFFFU) == 0U ? kZeroExponent : exponent);
    largest[j] = is_special(d[j]) ? static_cast<std::int16_t>(kZeroExponent) : largest[j];
  }
  for (int k = first; k < first + adder.products; ++k) {
    const std::int16_t exponent = a.exponent[k][0];
    for (int j = 0; j < width; ++j) {
      const auto sum = static_cast<std::int16_t>(exponent + b.exponent[k][j]);
      largest[j] = std::max(largest[j], sum);
    }
  }
  Real scale[width];
  std::int32_t fixed[2][width];
  for (int j = 0; j < width; ++j) {
    scale[j] = scale_of<Real>(adder.sum_bits - largest[j]);
    const float c = is_special(d[j]) ? 0.0F : std::bit_cast<float>(d[j]);
    fixed[0][j] = static_cast<std::int32_t>(static_cast<double>(c) *
                                            power_of_two(adder.sum_bits - largest[j]));
    fixed[1][j] = 0;
  }
  for (int k = 0; k < adder.products; k += 2) {
    for (int odd = 0; odd < 2; ++odd) {
      const Real value = a.value[first + k + odd][0];
      const Real* const column = b.value[first + k + odd];
      for (int j = 0; j < width; ++j) {
        fixed[odd][j] += static_cast<std::int32_t>(value * column[j] * scale[j]);
      }
    }
  }
  for (int j = 0; j < width; ++j) {
    d[j] = cut<adder>(static_cast<double>(fixed[0][j]) + fixed[1][j], largest[j]);
  }
}

template <class Real, int width>
void add_step(TensorUnit unit, MmaType type, const Panel<Real, 1>& a, const Panel<Real, width>& b,
              std::uint32_t (&d)[width]) {
  if (unit == TensorUnit::mma_sync_of_8) {
    add_products<kAdderOf8>(a, b, 0, d);
    std::uint32_t half[width];
    std::copy_n(d, width, half);
    add_products<kAdderOf8>(a, b, 8, d);
    for (int j = 0; j < width; ++j) d[j] = is_special(half[j]) ? half[j] : d[j];  // it overflowed
    return;
  }
  if (is_half(type)) return add_products<kHalfAdder>(a, b, 0, d);
  if constexpr (sizeof(Real) == sizeof(float)) {
    if (unit == TensorUnit::wgmma) return add_products<kFloat8Adder>(a, b, 0, d);
    std::uint32_t sum[width] = {};
    add_products<kHalfAdder>(a, b, 0, sum);
    add_products<kHalfAdder>(a, b, 16, sum);
    for (int j = 0; j < width; ++j) {
      d[j] =
          std::bit_cast<std::uint32_t>(std::bit_cast<float>(d[j]) + std::bit_cast<float>(sum[j]));
    }
  }
}

// What a sum is in which an infinity or a NaN takes part: IEEE's.
std::uint32_t special_sum(const Decoder& decode_a, const Decoder& decode_b, const std::uint8_t* a,
                          const std::uint8_t* b, std::uint32_t c) {
  double sum = std::bit_cast<float>(c);
  for (int k = 0; k < decode_a.count(); ++k) sum += decode_a(a, k).value * decode_b(b, k).value;
  return std::isnan(sum) ? kNan : std::bit_cast<std::uint32_t>(static_cast<float>(sum));
}

// Columns [0, count) of every row, count <= width.
template <class Real, int width>
void multiply_columns(TensorUnit unit, MmaType type, const std::uint8_t* a, int rows,
                      const std::uint8_t* b, int count, int columns, std::uint32_t* d) {
  const Decoder decode_a(unit, format_of_a(type));
  const Decoder decode_b(unit, format_of_b(type));
  Panel<Real, width> panel;
  panel.decode(decode_b, b, count);
  for (int i = 0; i < rows; ++i) {
    const std::uint8_t* const row = a + i * kStepBytes;
    std::uint32_t* const results = d + static_cast<std::ptrdiff_t>(i) * columns;
    Panel<Real, 1> left;
    left.decode(decode_a, row, 1);
    std::uint32_t sums[width] = {};
    std::memcpy(sums, results, static_cast<std::size_t>(count) * sizeof *sums);
    add_step(unit, type, left, panel, sums);
    for (int j = 0; j < count; ++j) {
      if (left.special[0] || panel.special[j] || is_special(results[j])) {
        sums[j] = special_sum(decode_a, decode_b, row, b + j * kStepBytes, results[j]);
      }
    }
    std::memcpy(results, sums, static_cast<std::size_t>(count) * sizeof *sums);
  }
}

// The bytes of one side as int16, whose products are summed in pairs.
template <class Code>
void widen(const std::uint8_t* from, std::int16_t (&to)[kStepBytes]) {
  for (int k = 0; k < kStepBytes; ++k) to[k] = static_cast<Code>(from[k]);
}

template <class CodeA, class CodeB>
void multiply_integers(const std::uint8_t* a, int rows, const std::uint8_t* b, int columns,
                       std::uint32_t* d) {
  constexpr int kRows = 16;  // at a time
  std::int16_t left[kRows][kStepBytes];
  for (int first = 0; first < rows; first += kRows) {
    const int count = std::min(kRows, rows - first);
    for (int i = 0; i < count; ++i) widen<CodeA>(a + (first + i) * kStepBytes, left[i]);
    for (int j = 0; j < columns; ++j) {
      std::int16_t column[kStepBytes];
      widen<CodeB>(b + j * kStepBytes, column);
      for (int i = 0; i < count; ++i) {
        std::int32_t sum = 0;
        for (int k = 0; k < kStepBytes; ++k) sum += left[i][k] * column[k];
        d[static_cast<std::ptrdiff_t>(first + i) * columns + j] += static_cast<std::uint32_t>(sum);
      }
    }
  }
}

template <class Real>
void multiply_floats(TensorUnit unit, MmaType type, const std::uint8_t* a, int rows,
                     const std::uint8_t* b, int columns, std::uint32_t* d) {
  constexpr int kNarrow = 8;  // mma_sync's
  for (int j = 0; j < columns;) {
    const std::uint8_t* const panel = b + j * kStepBytes;
    if (columns - j >= kBlock) {
      multiply_columns<Real, kBlock>(unit, type, a, rows, panel, kBlock, columns, d + j);
      j += kBlock;
    } else {
      const int count = std::min(kNarrow, columns - j);
      multiply_columns<Real, kNarrow>(unit, type, a, rows, panel, count, columns, d + j);
      j += count;
    }
  }
}

}  // namespace

void multiply_step(TensorUnit unit, MmaType type, const std::uint8_t* a, int rows,
                   const std::uint8_t* b, int columns, std::uint32_t* d) noexcept {
  using Signed = std::int8_t;
  using Unsigned = std::uint8_t;
  if (type == MmaType::s8_s8) return multiply_integers<Signed, Signed>(a, rows, b, columns, d);
  if (type == MmaType::u8_s8) return multiply_integers<Unsigned, Signed>(a, rows, b, columns, d);
  if (type == MmaType::s8_u8) return multiply_integers<Signed, Unsigned>(a, rows, b, columns, d);
  if (type == MmaType::u8_u8) return multiply_integers<Unsigned, Unsigned>(a, rows, b, columns, d);
  if (is_half(type)) return multiply_floats<double>(unit, type, a, rows, b, columns, d);
  multiply_floats<float>(unit, type, a, rows, b, columns, d);
}

// A fused sum of n products cuts n + 1 terms by less than 2^(E - F) each, and the result by less
// than 2^-M of its leading bit; FADD rounds by half a unit, 2^-24 of the leading bit.
double step_error_bound(TensorUnit unit, MmaType type, const std::uint8_t* a, const std::uint8_t* b,
                        double accumulator) noexcept {
  if (is_integer(type)) return 0.0;
  const auto leading_bit = [](double magnitude) {  // subnormals have the smallest's
    return power_of_two(magnitude < 0x1p-126 ? -126 : std::ilogb(magnitude));
  };
  const bool converted = unit == TensorUnit::mma_sync && !is_half(type);
  const Adder adder = adder_of(unit, type);
  const Decoder decode_a(unit, format_of_a(type));
  const Decoder decode_b(unit, format_of_b(type));
  double sum = converted ? 0.0 : accumulator;  // bounds the magnitude of what has been added
  double error = 0.0;
  for (int first = 0; first < decode_a.count(); first += adder.products) {
    double largest = leading_bit(sum);
    for (int k = first; k < first + adder.products; ++k) {
      const Element left = decode_a(a, k);
      const Element right = decode_b(b, k);
      largest = std::max(largest, power_of_two(left.exponent + right.exponent));
      sum += std::abs(left.value * right.value);
    }
    const double cuts = (adder.products + 1) * largest * power_of_two(-adder.sum_bits);
    error += cuts + leading_bit(sum) * power_of_two(-adder.result_bits);
  }
  if (converted) error += leading_bit(accumulator + sum + error) * 0x1p-24;
  return error;
}

}  // namespace octavo::cuda::simulator
