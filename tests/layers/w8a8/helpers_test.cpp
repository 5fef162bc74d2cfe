// SPDX-License-Identifier: Apache-2.0
// vLLM's helpers in values written down by hand.
#include <cmath>
#include <limits>

#include "octavo/w8a8_utils.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::helpers_test {
namespace {

using namespace w8a8_utils;  // NOLINT: what is tested

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

Tensor floats(const std::vector<double>& list) {
  return values(float32, {static_cast<std::int64_t>(list.size())}, list);
}

// A matrix of these bytes.
Tensor codes(DType dtype, const Shape& shape, const std::vector<int>& bytes) {
  const Tensor t = Tensor::empty(dtype, std::span(shape));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    t.data_as<std::uint8_t>()[i] = static_cast<std::uint8_t>(bytes[i]);
  }
  return t;
}
std::vector<int> codes_of(const TensorView& t) {
  const std::vector<std::uint8_t> bytes = bytes_of(t);
  return {bytes.begin(), bytes.end()};
}
std::vector<float> floats_of(const TensorView& t) {
  std::vector<float> list;
  for (std::int64_t i = 0; i < t.numel(); ++i) list.push_back(float_at(t, i));
  return list;
}
using Floats = std::vector<float>;
using Widths = std::vector<std::int64_t>;

// ---- convert_to_channelwise --------------------------------------------------------------------

TEST(ConvertToChannelwise, RepeatsEachShardsScale) {
  const Tensor out = convert_to_channelwise(floats({0.5, 2, 0.25}), Widths{2, 1, 3});
  EXPECT_EQ(shape_string(out), "[6, 1]");
  EXPECT_EQ(floats_of(out), (Floats{0.5, 0.5, 2, 0.25, 0.25, 0.25}));
}

TEST(ConvertToChannelwise, ShardsWithoutRowsTakeNoPartAndNeedNoScale) {
  const Tensor scales = floats({kUnsetScale, 2, kUnsetScale, 3});
  EXPECT_EQ(floats_of(convert_to_channelwise(scales, Widths{0, 1, 0, 2})), (Floats{2, 3, 3}));
  EXPECT_EQ(shape_string(convert_to_channelwise(floats({}), Widths{})), "[0, 1]");
}

TEST(ConvertToChannelwise, OneLoadedScaleIsThatOfAFusedCheckpoint) {
  const Tensor scales = floats({0.5, kUnsetScale, kUnsetScale});
  EXPECT_EQ(floats_of(convert_to_channelwise(scales, Widths{1, 1, 1})), (Floats{0.5, 0.5, 0.5}));
}

TEST(ConvertToChannelwise, TakesOneElementForAllAndColumnsOfAnyTypeAndStride) {
  const Tensor one = values(bfloat16, {}, {0.5});
  EXPECT_EQ(floats_of(convert_to_channelwise(one, Widths{1, 2})), (Floats{0.5, 0.5, 0.5}));
  const Tensor column = values(float16, {2, 1}, {0.5, 4});
  EXPECT_EQ(floats_of(convert_to_channelwise(column, Widths{1, 2})), (Floats{0.5, 4, 4}));
  const Strided apart = strided(floats({1, 2}), {-3});
  EXPECT_EQ(floats_of(convert_to_channelwise(apart.view, Widths{1, 1})), (Floats{1, 2}));
}

// ---- requantize_with_max_scale -----------------------------------------------------------------

// e4m3fn: 0x38 is 1, 0x30 is 0.5, 0x28 is 0.25, 0x3C is 1.5, 0x7E is 448.
TEST(RequantizeWithMaxScale, MovesEveryShardToTheLargestScale) {
  const Tensor w = codes(float8_e4m3fn, {3, 2}, {0x38, 0xBC, 0x38, 0x7E, 0x00, 0x80});
  const Requantized r = requantize_with_max_scale(w, floats({1, 2}), Widths{1, 2});
  EXPECT_EQ(r.scale.rank(), 0);
  EXPECT_EQ(float_at(r.scale, 0), 2.0F);
  EXPECT_EQ(codes_of(r.weight), (std::vector<int>{0x30, 0xB4, 0x38, 0x7E, 0x00, 0x80}));
  EXPECT_EQ(codes_of(w)[0], 0x38);  // the given weight is as it was
}

TEST(RequantizeWithMaxScale, RoundsOnceInFloat32) {
  // Scales whose products leave float16 at both ends: 448 * 200 and 2^-9 * 2^-20.
  for (const double big : {200.0, 0x1p-20}) {
    const Tensor w = tensor_of(float8_e4m3fn, {2, 64}, [](std::int64_t i) {
      return std::ldexp(1.0 + static_cast<double>(i % 8) / 8, static_cast<int>(i / 8) - 7);
    });
    const Requantized r = requantize_with_max_scale(w, floats({big / 3, big}), Widths{1, 1});
    for (std::int64_t j = 0; j < 64; ++j) {
      const float value = float_at(w, 0, j) * static_cast<float>(big / 3);
      std::uint8_t want = 0;
      kit::store(Tensor::adopt(nullptr, {&want, float8_e4m3fn, {1}}), 0,
                 value / static_cast<float>(big));
      EXPECT_EQ(codes_of(r.weight)[static_cast<std::size_t>(j)], want);
      EXPECT_EQ(at(r.weight, 1, j), at(w, 1, j));
    }
  }
}

TEST(RequantizeWithMaxScale, KeepsNaN) {
  for (const DType dtype : {float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz}) {
    const Tensor w = tensor_of(dtype, {2, 1}, [](std::int64_t) { return kNaN; });
    const Requantized r = requantize_with_max_scale(w, floats({1, 2}), Widths{1, 1});
    EXPECT_EQ(r.weight.dtype(), dtype);
    EXPECT_TRUE(std::isnan(at(r.weight, 0, 0)) && std::isnan(at(r.weight, 1, 0))) << name(dtype);
  }
}

TEST(RequantizeWithMaxScale, AFusedCheckpointKeepsItsBits) {
  const Tensor w = codes(float8_e4m3fn, {3, 1}, {0x01, 0x02, 0xFF});
  struct Row {
    Tensor scales;
    Widths widths;
  };
  for (const Row& row : {Row{floats({0.5, kUnsetScale, kUnsetScale}), {1, 1, 1}},
                         Row{floats({kUnsetScale, 0.5}), {3, 0}}, Row{floats({0.5}), {1, 2}},
                         Row{values(float32, {}, {0.5}), {3}}}) {
    const Requantized r = requantize_with_max_scale(w, row.scales, row.widths);
    EXPECT_EQ(float_at(r.scale, 0), 0.5F);
    EXPECT_EQ(codes_of(r.weight), codes_of(w));
  }
}

TEST(RequantizeWithMaxScale, ALastShardWithoutRowsDoesNotMakeItFused) {
  const Tensor w = codes(float8_e4m3fn, {2, 1}, {0x38, 0x38});
  const Requantized r = requantize_with_max_scale(w, floats({1, 4, kUnsetScale}), Widths{1, 1, 0});
  EXPECT_EQ(float_at(r.scale, 0), 4.0F);
  EXPECT_EQ(codes_of(r.weight), (std::vector<int>{0x28, 0x38}));
  // The scale of a shard without rows is not the largest either.
  EXPECT_EQ(float_at(requantize_with_max_scale(w, floats({9, 1, 4}), Widths{0, 1, 1}).scale, 0),
            4.0F);
}

TEST(RequantizeWithMaxScale, ScalesOfZeroAndWeightsWithoutRows) {
  const Tensor w = codes(float8_e4m3fn, {2, 1}, {0x38, 0x38});
  EXPECT_EQ(codes_of(requantize_with_max_scale(w, floats({0, 0}), Widths{1, 1}).weight),
            codes_of(w));
  EXPECT_EQ(codes_of(requantize_with_max_scale(w, floats({0, 1}), Widths{1, 1}).weight),
            (std::vector<int>{0x00, 0x38}));
  const Tensor none = Tensor::empty(float8_e4m3fn, {0, 4});
  EXPECT_EQ(float_at(requantize_with_max_scale(none, floats({}), Widths{}).scale, 0), 1.0F);
}

TEST(RequantizeWithMaxScale, InPlaceWritesStridedMemory) {
  const Tensor w = codes(float8_e4m3fn, {2, 2}, {0x38, 0x38, 0x38, 0x38});
  const Strided apart = strided(w, {1, 5});
  const Requantized r = requantize_with_max_scale(apart.view, floats({1, 2}), Widths{1, 1}, true);
  EXPECT_EQ(r.weight.data(), apart.view.data);
  EXPECT_EQ(codes_of(apart.view), (std::vector<int>{0x30, 0x30, 0x38, 0x38}));
  EXPECT_EQ((*apart.memory)[2], 0xA5);  // what lies between is left alone
}

TEST(RequantizeWithMaxScale, SameBitsWhereManyThreadsShareIt) {
  const Tensor w = integers(float8_e4m3fn, {300, 200}, 3);
  const Requantized r = requantize_with_max_scale(w, floats({1, 2, 0.5}), Widths{100, 150, 50});
  for (std::int64_t i : {0, 99, 100, 249, 250, 299}) {
    const double factor = i < 100 ? 0.5 : i < 250 ? 1.0 : 0.25;
    for (std::int64_t j = 0; j < 200; ++j) ASSERT_EQ(at(r.weight, i, j), at(w, i, j) * factor);
  }
}

// ---- per_tensor_dequantize ---------------------------------------------------------------------

TEST(PerTensorDequantize, OneRoundingToFloat16) {
  const Tensor t = codes(float8_e4m3fn, {4}, {0x7E, 0x01, 0x7F, 0xB8});
  const Tensor out = per_tensor_dequantize(t, 100.0);
  EXPECT_EQ(out.dtype(), float16);
  EXPECT_EQ(float_at(out, 0), 44800.0F);
  EXPECT_EQ(float_at(out, 1), 0x1.9p-3F);  // 100 * 2^-9 = 0.1953125
  EXPECT_TRUE(std::isnan(float_at(out, 2)));
  EXPECT_EQ(float_at(out, 3), -100.0F);
  // e5m2 reaches 57344, and 2 * 57344 * 2^-1 must not pass through infinity.
  EXPECT_EQ(float_at(per_tensor_dequantize(codes(float8_e5m2, {1}, {0x7B}), 0.5), 0), 28672.0F);
  // A value that float16 cannot hold on the way: 2^-24 / 2 as the input, 4 as the scale.
  EXPECT_EQ(float_at(per_tensor_dequantize(floats({0x1p-25}), 4.0), 0), 0x1p-23F);
}

TEST(PerTensorDequantize, AnyRankStrideTypeAndScaleOfOneElement) {
  const Tensor t = values(int8, {2, 1, 2}, {1, -2, 3, -128});
  const Strided apart = strided(t, {7, 1, -2});
  const Tensor out = per_tensor_dequantize(apart.view, values(bfloat16, {1, 1}, {0.5}));
  EXPECT_EQ(shape_string(out), "[2, 1, 2]");
  EXPECT_EQ(floats_of(out), (Floats{0.5, -1, 1.5, -64}));
  EXPECT_EQ(per_tensor_dequantize(Tensor::empty(int8, {0, 3}), 1.0).numel(), 0);
  const Tensor many = integers(int8, {300, 301}, 5);
  const Tensor halves = per_tensor_dequantize(many, 0.5);
  for (std::int64_t i = 0; i < many.numel(); ++i) ASSERT_EQ(at(halves, i), at(many, i) * 0.5);
}

// ---- all_close_1d ------------------------------------------------------------------------------

TEST(AllClose1d, IsTorchsAllclose) {
  EXPECT_TRUE(all_close_1d(floats({})));
  EXPECT_TRUE(all_close_1d(floats({1, 1.000009, 0.999991})));
  EXPECT_FALSE(all_close_1d(floats({1, 1, 1.00002})));
  EXPECT_TRUE(all_close_1d(floats({0, 1e-8})));
  EXPECT_FALSE(all_close_1d(floats({0, 1.1e-8})));
  EXPECT_TRUE(all_close_1d(floats({kInf, kInf})));
  EXPECT_FALSE(all_close_1d(floats({kInf, -kInf})));
  EXPECT_FALSE(all_close_1d(floats({1, kInf})));
  EXPECT_FALSE(all_close_1d(floats({kNaN})));
  EXPECT_FALSE(all_close_1d(floats({1, kNaN})));
  EXPECT_TRUE(all_close_1d(strided(values(bfloat16, {2}, {3, 3}), {-4}).view));
}

// ---- normalize_e4m3fn_to_e4m3fnuz --------------------------------------------------------------

TEST(NormalizeFnuz, All256CodesMeanTheSame) {
  const Tensor w = Tensor::empty(float8_e4m3fn, {16, 16});
  for (int i = 0; i < 256; ++i) w.data_as<std::uint8_t>()[i] = static_cast<std::uint8_t>(i);
  const NormalizedFnuz n =
      normalize_e4m3fn_to_e4m3fnuz(w, values(float32, {}, {0.75}), floats({3}));
  EXPECT_EQ(n.weight.dtype(), float8_e4m3fnuz);
  EXPECT_EQ(shape_string(n.weight), "[16, 16]");
  EXPECT_EQ(n.weight_scale.rank(), 0);
  EXPECT_EQ(float_at(n.weight_scale, 0), 1.5F);
  EXPECT_EQ(floats_of(n.input_scale), (Floats{6}));
  for (int i = 0; i < 256; ++i) {
    const int code = n.weight.data_as<std::uint8_t>()[i];
    EXPECT_EQ(code, i == 0x80 ? 0x00 : (i & 0x7F) == 0x7F ? 0x80 : i);
    EXPECT_EQ(w.data_as<std::uint8_t>()[i], i);  // the given weight is as it was
    const double before = at(w, i) * 0.75;
    const double after = at(n.weight, i) * 1.5;
    EXPECT_TRUE(before == after || (std::isnan(before) && std::isnan(after))) << i;
  }
}

TEST(NormalizeFnuz, AnyRankAndStrideAndNoInputScale) {
  const Tensor w = integers(float8_e4m3fn, {3, 50, 61}, 9);
  const Strided apart = strided(w, {1, 200, 3});
  const NormalizedFnuz n =
      normalize_e4m3fn_to_e4m3fnuz(apart.view, values(bfloat16, {2, 1}, {1, 2}));
  EXPECT_FALSE(n.input_scale.defined());
  EXPECT_EQ(n.weight_scale.dtype(), bfloat16);
  EXPECT_EQ(floats_of(n.weight_scale), (Floats{2, 4}));
  for (std::int64_t i = 0; i < w.numel(); ++i) ASSERT_EQ(at(n.weight, i) * 2.0, at(w, i));
}

// ---- what is built -----------------------------------------------------------------------------

TEST(Supported, FollowsTheBackendsThatAreBuilt) {
  bool cuda = false;
  for (const BackendInfo& backend : backends()) {
    cuda = cuda || (backend.usable && backend.name.starts_with("cuda"));
  }
  EXPECT_EQ(cutlass_fp8_supported(), cuda);
  EXPECT_EQ(cutlass_block_fp8_supported(), cuda);
  EXPECT_EQ(cutlass_group_gemm_supported(), cuda);
  EXPECT_FALSE(sparse_cutlass_supported());
}

}  // namespace
}  // namespace octavo::test::helpers_test
