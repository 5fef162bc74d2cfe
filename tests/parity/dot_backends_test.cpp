// SPDX-License-Identifier: Apache-2.0
// The backends of dot products where problem lines cannot reach: the longest sums, zero points
// outside the range of A's type, operands and outputs that lie anyhow. Without any of them the
// chosen backend is held to the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "ops/helpers.hpp"

namespace octavo::test::dot_backends_test {
namespace {

std::vector<std::string> dot_backends() {
  std::vector<std::string> names;
  for (const BackendInfo& row : backends()) {
    const bool dots =
        row.name == "avx512" || row.name == "avx2" || row.name == "sve" || row.name == "neon";
    if (row.usable && dots) names.push_back(row.name);
  }
  return names.empty() ? std::vector<std::string>{""} : names;
}

class DotBackends : public testing::TestWithParam<std::string> {
 protected:
  const char* dot_backend() const { return GetParam().c_str(); }
  void expect_zero_points(DType type, const std::vector<std::int32_t>& zeros, std::int64_t k) const;
};

INSTANTIATE_TEST_SUITE_P(Usable, DotBackends, testing::ValuesIn(dot_backends()),
                         [](const auto& test) { return test.param.empty() ? "none" : test.param; });

constexpr std::int32_t kLeast = std::numeric_limits<std::int32_t>::min();
constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();

// One code everywhere in A, one in B.
TEST_P(DotBackends, TheLongestSumsOfExtremeCodesAreExact) {
  constexpr std::int64_t kLongest = 65536;
  struct Codes {
    DType a;
    int a_code, b_code;
  };
  for (const Codes& codes : {Codes{int8, -128, -128}, Codes{int8, -128, 127},
                             Codes{int8, 127, -128}, Codes{int8, 127, 127}, Codes{uint8, 255, -128},
                             Codes{uint8, 255, 127}, Codes{uint8, 0, -128}}) {
    for (const std::int64_t k : {kLongest, kLongest - 1}) {
      const Tensor a = tensor_of(codes.a, {1, k}, [&](std::int64_t) { return codes.a_code; });
      const Tensor b = tensor_of(int8, {1, k}, [&](std::int64_t) { return codes.b_code; });
      TensorView rows = a;
      rows.shape[0] = 25;
      rows.strides[0] = 0;
      TensorView columns = b.view().transposed();
      columns.shape[1] = 83;
      columns.strides[1] = 0;
      const std::int64_t want = k * codes.a_code * codes.b_code;
      const PackedWeight packed = pack(columns);
      for (const Operand& weight : {Operand(columns), Operand(packed)}) {
        for (const std::int64_t m : {1, 7, 25}) {
          const TensorView some = rows.slice(0, 0, m);
          const auto product = [&](DType out) {
            return scaled_mm(some, weight, {.out_dtype = out, .backend = dot_backend()});
          };
          const Tensor exact = product(int32);
          const Tensor rounded = product(float32);
          for (std::int64_t i = 0; i < exact.numel(); ++i) {
            ASSERT_EQ(exact.data_as<std::int32_t>()[i], want);
            ASSERT_EQ(rounded.data_as<float>()[i], static_cast<float>(want));
          }
        }
      }
    }
  }
}

// The zero point at the other end of the range makes the largest differences: 255 * 128 * 65536.
TEST_P(DotBackends, TheLongestSumsLessTheirZeroPointsAreExact) {
  constexpr std::int64_t kLongest = 65536;
  struct Ends {
    DType type;
    int code;
    std::int32_t zero;
  };
  for (const Ends& e :
       {Ends{int8, -128, 127}, Ends{int8, 127, -128}, Ends{uint8, 255, 0}, Ends{uint8, 0, 255},
        Ends{uint8, 255, -1}, Ends{uint8, 255, -2}, Ends{uint8, 0, 256}, Ends{uint8, 0, 257},
        Ends{int8, -128, 128}, Ends{int8, 127, -129}, Ends{int8, 127, -130}}) {
    for (const int weight : {-128, 127}) {
      const Tensor a = tensor_of(e.type, {3, kLongest}, [&](std::int64_t) { return e.code; });
      const Tensor b = tensor_of(int8, {17, kLongest}, [&](std::int64_t) { return weight; });
      const std::int64_t exact = kLongest * (e.code - e.zero) * weight;
      const auto product = [&](DType out) {
        return scaled_mm(
            a, b.view().transposed(),
            {.out_dtype = out, .azp = TensorView(&e.zero, int32, {1}), .backend = dot_backend()});
      };
      const auto saturated =
          static_cast<std::int32_t>(std::clamp<std::int64_t>(exact, kLeast, kMost));
      EXPECT_EQ(*product(int32).data_as<std::int32_t>(), saturated)
          << e.code << ", zero " << e.zero;
      EXPECT_EQ(*product(float32).data_as<float>(), static_cast<float>(exact));
    }
  }
}

TEST_P(DotBackends, RefusesLongerSumsAndTheChosenBackendIsRight) {
  constexpr std::int64_t kTooLong = 65537;
  const Tensor a = tensor_of(uint8, {2, kTooLong}, [](std::int64_t) { return 255; });
  const Tensor b = tensor_of(int8, {3, kTooLong}, [](std::int64_t) { return -128; });
  const TensorView weight = b.view().transposed();
  constexpr std::int64_t kExact = kTooLong * 255 * -128;  // leaves int32
  EXPECT_EQ(*scaled_mm(a, weight, {.out_dtype = int32}).data_as<std::int32_t>(),
            static_cast<std::int32_t>(std::max<std::int64_t>(kExact, kLeast)));
  EXPECT_EQ(*scaled_mm(a, weight, {}).data_as<float>(), static_cast<float>(kExact));
  EXPECT_EQ(*scaled_mm(a, pack(weight), {}).data_as<float>(), static_cast<float>(kExact));
  if (GetParam().empty()) return;
  const PackedWeight packed = pack(weight);
  for (const Operand& operand : {Operand(weight), Operand(packed)}) {
    expect_error([&] { (void)scaled_mm(a, operand, {.backend = dot_backend()}); },
                 Code::unsupported, "sums of more than 65536 products leave int32");
  }
}

// Rows of one product with all these zero points, one of them wild or all of them.
void DotBackends::expect_zero_points(DType type, const std::vector<std::int32_t>& zeros,
                                     std::int64_t k) const {
  const auto m = static_cast<std::int64_t>(zeros.size());
  const Tensor a = integers(type, {m, k}, 1, type == int8 ? -128 : 0, type == int8 ? 127 : 255);
  const Tensor b = integers(int8, {k, 70}, 2);
  const Tensor scale_a = uniforms(float32, {m, 1}, 3);
  const Tensor scale_b = uniforms(float32, {1, 70}, 4);
  const Tensor bias = gaussians(float32, {70}, 5);
  const TensorView azp(zeros.data(), int32, {m});
  const PackedWeight packed = pack(b);
  for (const DType out : {int32, float32, bfloat16}) {
    ScaledMmOptions o{.out_dtype = out, .azp = azp, .backend = "generic"};
    if (out != int32) {
      o.scale_a = scale_a;
      o.scale_b = scale_b;
      o.bias = bias;
    }
    const Tensor want = scaled_mm(a, b, o);
    o.backend = "reference";
    if (k < 1000) expect_same_bits(scaled_mm(a, b, o), want);
    o.backend = dot_backend();
    expect_same_bits(scaled_mm(a, b, o), want);
    expect_same_bits(scaled_mm(a, packed, o), want);
  }
}

const std::vector<std::int32_t> kZeroPoints{
    0,     1,      -1,        127,        128,    -127,    -128,
    -129,  129,    254,       255,        256,    1 << 23, -(1 << 24) - 1,
    kMost, kLeast, kMost - 1, kLeast + 1, 1 << 30};

TEST_P(DotBackends, ZeroPointsOfAnySizeAreExact) {
  for (const DType type : {int8, uint8}) {
    for (const std::int32_t zero : kZeroPoints) {
      expect_zero_points(type, std::vector<std::int32_t>(2, zero), 100);  // all the same
      std::vector<std::int32_t> mixed(26, 3);                             // one among tame ones
      mixed[17] = zero;
      expect_zero_points(type, mixed, 33);
    }
    expect_zero_points(type, kZeroPoints, 100);
    expect_zero_points(type, kZeroPoints, 4105);  // two chunks
  }
}

TEST_P(DotBackends, ZeroPointsOfEveryTypeAndStride) {
  const Tensor a = integers(uint8, {9, 50}, 1, 0, 255);
  const Tensor b = integers(int8, {50, 21}, 2);
  const Tensor zeros[] = {integers(uint8, {9}, 3, 0, 255), integers(int8, {9}, 4),
                          integers(int32, {9}, 5, -300, 300)};
  for (const Tensor& azp : zeros) {
    const Strided apart = strided(azp, {3});
    const Strided backwards = strided(azp, {-1});
    const TensorView one = azp.view().slice(0, 4, 5);
    for (const TensorView& view : {azp.view(), apart.view, backwards.view, one}) {
      const Tensor want =
          scaled_mm(a, b, {.out_dtype = int32, .azp = view, .backend = "reference"});
      expect_same_bits(scaled_mm(a, b, {.out_dtype = int32, .azp = view, .backend = dot_backend()}),
                       want);
    }
  }
}

// Every way for A, B and the output to lie, over whole panels and a tail.
TEST_P(DotBackends, OperandsAndOutputsLieAnyhow) {
  constexpr std::int64_t kM = 26, kN = 83, kK = 70;
  const Tensor a = integers(int8, {kM, kK}, 1);
  const Tensor b = integers(int8, {kK, kN}, 2);
  const Tensor scale_a = uniforms(float32, {kM, 1}, 3);
  const Tensor scale_b = uniforms(float32, {1, kN}, 4);
  const Shape a_strides[] = {{kK, 1},  {kK + 3, 1}, {-kK, 1},     {1, kM},     {2 * kK, 2},
                             {kK, -1}, {-kK, -1},   {-1, kM + 1}, {1, -kM - 2}};
  const Shape b_strides[] = {{kN, 1},  {kN + 5, 1}, {-kN, 1},     {1, kK},     {2 * kN, 2},
                             {kN, -1}, {-kN, -1},   {-1, kK + 1}, {1, -kK - 2}};
  const Shape out_strides[] = {{kN, 1},  {kN + 5, 1}, {-kN - 1, 1}, {1, kM},
                               {-1, kM}, {kN, -1},    {2 * kN, 2},  {3, 3 * kM + 1}};
  for (const DType out : {int32, float32, bfloat16, float16, int8, float8_e4m3fn}) {
    ScaledMmOptions o{.out_dtype = out, .backend = "reference"};
    if (out != int32) {
      o.scale_a = scale_a;
      o.scale_b = scale_b;
    }
    const Tensor want = scaled_mm(a, b, o);
    o.backend = dot_backend();
    for (const Shape& strides : a_strides) {
      expect_same_bits(scaled_mm(strided(a, strides).view, b, o), want);
    }
    for (const Shape& strides : b_strides) {
      expect_same_bits(scaled_mm(a, strided(b, strides).view, o), want);
    }
    for (const Shape& strides : out_strides) {
      const Strided got = strided(want, strides);
      std::vector<std::uint8_t> before = *got.memory;
      fill_with_poison(got.view);
      o.out = got.view;
      (void)scaled_mm(a, b, o);
      EXPECT_TRUE(*got.memory == before) << "strides " << strides[0] << ", " << strides[1];
      o.out = {};
    }
  }
}

// Few and more rows of every type by a weight [N, K]: however they lie, the sums have the bits of
// those by the packed weight.
TEST_P(DotBackends, RowsByAPlainWeightLieAnyhow) {
  constexpr std::int64_t kN = 83, kK = 1100;
  struct Types {
    DType a, b;
  };
  for (const auto& [type_a, type_b] :
       {Types{int8, int8}, Types{uint8, int8}, Types{bfloat16, bfloat16}, Types{bfloat16, int8},
        Types{int8, bfloat16}, Types{bfloat16, float8_e4m3fn}, Types{float8_e4m3fn, float8_e5m2},
        Types{float8_e4m3fn, float8_e4m3fn}, Types{float8_e5m2fnuz, bfloat16}}) {
    const Tensor b = gaussians(type_b, {kN, kK}, 2, 20.0);
    const PackedWeight packed = pack(b.view().transposed());
    for (const std::int64_t m : {9, 17, 40}) {
      const Tensor a = gaussians(type_a, {m, kK}, 1, 20.0);
      const ScaledMmOptions options{.out_dtype = float32, .backend = dot_backend()};
      const Tensor want = scaled_mm(a, packed, options);
      const Shape lies[] = {{kK, 1},     {kK + 3, 1}, {-kK, 1},   {1, m},
                            {2 * kK, 2}, {kK, -1},    {-1, m + 1}};
      for (const Shape& strides : lies) {
        SCOPED_TRACE(std::string(octavo::name(type_a)) + " x " + std::string(octavo::name(type_b)));
        expect_same_bits(scaled_mm(strided(a, strides).view, b.view().transposed(), options), want);
      }
    }
  }
}

TEST_P(DotBackends, BroadcastRowsAndColumnsAreRead) {
  const Tensor a = integers(uint8, {1, 77}, 1, 0, 255);
  const Tensor b = integers(int8, {77, 1}, 2);
  TensorView rows = a;
  rows.shape[0] = 30;
  rows.strides[0] = 0;
  TensorView columns = b;
  columns.shape[1] = 70;
  columns.strides[1] = 0;
  const Tensor got = scaled_mm(rows, columns, {.out_dtype = int32, .backend = dot_backend()});
  const std::int64_t want = exact_dot(a, b, 0, 0);
  for (std::int64_t i = 0; i < got.numel(); ++i) ASSERT_EQ(got.data_as<std::int32_t>()[i], want);
}

// bfloat16, float16 and 8-bit rows of an output that begins at any byte.
TEST_P(DotBackends, OutputsBeginAtAnyByte) {
  constexpr std::int64_t kM = 9, kN = 128;
  const Tensor a = integers(int8, {kM, 40}, 1);
  const Tensor b = integers(int8, {40, kN}, 2);
  const Tensor scale = uniforms(float32, {kM, 1}, 3);
  for (const DType out : {int32, float32, bfloat16, float16, int8, float8_e5m2}) {
    ScaledMmOptions o{.out_dtype = out, .backend = dot_backend()};
    if (out != int32) o.scale_a = scale;
    const Tensor want = scaled_mm(a, b, o);
    for (const std::size_t shift : {1U, 2U, 3U, 31U}) {
      std::vector<std::uint8_t> memory(static_cast<std::size_t>(kM * kN * 4) + 64, 0xA5);
      o.out = TensorView(memory.data() + shift, out, {kM, kN});
      (void)scaled_mm(a, b, o);
      expect_same_bits(o.out, want);
      o.out = {};
    }
  }
}

// Weights and activations of no extent at all.
TEST_P(DotBackends, NothingToAddUpGivesTheBias) {
  const Tensor a = Tensor::empty(int8, {30, 0});
  const Tensor b = Tensor::empty(int8, {0, 70});
  const Tensor bias = gaussians(float32, {70}, 1);
  const PackedWeight packed = pack(b);
  for (const Operand& weight : {Operand(b), Operand(packed)}) {
    const Tensor got = scaled_mm(a, weight, {.bias = bias, .backend = dot_backend()});
    for (std::int64_t i = 0; i < got.numel(); ++i) {
      ASSERT_EQ(got.data_as<float>()[i], bias.data_as<float>()[i % 70]);
    }
    const Tensor zeros = scaled_mm(a, weight, {.out_dtype = int32, .backend = dot_backend()});
    for (std::int64_t i = 0; i < got.numel(); ++i) {
      ASSERT_EQ(zeros.data_as<std::int32_t>()[i], 0);
    }
  }
}

// Activations quantised on the fly, with zero points, and LLM.int8 with columns that stay floats.
TEST_P(DotBackends, QuantizesActivationsOnTheWay) {
  const Tensor w = integers(int8, {130, 83}, 1);
  const Tensor scale = uniforms(float32, {1, 83}, 2);
  const Tensor bias = gaussians(float32, {83}, 3);
  Operand weight(w);
  weight.scale[0] = {ScaleKind::tensor, 1.0F, scale.view(), kWholeExtent, 1, 0, 0};
  for (const DType from : {float32, bfloat16, float16}) {
    for (const std::int64_t m : {1, 9, 26, 530}) {
      const Tensor x = gaussians(from, {m, 130}, 4, 3.0);
      for (const Granularity& granularity : {per_token(), per_tensor()}) {
        for (const auto& [type, azp] :
             {std::pair(int8, false), std::pair(int8, true), std::pair(uint8, true)}) {
          ActivationQuant rule;
          rule.spec.dtype = type;
          rule.spec.granularity = granularity;
          rule.spec.azp = azp;
          const PackedWeight packed = pack(weight, {.activation = rule});
          const auto product = [&](const char* backend) {
            return linear(x, packed, {.bias = bias, .out_dtype = float32, .backend = backend});
          };
          expect_same_bits(product(dot_backend()), product("generic"));
        }
      }
      for (const float threshold : {0.0F, 6.0F, 100.0F}) {
        ActivationQuant rule;
        rule.vectorwise = true;
        rule.outlier_threshold = threshold;
        const PackedWeight packed = pack(weight, {.activation = rule});
        const auto product = [&](const char* backend) {
          return linear(x, packed, {.bias = bias, .out_dtype = float32, .backend = backend});
        };
        expect_same_bits(product(dot_backend()), product("generic"));
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::dot_backends_test
