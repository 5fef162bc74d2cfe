// SPDX-License-Identifier: Apache-2.0
// Fp8LinearOp and the functions that it may call: bit for bit octavo.quantize and octavo.scaled_mm,
// and within the bound of a float64 sum over the dequantised codes.
#include <cmath>

#include "octavo/matmul.hpp"
#include "octavo/w8a8_utils.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::linear_test {
namespace {

using namespace w8a8_utils;  // NOLINT: what is tested

// A weight [N, K] with its scale, as a checkpoint stores it.
struct Stored {
  Tensor codes, scale;
  Granularity granularity;  // of the weight [K, N]
  Operand operand() const { return Operand(codes.view().transposed()); }
  Scale for_scaled_mm() const {
    const bool blocks = granularity.kind == Granularity::Kind::block;
    return {blocks ? scale.view().transposed() : scale.view(), granularity};
  }
};

enum class W { tensor, channel, block };

Stored stored(W kind, std::int64_t n, std::int64_t k, DType dtype = float8_e4m3fn) {
  Stored s;
  s.codes = gaussians(float32, {n, k}, 11, 40.0).to(dtype);
  s.granularity = kind == W::tensor    ? per_tensor()
                  : kind == W::channel ? per_channel()
                                       : block(128, 128);
  const auto blocks = [](std::int64_t extent) { return (extent + 127) / 128; };
  s.scale = uniforms(float32,
                     kind == W::tensor    ? Shape{1}
                     : kind == W::channel ? Shape{n, 1}
                                          : Shape{blocks(n), blocks(k)},
                     12);
  return s;
}

// The values of a matrix of codes with a scale over that grid, row by row.
std::vector<double> decoded(const TensorView& codes, const TensorView& scale,
                            const ScaleGrid& grid) {
  const Tensor scales = copy(scale, float32);
  const std::int64_t across = scales.rank() == 2 ? scales.size(1) : 1;
  std::vector<double> list;
  for (std::int64_t i = 0; i < codes.shape[0]; ++i) {
    for (std::int64_t j = 0; j < codes.shape[1]; ++j) {
      list.push_back(at(codes, i, j) * at(scales, i / grid.rows * across + j / grid.cols));
    }
  }
  return list;
}

// y against the sum over k of decoded values, and the bias, in float64.
void expect_right(const TensorView& y, const Quantized& x, const Stored& w,
                  const TensorView& bias) {
  const ScaleGrid grid = scale_grid(w.granularity, Side::b);
  const std::int64_t k = x.data.size(1);
  const std::vector<double> a = decoded(x.data, x.scale, x.grid);
  const std::vector<double> b = decoded(w.codes, w.scale, {grid.cols, grid.rows});
  const std::int64_t length = std::max<std::int64_t>(std::min({x.grid.cols, grid.rows, k}), 1);
  expect_near(
      y, k,
      [&](std::int64_t i, std::int64_t j) {
        Sum sum;
        for (std::int64_t at_k = 0; at_k < k; ++at_k) {
          sum.add(a[static_cast<std::size_t>(i * k + at_k)] *
                  b[static_cast<std::size_t>(j * k + at_k)]);
        }
        if (bias.defined()) sum.add(at(bias, j));
        return sum;
      },
      (k + length - 1) / length);
}

TensorView as_matrix(const Tensor& y) {
  const std::int64_t n = y.size(y.rank() - 1);
  std::int64_t rows = 1;
  for (int d = 0; d + 1 < y.rank(); ++d) rows *= y.size(d);
  return {y.data(), y.dtype(), {rows, n}};
}

struct Quantizer {
  bool is_static;
  GroupShape shape;
  Granularity granularity() const {
    if (shape == GroupShape::PER_TENSOR) return per_tensor();
    return shape == GroupShape::PER_TOKEN ? per_token() : group(shape.col);
  }
};
const Quantizer kQuantizers[] = {{false, GroupShape::PER_TENSOR},
                                 {false, GroupShape::PER_TOKEN},
                                 {false, {1, 128}},
                                 {false, {1, 48}},
                                 {true, GroupShape::PER_TENSOR},
                                 {true, GroupShape::PER_TOKEN}};

struct Sample {
  Quantizer quantizer;
  Stored weight;
  Tensor x;
  Tensor bias;
  DType out_dtype;
};

void expect_apply(const Sample& s) {
  std::int64_t m = 1;
  for (int d = 0; d + 1 < s.x.rank(); ++d) m *= s.x.size(d);
  const TensorView rows(s.x.data(), s.x.dtype(), {m, s.x.size(s.x.rank() - 1)});
  Tensor scale;
  if (s.quantizer.is_static) {
    const bool tensor = s.quantizer.shape == GroupShape::PER_TENSOR;
    scale = uniforms(float32, tensor ? Shape{} : Shape{m, 1}, 21);
  }
  const Fp8LinearOp op(s.quantizer.is_static, s.quantizer.shape);
  const Tensor y =
      op.apply(s.x, s.weight.operand(), s.weight.scale, s.out_dtype, scale, {}, s.bias);
  Shape shape(s.x.view().dims().begin(), s.x.view().dims().end());
  shape.back() = s.weight.codes.size(0);
  EXPECT_TRUE(std::ranges::equal(y.view().dims(), shape)) << shape_string(y);
  EXPECT_EQ(y.dtype(), s.out_dtype == undefined ? s.x.dtype() : s.out_dtype);

  const bool groups = s.quantizer.shape.col > 0;
  QuantizeOptions o{.dtype = float8_e4m3fn,
                    .granularity = s.quantizer.granularity(),
                    .min_scale = groups ? 1e-10F / 448.0F : 1.0F / (448.0F * 512.0F)};
  if (scale.defined()) o.scale = Scale(scale, o.granularity);
  const Quantized q = quantize(rows, o);
  const Tensor want =
      scaled_mm(q, s.weight.operand(),
                {.scale_b = s.weight.for_scaled_mm(), .bias = s.bias, .out_dtype = y.dtype()});
  expect_same_bits(as_matrix(y), want);
  if (m <= 17) expect_right(as_matrix(y), q, s.weight, s.bias);
}

TEST(Fp8LinearOp, EveryGranularityBiasTypeAndNumberOfRows) {
  for (const Quantizer& quantizer : kQuantizers) {
    for (const W kind : {W::tensor, W::channel, W::block}) {
      const Stored weight = stored(kind, 150, 200);
      const Tensor bias = gaussians(bfloat16, {150}, 8);
      for (const std::int64_t m : {0, 1, 7, 16, 17, 64}) {
        for (const DType type : {undefined, float16}) {
          const Tensor x = gaussians(bfloat16, {m, 200}, 3);
          expect_apply({quantizer, weight, x, m % 2 == 0 ? bias : Tensor(), type});
        }
      }
    }
  }
}

TEST(Fp8LinearOp, EveryRankAndSize) {
  for (const Quantizer& quantizer : kQuantizers) {
    for (const Shape& shape : {Shape{5}, Shape{2, 3, 5}, Shape{2, 0, 5}, Shape{3, 0},
                               Shape{1, 1, 1}, Shape{2, 1, 2, 33}}) {
      const Stored weight = stored(W::channel, 3, shape.back());
      expect_apply(
          {quantizer, weight, gaussians(float32, shape, 4), gaussians(float32, {3}, 5), undefined});
      expect_apply({quantizer, stored(W::tensor, 1, shape.back()), gaussians(float16, shape, 4),
                    Tensor(), bfloat16});
    }
  }
}

TEST(Fp8LinearOp, ARowOfItsOwnHasTheBitsThatItHasAmongOthers) {
  const Tensor x = gaussians(bfloat16, {33, 300}, 6);
  for (const Quantizer& quantizer : kQuantizers) {
    if (quantizer.is_static || quantizer.shape == GroupShape::PER_TENSOR) continue;
    for (const W kind : {W::tensor, W::channel, W::block}) {
      const Stored weight = stored(kind, 140, 300);
      const Fp8LinearOp op(false, quantizer.shape, {}, false, true);
      const Tensor all = op.apply(x, weight.operand(), weight.scale, float32);
      const Tensor one =
          op.apply(x.view().slice(0, 20, 21), weight.operand(), weight.scale, float32);
      expect_same_bits(one, all.view().slice(0, 20, 21));
      // One group along K, whose scales have the shape of tokens' scales, or of a tensor's.
      const TensorView head = x.view().slice(1, 0, 40);
      const TensorView w = weight.codes.view().slice(1, 0, 40).transposed();
      const TensorView scale =
          kind == W::block ? weight.scale.view().slice(1, 0, 1) : weight.scale.view();
      expect_same_bits(op.apply(head.slice(0, 20, 21), w, scale, float32),
                       op.apply(head, w, scale, float32).view().slice(0, 20, 21));
      const Fp8LinearOp fixed(true, quantizer.shape);
      const QuantFP8::Output q = QuantFP8(false, quantizer.shape)(head);
      expect_same_bits(op.apply(q.codes, w, scale, float32, q.scale),
                       op.apply(head, w, scale, float32));
      expect_same_bits(
          fixed.apply(head.slice(0, 20, 21), w, scale, float32, q.scale.view().slice(0, 20, 21)),
          fixed.apply(head, w, scale, float32, q.scale).view().slice(0, 20, 21));
      expect_same_bits(op.apply(q.codes.view().slice(0, 20, 21), w, scale, float32,
                                q.scale.view().slice(0, 20, 21)),
                       op.apply(q.codes, w, scale, float32, q.scale).view().slice(0, 20, 21));
    }
  }
}

TEST(Fp8LinearOp, ReadsAnyStridesOfInputWeightScaleAndBias) {
  const Tensor x = gaussians(bfloat16, {3, 4, 70}, 1);
  const Stored w = stored(W::channel, 9, 70);
  const Tensor bias = gaussians(float32, {9}, 2);
  const Fp8LinearOp op(false, GroupShape::PER_TOKEN);
  const Tensor want = op.apply(x, w.operand(), w.scale, float32, {}, {}, bias);
  const Strided x2 = strided(x, {1, 300, -3});
  const Strided w2 = strided(w.codes, {80, 1});  // a stored weight with padded rows
  const Strided w3 = strided(w.codes, {1, 9});   // row-major [K, N]
  const Strided s2 = strided(w.scale, {-2, 5});
  const Strided b2 = strided(bias, {3});
  for (const Strided& v : {w2, w3}) {
    expect_same_bits(op.apply(x2.view, v.view.transposed(), s2.view, float32, {}, {}, b2.view),
                     want);
  }
}

TEST(Fp8LinearOp, InputThatIsQuantizedAlready) {
  const Stored w = stored(W::channel, 12, 40, float8_e5m2);
  for (const DType dtype : {float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz}) {
    for (const std::int64_t m : {1, 6}) {
      const Tensor x = gaussians(float32, {m, 1, 40}, 3, 20.0).to(dtype);
      const TensorView rows(x.data(), dtype, {m, 40});
      for (const Shape& shape : {Shape{}, Shape{1, 1}, Shape{m}, Shape{m, 1}, Shape{m, 3}}) {
        const Tensor scale = uniforms(float32, shape, 7);
        const bool groups = shape == Shape{m, 3};
        const Granularity reading = scale.numel() == 1 ? per_tensor()
                                    : groups           ? group(16)
                                                       : per_token();
        const Fp8LinearOp op(false, groups ? GroupShape{1, 16} : GroupShape::PER_TENSOR);
        const Tensor y = op.apply(x, w.operand(), w.scale, undefined, scale);
        EXPECT_EQ(y.dtype(), bfloat16);
        EXPECT_EQ(y.rank(), 3);
        const Scale sa(scale, reading);
        expect_same_bits(as_matrix(y), scaled_mm(rows, w.operand(),
                                                 {.scale_a = sa, .scale_b = w.for_scaled_mm()}));
      }
    }
  }
}

TEST(Fp8LinearOp, ForcedFnuzPackedWeightsAndUpperBounds) {
  const Tensor x = gaussians(float32, {5, 64}, 3);
  const Stored w = stored(W::channel, 20, 64, float8_e4m3fnuz);
  const Tensor bound = values(float32, {1}, {1.5});
  for (const GroupShape& shape : {GroupShape::PER_TENSOR, GroupShape::PER_TOKEN}) {
    for (const bool fnuz : {false, true}) {
      const Fp8LinearOp op(false, shape, false, fnuz);
      EXPECT_EQ(op.quant_fp8().dtype(), fnuz ? float8_e4m3fnuz : float8_e4m3fn);
      const QuantFP8::Output q = op.quant_fp8()(x, {}, bound);
      const Tensor y = op.apply(x, w.operand(), w.scale, undefined, {}, bound);
      const Granularity reading = shape == GroupShape::PER_TENSOR ? per_tensor() : per_token();
      expect_same_bits(y, scaled_mm(q.codes, w.operand(),
                                    {.scale_a = Scale(q.scale, reading),
                                     .scale_b = w.for_scaled_mm(),
                                     .out_dtype = float32}));
      const PackedWeight packed = pack(w.operand(), {.scale = w.for_scaled_mm()});
      expect_same_bits(op.apply(x, packed, {}, undefined, {}, bound), y);
      expect_same_bits(op.apply(x, packed, w.scale, undefined, {}, bound), y);
    }
  }
}

TEST(Fp8LinearOp, AttributesAreTheSeeds) {
  const Fp8LinearOp op(true);
  EXPECT_EQ(op.preferred_backend(), cutlass_fp8_supported() ? "cutlass" : "torch");
  EXPECT_EQ(op.output_padding(), cutlass_fp8_supported() ? std::optional<std::int64_t>() : 17);
  EXPECT_TRUE(op.act_quant_static());
  EXPECT_EQ(op.act_quant_group_shape(), GroupShape::PER_TENSOR);
  EXPECT_EQ(op.quant_fp8().num_token_padding(), op.output_padding());
  EXPECT_EQ(Fp8LinearOp(false, GroupShape::PER_TOKEN, false).output_padding(), std::nullopt);
  EXPECT_EQ(Fp8LinearOp(false, GroupShape::PER_TOKEN, true).output_padding(), 17);
}

// ---- the functions and their table -------------------------------------------------------------

constexpr W8a8ScaledMm kFunctions[] = {
    &cutlass_w8a8_scaled_mm,         &flashinfer_w8a8_scaled_mm,
    &rocm_per_tensor_w8a8_scaled_mm, &torch_per_tensor_w8a8_scaled_mm,
    &torch_per_token_w8a8_scaled_mm, &torch_channelwise_w8a8_scaled_mm};

TEST(W8a8Dispatch, TheWholeTable) {
  struct Row {
    const char* backend;
    W8a8ScaledMm tensors, mixed, both;
  };
  for (const Row& row :
       {Row{"rocm", &rocm_per_tensor_w8a8_scaled_mm, &torch_channelwise_w8a8_scaled_mm,
            &torch_channelwise_w8a8_scaled_mm},
        Row{"flashinfer", &flashinfer_w8a8_scaled_mm, &cutlass_w8a8_scaled_mm,
            &cutlass_w8a8_scaled_mm},
        Row{"cutlass", &cutlass_w8a8_scaled_mm, &cutlass_w8a8_scaled_mm, &cutlass_w8a8_scaled_mm},
        Row{"torch", &torch_per_tensor_w8a8_scaled_mm, &torch_channelwise_w8a8_scaled_mm,
            &torch_channelwise_w8a8_scaled_mm},
        Row{"", &torch_per_tensor_w8a8_scaled_mm, &torch_channelwise_w8a8_scaled_mm,
            &torch_channelwise_w8a8_scaled_mm}}) {
    EXPECT_EQ(dispatch_w8a8_scaled_mm(row.backend, true, true), row.tensors);
    EXPECT_EQ(dispatch_w8a8_scaled_mm(row.backend, true, false), row.mixed);
    EXPECT_EQ(dispatch_w8a8_scaled_mm(row.backend, false, true), row.mixed);
    EXPECT_EQ(dispatch_w8a8_scaled_mm(row.backend, false, false), row.both);
  }
}

TEST(W8a8Functions, AreAllScaledMm) {
  const Tensor x = gaussians(float32, {6, 200}, 3, 20.0).to(float8_e4m3fn);
  const Tensor bias = gaussians(float16, {140}, 2);
  const std::int64_t out_shape[] = {2, 3, 140};
  for (const W kind : {W::tensor, W::channel, W::block}) {
    const Stored w = stored(kind, 140, 200);
    for (const Shape& shape : {Shape{1}, Shape{6}, Shape{6, 1}, Shape{6, 2}, Shape{6, 4}}) {
      const Tensor sa = uniforms(float32, shape, 9);
      const bool groups = shape.size() == 2 && shape[1] > 1;
      const std::int64_t size = groups && shape[1] == 4 ? 64 : 128;
      const Granularity reading = sa.numel() == 1 ? per_tensor()
                                  : groups        ? group(size)
                                                  : per_token();
      const Tensor want = scaled_mm(x, w.operand(),
                                    {.scale_a = Scale(sa, reading),
                                     .scale_b = w.for_scaled_mm(),
                                     .bias = bias,
                                     .out_dtype = float16});
      for (const W8a8ScaledMm function : kFunctions) {
        const Tensor y = function({.qinput = x,
                                   .weight = w.operand(),
                                   .out_dtype = float16,
                                   .scale_a = sa,
                                   .scale_b = w.scale,
                                   .bias = bias,
                                   .output_shape = out_shape,
                                   .group_size = size},
                                  {});
        EXPECT_EQ(shape_string(y), "[2, 3, 140]");
        expect_same_bits(as_matrix(y), want);
      }
    }
  }
}

TEST(W8a8Functions, TakePaddingOff) {
  const Tensor x = gaussians(float32, {5, 48}, 3);
  const Stored w = stored(W::channel, 10, 48);
  for (const GroupShape& shape : {GroupShape::PER_TENSOR, GroupShape::PER_TOKEN, {1, 16}}) {
    const QuantFP8::Output plain = QuantFP8(false, shape)(x);
    const QuantFP8::Output padded = QuantFP8(false, shape, 17)(x);
    const std::int64_t out_shape[] = {5, 10};
    for (const W8a8ScaledMm function : kFunctions) {
      W8a8Arguments a{.qinput = plain.codes,
                      .weight = w.operand(),
                      .out_dtype = float32,
                      .scale_a = plain.scale,
                      .scale_b = w.scale,
                      .group_size = 16};
      const Tensor want = function(a, {});
      a.qinput = padded.codes;
      for (const Tensor& scale : {padded.scale, plain.scale}) {
        a.scale_a = scale;
        a.output_shape = out_shape;
        a.input_2d = {};
        expect_same_bits(function(a, {}), want);
        a.output_shape = {};
        a.input_2d = x;
        expect_same_bits(function(a, {}), want);
      }
    }
  }
}

TEST(W8a8Functions, ImplementationAndItsShapeKeepThePadding) {
  const QuantFP8::Output q =
      QuantFP8(false, GroupShape::PER_TENSOR, 17)(gaussians(float32, {5, 48}, 3));
  const Stored w = stored(W::tensor, 10, 48);
  const Tensor bias = gaussians(float32, {10}, 1);
  const W8a8Arguments a{.qinput = q.codes,
                        .weight = w.operand(),
                        .out_dtype = float32,
                        .scale_a = q.scale,
                        .scale_b = w.scale,
                        .bias = bias,
                        .input_2d = gaussians(float32, {5, 48}, 3)};
  const Tensor whole = rocm_per_tensor_w8a8_scaled_mm_impl(a);
  expect_same_bits(whole.view().slice(0, 0, 5), rocm_per_tensor_w8a8_scaled_mm(a));
  EXPECT_EQ(at(whole, 16, 3), at(bias, 3));  // a row of zeros
  const Tensor fake = rocm_per_tensor_w8a8_scaled_mm_fake(a);
  EXPECT_EQ(shape_string(fake), shape_string(whole));
  EXPECT_EQ(fake.dtype(), whole.dtype());
}

}  // namespace
}  // namespace octavo::test::linear_test
