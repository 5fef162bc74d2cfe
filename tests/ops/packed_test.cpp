// SPDX-License-Identifier: Apache-2.0
// Packed weights: unpacked bit for bit, multiplied with the bits of the weight as it was.
#include <thread>

#include "ops/helpers.hpp"

namespace octavo::test::packed_test {
namespace {

class Packed : public testing::TestWithParam<DType> {};

// Every code of an 8-bit type (NaN codes and -0 included), any bytes of a wider one.
Tensor any_bytes(DType dtype, const Shape& shape) {
  const Tensor t = Tensor::empty(dtype, std::span(shape));
  std::mt19937 bits(7);
  auto* bytes = t.data_as<std::uint8_t>();
  for (std::int64_t i = 0; i < t.numel() * element_bytes(dtype); ++i) {
    bytes[i] = static_cast<std::uint8_t>(dtype == float32 || dtype == bfloat16 || dtype == float16
                                             ? bits()
                                             : static_cast<std::uint32_t>(i));
  }
  return t;
}

TEST_P(Packed, UnpacksEveryBitOfOddShapesAndStrides) {
  for (const auto& [k, n] :
       {std::pair{1, 1}, std::pair{7, 9}, std::pair{64, 17}, std::pair{513, 3}, std::pair{67, 131},
        std::pair{0, 5}, std::pair{5, 0}, std::pair{0, 70}}) {
    const Tensor w = any_bytes(GetParam(), {k, n});
    const Strided reversed = strided(w, {-2 * n, 2});
    for (const TensorView& view : {w.view(), reversed.view}) {
      const PackedWeight packed = pack(view);
      EXPECT_EQ(packed.k(), k);
      EXPECT_EQ(packed.n(), n);
      EXPECT_EQ(packed.dtype(), GetParam());
      EXPECT_STRNE(packed.layout(), "none");
      const Quantized q = unpack(packed);
      EXPECT_EQ(q.data.view().strides[0], 1);  // K contiguous
      expect_same_bits(q.data, w);
      EXPECT_FALSE(q.scale.defined());
    }
  }
}

TEST_P(Packed, MultipliesWithTheBitsOfTheWeightAsItWas) {
  const DType dtype = GetParam();
  const Tensor w = integers(dtype, {70, 19}, 1, -8, 8);
  const Tensor a = integers(is_float8(dtype) ? float8_e4m3fn : dtype, {5, 70}, 2, -8, 8);
  const Tensor scale = uniforms(float32, {5, 19}, 3);  // groups of 16 along K
  const Tensor bias = gaussians(float32, {19}, 4);
  Operand weight(w);
  weight.scale[0] = {ScaleKind::tensor, 1.0F, scale.view(), 16, 1, 0, 0};
  const PackedWeight packed = pack(weight);
  for (const char* backend : usable_backends()) {
    const Tensor want = scaled_mm(a, weight, {.bias = bias, .backend = backend});
    expect_same_bits(scaled_mm(a, packed, {.bias = bias, .backend = backend}), want);
    const Quantized q = unpack(packed);
    expect_same_bits(q.scale, scale);
    expect_same_bits(scaled_mm(a, q, {.bias = bias, .backend = backend}), want);
  }
  // The packed weight carries its scale as any operand does: null takes it off.
  expect_same_bits(scaled_mm(a, packed, {.scale_b = nullptr}), scaled_mm(a, w));
}

INSTANTIATE_TEST_SUITE_P(Types, Packed, testing::ValuesIn([] {
                           std::vector<DType> types{int8, bfloat16, float16, float32};
                           types.insert(types.end(), kFloat8Types.begin(), kFloat8Types.end());
                           return types;
                         }()),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST(PackedWeight, OwnsWhatItPacked) {
  PackedWeight packed;
  Tensor want;
  const Tensor a = integers(int8, {3, 8}, 1);
  {
    const Tensor w = integers(int8, {8, 5}, 2);
    const Tensor scale = uniforms(float32, {1, 5}, 3);
    Operand weight(w);
    weight.scale[0] = {ScaleKind::tensor, 1.0F, scale.view(), kWholeExtent, 1, 0, 0};
    want = scaled_mm(a, weight);
    packed = pack(weight);
    std::memset(w.data(), 0, 40);
    std::memset(scale.data(), 0, 20);
  }
  expect_same_bits(scaled_mm(a, packed), want);
  const PackedWeight shared = packed;
  packed = PackedWeight();
  expect_same_bits(scaled_mm(a, shared), want);
  EXPECT_FALSE(packed.defined());
  EXPECT_EQ(packed.k(), 0);
  EXPECT_EQ(packed.bytes(), 0U);
}

// Of a larger weight the first rows and columns, with the scales of all of it.
TEST(PackedWeight, KeepsTheScalesThatCoverIt) {
  const Tensor w = integers(int8, {40, 9}, 1);
  const Tensor scale = uniforms(float32, {3, 9}, 3);  // groups of 16 along K
  Operand weight(w.view().slice(0, 0, 20).slice(1, 0, 5));
  weight.scale[0] = {ScaleKind::tensor, 1.0F, scale.view(), 16, 1, 0, 0};
  const Quantized q = unpack(pack(weight));
  expect_same_bits(q.scale, copy(scale.view().slice(0, 0, 2).slice(1, 0, 5), float32));
  const Tensor a = integers(int8, {2, 20}, 2);
  expect_same_bits(scaled_mm(a, pack(weight)), scaled_mm(a, weight));
}

TEST(PackedWeight, KeepsTheZeroPointsThatCoverIt) {
  const Tensor w = integers(int8, {40, 9}, 1);
  const Tensor scale = uniforms(float32, {3, 9}, 3);  // groups of 16 along K
  const Tensor azp = integers(int32, {3, 9}, 4);
  Operand weight(w.view().slice(0, 0, 20).slice(1, 0, 5));
  weight.scale[0] = {ScaleKind::tensor, 1.0F, scale.view(), 16, 1, 0, 0};
  weight.azp = azp.view();
  const PackedWeight packed = pack(weight);
  expect_same_bits(unpack(packed).azp, copy(azp.view().slice(0, 0, 2).slice(1, 0, 5), int32));
  const Tensor a = integers(int8, {2, 20}, 2);
  expect_same_bits(scaled_mm(a, packed), scaled_mm(a, weight));
}

// Nothing lies behind it: no layout of any backend reads it.
TEST_P(Packed, AnEmptyWeightHasNoMemory) {
  for (const Shape& shape : {Shape{0, 70}, Shape{70, 0}, Shape{0, 0}}) {
    TensorView nothing = Tensor::empty(GetParam(), std::span(shape)).view();
    nothing.data = nullptr;
    for (const char* backend : usable_backends()) {
      const PackedWeight packed = pack(nothing, {.activation = {}, .backend = backend});
      const Tensor a = integers(float32, {3, shape[0]}, 2);
      const Tensor y = scaled_mm(a, packed, {.backend = backend});
      expect_same_bits(y, integers(y.dtype(), {3, shape[1]}, 0, 0, 0));
      EXPECT_EQ(unpack(packed).data.numel(), 0);
    }
  }
}

TEST(PackedWeight, CarriesANumberAsItsScale) {
  const Tensor w = integers(int8, {4, 3}, 1);
  Operand weight(w);
  weight.scale[0].kind = ScaleKind::number;
  weight.scale[0].number = 0.25F;
  const PackedWeight packed = pack(weight);
  const Quantized q = unpack(packed);
  EXPECT_EQ(*q.scale.data_as<float>(), 0.25F);
  const Tensor a = integers(int8, {2, 4}, 2);
  expect_same_bits(scaled_mm(a, packed), scaled_mm(a, w, {.scale_b = 0.25}));
}

TEST(PackedWeight, IsSharedByThreads) {
  const Tensor w = integers(int8, {100, 130}, 1);
  const PackedWeight packed = pack(w);
  const Tensor a = integers(int8, {17, 100}, 2);
  const Tensor want = scaled_mm(a, w);
  std::vector<Tensor> got(4);
  std::vector<std::thread> threads;
  for (Tensor& mine : got) {
    threads.emplace_back([&] {
      for (int repeat = 0; repeat < 20; ++repeat) mine = scaled_mm(a, packed);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Tensor& one : got) expect_same_bits(one, want);
}

TEST(Packed, ABackendWithoutALayoutMultipliesWhatAnotherPacked) {
  const Tensor a = integers(int8, {2, 3}, 1);
  const Tensor w = integers(int8, {3, 4}, 2);
  const PackedWeight packed = pack(w, {.activation = {}, .backend = "reference"});
  EXPECT_EQ(std::string(packed.layout()), pack(w).layout());
  expect_same_bits(scaled_mm(a, packed, {.backend = "reference"}), scaled_mm(a, w));
}

TEST(Packed, AnyBackendMultipliesAnyLayout) {
  const Tensor a = integers(int8, {5, 70}, 1);
  const Tensor w = integers(int8, {70, 83}, 2);
  for (const char* packer : usable_backends()) {
    const PackedWeight packed = pack(w, {.activation = {}, .backend = packer});
    for (const char* backend : usable_backends()) {
      expect_same_bits(scaled_mm(a, packed, {.backend = backend}), scaled_mm(a, w));
    }
  }
}

// Two copies of one weight, scales of their own: the codes stay shared, and neither disturbs the
// other, whichever backend reads them.
TEST(PackedWeight, CopiesAreReadByEveryBackendAtOnce) {
  const Tensor a = integers(int8, {33, 130}, 1);
  const Tensor w = integers(int8, {130, 150}, 2);
  const PackedWeight packed = pack(w);
  const Tensor want = scaled_mm(a, w);
  std::vector<std::thread> threads;
  std::vector<Tensor> got(usable_backends().size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    threads.emplace_back(
        [&, copy = packed, i] { got[i] = scaled_mm(a, copy, {.backend = usable_backends()[i]}); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Tensor& one : got) expect_same_bits(one, want);
}

}  // namespace
}  // namespace octavo::test::packed_test
