// SPDX-License-Identifier: Apache-2.0
// Values that are not finite, in one operand or the other: every backend gives a number, an
// infinity or NaN where the reference does, whatever decodes, packs or lays out the weight.
#include <string>

#include "helpers.hpp"

namespace octavo::test::special_values_test {
namespace {

constexpr std::int64_t kRows = 9;
constexpr std::int64_t kDepth = 37;
constexpr std::int64_t kColumns = 150;

enum class Class : std::uint8_t { number, nan, above, below };
Class class_of(double x) {
  if (std::isnan(x)) return Class::nan;
  if (!std::isinf(x)) return Class::number;
  return x > 0 ? Class::above : Class::below;
}

Class class_at(const Tensor& out, std::int64_t i) { return class_of(at(out.view(), i)); }

// Nowhere zero, so that no infinity meets one.
Tensor numbers(DType dtype, const Shape& shape, unsigned seed) {
  std::mt19937 bits(seed);
  return tensor_of(dtype, shape, [&](std::int64_t) {
    const double magnitude = 1.0 + static_cast<double>(bits() % 3);
    return bits() % 2 != 0 ? -magnitude : magnitude;
  });
}

void expect_classes(const Tensor& a, const Tensor& b, const std::string& what) {
  const Tensor want = scaled_mm(a, b, {.out_dtype = float32, .backend = "reference"});
  for (const bool prepacked : {false, true}) {
    const PackedWeight packed = pack(b);
    const Tensor out =
        scaled_mm(a, prepacked ? Operand(packed) : Operand(b), {.out_dtype = float32});
    for (std::int64_t i = 0; i < want.numel(); ++i) {
      ASSERT_EQ(class_at(out, i), class_at(want, i))
          << what << (prepacked ? ", packed" : "") << ", row " << i / kColumns << ", column "
          << i % kColumns;
    }
  }
}

struct Types {
  DType a, b;
};

TEST(SpecialValues, EveryCodeThatIsNotFiniteInTheWeight) {
  for (const DType b_type : kFloat8Types) {
    for (const DType a_type : {float8_e4m3fn, bfloat16, float16}) {
      const Tensor a = numbers(a_type, {kRows, kDepth}, 1);
      const Tensor codes = numbers(b_type, {kDepth, kColumns}, 2);
      Tensor every = Tensor::empty(b_type, {1, 256});
      for (int code = 0; code < 256; ++code) {
        every.data_as<std::uint8_t>()[code] = static_cast<std::uint8_t>(code);
      }
      // The first and the last column, one of each half of a panel, the last row.
      const std::int64_t places[] = {0, 40, 70, kColumns * (kDepth - 1) + 100,
                                     kColumns * 3 + kColumns - 1};
      std::size_t place = 0;
      for (int code = 0; code < 256; ++code) {
        if (std::isfinite(at(every.view(), code))) continue;
        codes.data_as<std::uint8_t>()[places[place++ % std::size(places)]] =
            static_cast<std::uint8_t>(code);
      }
      ASSERT_GT(place, 0U);
      expect_classes(a, codes, std::string(name(a_type)) + " by " + std::string(name(b_type)));
    }
  }
}

TEST(SpecialValues, InfinitiesAndNaNInTheActivations) {
  const Types types[] = {{float8_e5m2, float8_e4m3fn}, {float8_e4m3fnuz, float8_e5m2fnuz},
                         {bfloat16, bfloat16},         {bfloat16, int8},
                         {float16, float8_e5m2},       {float32, float32}};
  for (const Types& t : types) {
    const Tensor a = numbers(t.a, {kRows, kDepth}, 3);
    const Tensor b = numbers(t.b, {kDepth, kColumns}, 4);
    kit::store(a, 2 * kDepth + 5, HUGE_VAL);
    kit::store(a, 4 * kDepth + kDepth - 1, -HUGE_VAL);
    kit::store(a, 7 * kDepth, std::nan(""));
    expect_classes(a, b, std::string(name(t.a)) + " by " + std::string(name(t.b)));
  }
}

}  // namespace
}  // namespace octavo::test::special_values_test
