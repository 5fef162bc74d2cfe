// SPDX-License-Identifier: Apache-2.0
// bitsandbytes' product with state: the operations that it is made of, when codes are made anew,
// and columns that layers share.
#include "octavo/bnb.hpp"

#include "ops/helpers.hpp"

namespace octavo::test::bnb_test {
namespace {

using bnb::GlobalOutlierPooler;
using bnb::MatMul8bitFp;
using bnb::MatMul8bitLt;
using bnb::MatmulLtState;

constexpr std::int64_t kM = 5, kN = 24, kK = 70;

// Gaussians with columns of outliers.
Tensor activations(DType dtype, const std::vector<std::int64_t>& columns, unsigned seed = 1) {
  const Tensor plain = gaussians(float32, {kM, kK}, seed);
  return tensor_of(dtype, {kM, kK}, [&](std::int64_t i) {
    const bool hit = std::find(columns.begin(), columns.end(), i % kK) != columns.end();
    return hit ? 30.0 + at(plain, i) : at(plain, i);
  });
}

struct Layer {
  Tensor weight = gaussians(float32, {kN, kK}, 7);
  Tensor bias = gaussians(float32, {kN}, 8);
  VectorwiseQuant q = int8_vectorwise_quant(weight);
  Quantized rows = int8_rows(q.codes, q.row_absmax);
  Operand operand() const { return Operand(rows).transposed(); }
};

ActivationQuant rule(float threshold) {
  ActivationQuant quant;
  quant.vectorwise = true;
  quant.outlier_threshold = threshold;
  return quant;
}

MatmulLtState frozen() {
  MatmulLtState state;
  state.has_fp16_weights = false;
  return state;
}

TEST(Bnb, IsLinearWhateverTheMode) {
  const Layer layer;
  for (const DType dtype : {float32, bfloat16, float16}) {
    const Tensor x = activations(dtype, {3, 11});
    const Tensor want = linear(x, layer.operand(), rule(6.0F), {.bias = layer.bias});
    for (const bool trains : {false, true}) {
      for (const bool training : {false, true}) {
        MatmulLtState state;
        state.has_fp16_weights = trains;
        state.is_training = training;
        for (int call = 0; call < 2; ++call) {
          const Tensor y = bnb::matmul(x, layer.weight, state, {}, 6.0F, layer.bias);
          expect_same_bits(y, want);
          EXPECT_EQ(state.threshold, 6.0F);
          EXPECT_EQ(state.idx, (std::vector<std::int64_t>{3, 11}));
        }
        expect_same_bits(state.CB(), layer.q.codes);
        expect_same_bits(state.SCB(), layer.q.row_absmax);
      }
    }
  }
}

TEST(Bnb, WritesTheOutputThatItIsGiven) {
  const Layer layer;
  const Tensor x = activations(bfloat16, {3});
  MatmulLtState state = frozen();
  const Tensor want = bnb::matmul(x, layer.weight, state, {}, 6.0F);
  const Tensor out = Tensor::empty(bfloat16, {kN, kM}).transposed();
  bnb::matmul(x, layer.weight, state, out);
  expect_same_bits(out, want);
}

TEST(Bnb, QuantizesAnewOnlyWhatChanged) {
  const Layer layer;
  const Tensor x = activations(float32, {});
  const Tensor changed = tensor_of(
      float32, {kN, kK}, [&](std::int64_t i) { return 0.5 * at(layer.weight, i) + 0.01; });
  const auto codes_after = [&](MatmulLtState& state, const Tensor& weight) {
    bnb::matmul(x, weight, state);
    return bytes_of(state.CB());
  };
  const auto own = bytes_of(layer.q.codes);
  const auto other = bytes_of(int8_vectorwise_quant(changed).codes);
  ASSERT_NE(own, other);

  MatmulLtState once = frozen();  // never
  EXPECT_EQ(codes_after(once, layer.weight), own);
  EXPECT_EQ(codes_after(once, changed), own);

  MatmulLtState trains;  // in every step, but not while gradients accumulate
  EXPECT_EQ(codes_after(trains, layer.weight), own);
  EXPECT_EQ(codes_after(trains, changed), other);
  trains.has_accumulated_gradients = true;
  EXPECT_EQ(codes_after(trains, layer.weight), other);
  trains.has_accumulated_gradients = false;
  EXPECT_EQ(codes_after(trains, layer.weight), own);

  trains.is_training = false;  // outside of training when asked
  EXPECT_EQ(codes_after(trains, changed), own);
  trains.reset_grads();
  EXPECT_FALSE(trains.quantized());
  EXPECT_EQ(codes_after(trains, changed), other);
}

TEST(Bnb, HasTheGradientsOfLinear) {
  const Layer layer;
  const Tensor x = activations(bfloat16, {3, 11});
  const Tensor grad = gaussians(bfloat16, {kM, kN}, 9);
  const MatmulWanted wanted{.a = true, .b = true, .bias = true};
  const MatmulGradients want =
      linear_vjp(grad, x, layer.operand(), rule(6.0F), {.bias = layer.bias}, wanted);
  const MatmulGradients wide =
      linear_vjp(grad, x, layer.operand(), rule(6.0F), {}, {.b = true}, {.dtype = float32});
  for (const bool trains : {false, true}) {
    MatmulLtState state;
    state.has_fp16_weights = trains;
    bnb::matmul(x, layer.weight, state, {}, 6.0F, layer.bias);
    const MatmulGradients d = MatMul8bitLt::backward(grad, x, layer.bias, state, wanted, float32);
    expect_same_bits(d.a, want.a);
    expect_same_bits(d.bias, want.bias);
    expect_same_bits(d.b, wide.b.transposed());  // [N, K], as the weight
    EXPECT_EQ(d.b.view().strides[1], 1);
  }
}

TEST(Bnb, InFloatKeepsActivationsAsTheyAre) {
  const Layer layer;
  const Tensor x = activations(float32, {3});
  const Tensor grad = gaussians(float32, {kM, kN}, 9);
  MatmulLtState state;
  state.threshold = 6.0F;
  const Tensor y = MatMul8bitFp::forward(x, layer.weight, {}, layer.bias, state);
  const Tensor values = int8_vectorwise_dequant(layer.q.codes, layer.q.row_absmax);
  expect_near(y, kK + 1, [&](std::int64_t i, std::int64_t j) {
    Sum sum = dot(x, values.transposed(), i, j);
    sum.add(at(layer.bias, j));
    return sum;
  });
  const MatmulGradients d =
      MatMul8bitFp::backward(grad, x, layer.bias, state, {.a = true, .b = true, .bias = true});
  expect_near(d.a, kN, [&](std::int64_t i, std::int64_t j) { return dot(grad, values, i, j); });
  expect_near(d.b, kM,
              [&](std::int64_t i, std::int64_t j) { return dot(grad.transposed(), x, i, j); });
}

// grad^T x as they are, in the type asked for; where the default is a product of codes.
TEST(Bnb, HasExactGradientsOfWeightsOnRequest) {
  const Layer layer;
  for (const DType dtype : {float32, bfloat16, float16}) {
    const Tensor x = activations(dtype, {3, 11});
    const Tensor grad = gaussians(dtype, {kM, kN}, 9);
    const auto gradient = [&](bnb::WeightGradient kind) {
      MatmulLtState state;
      state.weight_gradient = kind;
      (void)bnb::matmul(x, layer.weight, state);
      return MatMul8bitLt::backward(grad, x, {}, state, {.b = true}, float32).b;
    };
    const Tensor exact = gradient(bnb::WeightGradient::exact);
    const Tensor codes = gradient(bnb::WeightGradient::int8);
    double worst = 0.0;
    for (std::int64_t n = 0; n < kN; ++n) {
      for (std::int64_t k = 0; k < kK; ++k) {
        double sum = 0.0, spread = 0.0;
        for (std::int64_t m = 0; m < kM; ++m) {
          sum += at(grad, m, n) * at(x, m, k);
          spread += std::abs(at(grad, m, n) * at(x, m, k));
        }
        const double steps = kM + 9;  // specification section 9
        const double bound =
            steps * 0x1p-24 / (1.0 - steps * 0x1p-24) * spread + 0x1p-24 * std::abs(sum);
        EXPECT_LE(std::abs(at(exact, n, k) - sum), bound);
        worst = std::max(worst, std::abs(at(codes, n, k) - sum) / bound);
      }
    }
    EXPECT_GT(worst, 100.0);
  }
}

TEST(Bnb, SharesOutlierColumnsAmongLayersOfOneWidth) {
  GlobalOutlierPooler pool;
  const Layer layer;
  const auto columns_of = [&](const Tensor& x) {
    MatmulLtState state = frozen();
    state.threshold = 6.0F;
    state.use_pool = true;
    state.outlier_pool = &pool;
    bnb::matmul(x, layer.weight, state);
    return state.idx;
  };
  using Columns = std::vector<std::int64_t>;
  EXPECT_EQ(columns_of(activations(float32, {})), Columns{});
  EXPECT_EQ(columns_of(activations(float32, {40})), Columns{40});
  EXPECT_EQ(columns_of(activations(float32, {3})), (Columns{3, 40}));
  EXPECT_EQ(columns_of(activations(float32, {})), (Columns{3, 40}));
  EXPECT_EQ(pool.get_current_outlier_idx(kK), (Columns{3, 40}));
  EXPECT_EQ(pool.get_current_outlier_idx(kK + 1), Columns{});
  pool.initialize();
  EXPECT_EQ(columns_of(activations(float32, {})), Columns{});
}

TEST(Bnb, IsInvariantToTheBatch) {
  const Layer layer;
  const Tensor x = tensor_of(bfloat16, {kM, kK}, [&](std::int64_t i) {
    return i == 2 * kK + 9 ? 40.0 : at(activations(float32, {}), i);
  });
  MatmulLtState state = frozen();
  state.threshold = 6.0F;
  state.batch_invariant = true;
  const Tensor all = bnb::matmul(x, layer.weight, state);
  for (std::int64_t m = 0; m < kM; ++m) {
    const Tensor row = bnb::matmul(x.view().slice(0, m, m + 1), layer.weight, state);
    expect_same_bits(row, all.view().slice(0, m, m + 1));
  }
}

TEST(Bnb, UsesTheOriginalWeightForOutliersOnRequest) {
  const Layer layer;
  const Tensor x = activations(float32, {3, 11});
  const auto error = [&](bnb::OutlierWeights weights) {
    MatmulLtState state;
    state.threshold = 6.0F;
    state.outlier_weights = weights;
    const Tensor y = bnb::matmul(x, layer.weight, state);
    double sum = 0.0;
    for (std::int64_t i = 0; i < kM; ++i) {
      for (std::int64_t j = 0; j < kN; ++j) {
        const double off = at(y, i, j) - dot(x, layer.weight.transposed(), i, j).value;
        sum += off * off;
      }
    }
    return std::sqrt(sum);
  };
  EXPECT_LT(error(bnb::OutlierWeights::original), 0.5 * error(bnb::OutlierWeights::int8));
}

}  // namespace
}  // namespace octavo::test::bnb_test
