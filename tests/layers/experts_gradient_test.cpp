// SPDX-License-Identifier: Apache-2.0
// Gradients of fused_experts and silu_and_mul against float64, by a bound that follows the steps,
// and what must not change their bits.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "layers/compose.hpp"
#include "octavo/gradient.hpp"

namespace octavo::test::experts_gradient_test {
namespace {

constexpr double kUnit = 0x1p-24;
constexpr double kHalf = 0x1p-8;  // what rounding a factor of a product to bfloat16 costs

double sigmoid(double x) {
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}
double exact_silu(double x) { return std::isinf(x) && x < 0 ? 0.0 : x * sigmoid(x); }
double exact_slope(double x) {
  const double s = sigmoid(x);
  return std::isinf(x) ? s : s * (1 + x * sigmoid(-x));
}
// Of e^-x 4 u and the divisions by its sum, in both factors of the slope, whose terms may cancel.
double slope_bound(double x) {
  const double s = sigmoid(x);
  const double term = std::isinf(x) ? 0.0 : std::abs(x) * sigmoid(-x);
  return 8 * kUnit * s * (1 + 2 * term) + std::ldexp(1.0, -149);
}

TEST(SiluGradient, StaysWithinItsBound) {
  std::vector<float> gates;
  for (std::uint32_t bits = 0; bits < 0x7F800000U; bits += 104729) {
    gates.push_back(std::bit_cast<float>(bits));
    gates.push_back(-gates.back());
  }
  for (float x = -110.0F; x < 20.0F; x += 0.0137F) gates.push_back(x);
  gates.push_back(std::numeric_limits<float>::infinity());
  gates.push_back(-std::numeric_limits<float>::infinity());
  const auto count = static_cast<std::int64_t>(gates.size());
  const Tensor x = tensor_of(DType::float32, {1, 2 * count}, [&](std::int64_t i) {
    return i < count ? static_cast<double>(gates[static_cast<std::size_t>(i)]) : 1.0;
  });
  const Tensor ones = tensor_of(DType::float32, {1, count}, [](std::int64_t) { return 1.0; });
  const Tensor slopes = silu_and_mul_vjp(ones, x);
  const Tensor forward = silu_and_mul(x);
  double worst = 0.0;
  for (std::int64_t i = 0; i < count; ++i) {
    const double gate = at(x, 0, i);
    const double distance = std::abs(at(slopes, 0, i) - exact_slope(gate));
    ASSERT_LE(distance, slope_bound(gate)) << gate;
    worst = std::max(worst, distance / slope_bound(gate));
    EXPECT_EQ(float_at(slopes, 0, count + i), float_at(forward, 0, i)) << gate;
  }
  EXPECT_GT(worst, 0.05);
}

TEST(SiluGradient, HasTheReferencesBits) {
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    for (const std::int64_t inner : {0, 1, 15, 16, 17, 2049}) {
      const Tensor x = gaussians(dtype, {5, 2 * inner}, 1, 20.0);
      const Tensor grad = gaussians(DType::float32, {5, inner}, 2);
      const Tensor want = silu_and_mul_vjp(grad, x, "reference");
      EXPECT_EQ(want.dtype(), dtype);
      expect_same_bits(silu_and_mul_vjp(grad, x), want);
      const Strided apart = strided(x, {1, 7});
      const Strided grads = strided(grad, {-1, 5});
      expect_same_bits(silu_and_mul_vjp(grads.view, apart.view), want);
    }
  }
}

TEST(SiluGradient, WhatIsNotFiniteShows) {
  const float nan = std::nanf("");
  const Tensor x = values(DType::float32, {3, 2}, {nan, 1, 2, nan, 2, 3});
  const Tensor grad = values(DType::float32, {3, 1}, {1, 1, nan});
  const Tensor dx = silu_and_mul_vjp(grad, x);
  for (const std::int64_t i : {0, 1, 2, 4, 5}) EXPECT_TRUE(std::isnan(at(dx, i))) << i;
  EXPECT_TRUE(std::isfinite(at(dx, 3)));
}

constexpr std::int64_t kExperts = 5;
constexpr std::int64_t kHidden = 48;
constexpr std::int64_t kInner = 32;

// A way of packing experts.
struct Scheme {
  DType dtype;
  Granularity granularity;
  bool ruled;
};
const Scheme kSchemes[] = {
    {DType::float8_e4m3fn, per_channel(), true},
    {DType::int8, per_channel(), true},
    {DType::int8, per_tensor(), true},
    {DType::float8_e4m3fn, block(16, 16), true},
    {DType::int8, group(16), false},
    {DType::bfloat16, {}, false},
};

ExpertWeights packed(const Scheme& s, std::int64_t n, std::int64_t k, unsigned seed) {
  PackExpertsOptions options;
  Tensor scale;
  using Kind = Granularity::Kind;
  const auto kind = s.granularity.kind;
  if (kind == Kind::channel) scale = uniforms(DType::float32, {kExperts, n}, seed + 50, 0.01, 0.1);
  if (kind == Kind::tensor) scale = uniforms(DType::float32, {kExperts}, seed + 50, 0.01, 0.1);
  if (kind == Kind::block)
    scale = uniforms(DType::float32, {kExperts, n / 16, k / 16}, seed + 50, 0.01, 0.1);
  if (kind == Kind::group)
    scale = uniforms(DType::float32, {kExperts, n, k / 16}, seed + 50, 0.01, 0.1);
  if (scale.defined()) options.scale = Scale(scale, s.granularity);
  if (s.ruled) {
    options.activation.emplace();
    options.activation->spec.dtype = s.dtype;
    if (kind == Kind::block) options.activation->spec.granularity = group(16);
  }
  return pack_experts(some_experts(s.dtype, {kExperts, n, k}, seed), options);
}

struct GradientCase : ExpertsCase {
  Tensor grad, bias13, bias2;
};

GradientCase some_case(const Scheme& s, std::int64_t m, std::int64_t slots) {
  GradientCase c;
  c.x = gaussians(DType::bfloat16, {m, kHidden}, 1);
  c.ids = some_ids(m, slots, kExperts, 2);
  c.weights = uniforms(DType::float32, {m, slots}, 3, 0.1, 1.0);
  c.w13 = packed(s, 2 * kInner, kHidden, 4);
  c.w2 = packed(s, kHidden, kInner, 5);
  c.grad = gaussians(DType::bfloat16, {m, kHidden}, 6);
  c.bias13 = gaussians(DType::float32, {kExperts, 2 * kInner}, 7);
  c.bias2 = gaussians(DType::float32, {kExperts, kHidden}, 8);
  c.options.bias13 = c.bias13;
  c.options.bias2 = c.bias2;
  return c;
}

constexpr FusedExpertsWanted kAll{true, true, true, true};

FusedExpertsGradients gradients(const GradientCase& c, const GradientOptions& o = {},
                                const FusedExpertsWanted& wanted = kAll,
                                const ExecContext& context = {}) {
  return fused_experts_vjp(c.grad, c.x, c.w13, c.w2, c.weights, c.ids, c.options, wanted, o,
                           context);
}

void expect_same(const FusedExpertsGradients& got, const FusedExpertsGradients& want) {
  expect_same_bits(got.x, want.x);
  expect_same_bits(got.topk_weights, want.topk_weights);
  expect_same_bits(got.bias13, want.bias13);
  expect_same_bits(got.bias2, want.bias2);
}

// A number and how far what was computed in its place may be from it.
struct Near {
  double value = 0.0, bound = 0.0;
};
void expect_near(const Tensor& got, std::int64_t i, std::int64_t j, const Near& want) {
  const double last = info(got.dtype()).max > 1e38 && got.dtype() != DType::float32 ? kHalf : kUnit;
  const double rounding = last * (std::abs(want.value) + want.bound);
  EXPECT_LE(std::abs(at(got, i, j) - want.value), want.bound + rounding) << i << ", " << j;
}

// An expert as float64 [N, K].
class Dequantized {
 public:
  explicit Dequantized(const ExpertWeights& w) {
    for (std::int64_t e = 0; e < w.experts(); ++e) {
      const Quantized codes = unpack(w[e]);
      experts_.push_back(codes.scale.defined() ? dequantize(codes)
                                               : copy(codes.data, DType::float32));
    }
  }
  double operator()(std::int64_t e, std::int64_t n, std::int64_t k) const {
    return at(experts_[static_cast<std::size_t>(e)], k, n);
  }

 private:
  std::vector<Tensor> experts_;
};

// d = g @ W of one route, g a row with errors.
std::vector<Near> through(const std::vector<Near>& g, const Dequantized& w, std::int64_t e,
                          std::int64_t n, std::int64_t k, double rounding) {
  std::vector<Near> d(static_cast<std::size_t>(k));
  const double gamma = static_cast<double>(2 * n + 16) * kUnit + rounding;
  for (std::int64_t j = 0; j < k; ++j) {
    for (std::int64_t i = 0; i < n; ++i) {
      const Near& from = g[static_cast<std::size_t>(i)];
      const double weight = w(e, i, j);
      Near& to = d[static_cast<std::size_t>(j)];
      to.value += from.value * weight;
      to.bound += std::abs(weight) * (from.bound + gamma * (std::abs(from.value) + from.bound));
    }
  }
  return d;
}

// Sums of W13 @ x + b13 and of y, by route, as the separate operations have them.
struct Composed {
  std::vector<Route> routes;
  Tensor h, y;
};
Composed composed(const GradientCase& c) {
  Composed all{routes_of(c), {}, {}};
  const auto rows = static_cast<std::int64_t>(all.routes.size());
  all.h = Tensor::empty(DType::float32, {rows, c.w13.n()});
  all.y = Tensor::empty(DType::float32, {rows, c.w2.n()});
  const ComposedRows first(c.w13, c.x);
  for (std::int64_t r = 0; r < rows; ++r) {
    const Route& route = all.routes[static_cast<std::size_t>(r)];
    multiply(c, c.w13, c.options.bias13, first.row(route.token), route.expert,
             all.h.view().slice(0, r, r + 1));
  }
  const DType kept = c.w2.activation() ? DType::float32 : c.x.dtype();
  const ComposedRows second(c.w2, silu_and_mul(all.h, {.out_dtype = kept}));
  for (std::int64_t r = 0; r < rows; ++r) {
    multiply(c, c.w2, c.options.bias2, second.row(r),
             all.routes[static_cast<std::size_t>(r)].expert, all.y.view().slice(0, r, r + 1));
  }
  return all;
}

using Table = std::vector<std::vector<Near>>;
Table table(std::int64_t rows, std::int64_t columns) {
  return Table(static_cast<std::size_t>(rows),
               std::vector<Near>(static_cast<std::size_t>(columns)));
}
void add(Near& to, const Near& term) {
  to.value += term.value;
  to.bound += term.bound + 2 * kUnit * (std::abs(to.value) + std::abs(term.value));
}
void expect_near(const Tensor& got, const Table& want) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    for (std::size_t j = 0; j < want[i].size(); ++j) {
      expect_near(got, static_cast<std::int64_t>(i), static_cast<std::int64_t>(j), want[i][j]);
    }
  }
}

TEST(ExpertGradients, StayWithinTheirBound) {
  for (const Scheme& s : kSchemes) {
    for (const bool float32 : {false, true}) {
      const GradientCase c = some_case(s, 7, 3);
      SCOPED_TRACE(std::string(name(s.dtype)) + " " + to_string(s.granularity));
      const FusedExpertsGradients got = gradients(c, {.float32 = float32});
      const double rounding = float32 ? 0.0 : 2 * kHalf;
      const Composed forward = composed(c);
      const Dequantized w13(c.w13);
      const Dequantized w2(c.w2);
      Table dx = table(7, kHidden);
      Table dw = table(7, 3);
      Table db13 = table(kExperts, 2 * kInner);
      Table db2 = table(kExperts, kHidden);
      for (std::size_t r = 0; r < forward.routes.size(); ++r) {
        const auto [e, m, t] = forward.routes[r];
        const auto row = static_cast<std::int64_t>(r);
        const double factor = at(c.weights, m, t);
        std::vector<Near> g(static_cast<std::size_t>(kHidden));
        for (std::int64_t n = 0; n < kHidden; ++n) {
          const double grad = at(c.grad, m, n);
          g[static_cast<std::size_t>(n)] = {factor * grad, 0.0};
          dw[static_cast<std::size_t>(m)][static_cast<std::size_t>(t)].value +=
              grad * at(forward.y, row, n);
          add(db2[static_cast<std::size_t>(e)][static_cast<std::size_t>(n)], {factor * grad, 0.0});
        }
        const std::vector<Near> da = through(g, w2, e, kHidden, kInner, rounding);
        std::vector<Near> dh(static_cast<std::size_t>(2 * kInner));
        for (std::int64_t i = 0; i < kInner; ++i) {
          const double gate = at(forward.h, row, i);
          const double up = at(forward.h, row, kInner + i);
          const Near& a = da[static_cast<std::size_t>(i)];
          const double most = std::abs(a.value) + a.bound;
          const double slope = exact_slope(gate);
          dh[static_cast<std::size_t>(i)] = {
              a.value * up * slope,
              std::abs(up) * (a.bound * std::abs(slope) +
                              most * (slope_bound(gate) + 3 * kUnit * std::abs(slope)))};
          const double silu = exact_silu(gate);
          dh[static_cast<std::size_t>(kInner + i)] = {
              a.value * silu, (a.bound + 8 * kUnit * most) * std::abs(silu)};
        }
        for (std::size_t i = 0; i < dh.size(); ++i)
          add(db13[static_cast<std::size_t>(e)][i], dh[i]);
        const std::vector<Near> x = through(dh, w13, e, 2 * kInner, kHidden, rounding);
        for (std::size_t k = 0; k < x.size(); ++k) add(dx[static_cast<std::size_t>(m)][k], x[k]);
      }
      expect_near(got.x, dx);
      expect_near(got.topk_weights, dw);
      expect_near(got.bias13, db13);
      expect_near(got.bias2, db2);
    }
  }
}

TEST(ExpertGradients, FactorsOnTheInputAreThoseOfFactorTimesX) {
  GradientCase c = some_case(kSchemes[5], 5, 2);  // nothing is quantised: differences are gradients
  c.x = c.x.to(DType::float32);
  c.grad = c.grad.to(DType::float32);
  c.w13 = packed({DType::float32, {}, false}, 2 * kInner, kHidden, 4);
  c.w2 = packed({DType::float32, {}, false}, kHidden, kInner, 5);
  c.options.apply_router_weight_on_input = true;
  const FusedExpertsGradients got = gradients(c, {.float32 = true});
  const auto loss = [&](const GradientCase& at_case) {
    const Tensor y = run(at_case);
    double sum = 0.0;
    for (std::int64_t i = 0; i < y.numel(); ++i) sum += at(y, i) * at(c.grad, i);
    return sum;
  };
  const auto check = [&](Tensor GradientCase::*member, const Tensor& gradient) {
    for (const std::int64_t i : {std::int64_t{0}, gradient.numel() / 2, gradient.numel() - 1}) {
      constexpr double kStep = 0x1p-6;
      GradientCase up = c;
      GradientCase down = c;
      for (auto [moved, step] : {std::pair{&up, kStep}, std::pair{&down, -kStep}}) {
        moved->*member = copy(c.*member, DType::float32);
        (moved->*member).data_as<float>()[i] += static_cast<float>(step);
      }
      const double slope = (loss(up) - loss(down)) / (2 * kStep);
      // The third derivative's part, and the noise of two sums.
      const double scale = 1.0 + std::abs(loss(c)) + std::abs(slope);
      EXPECT_NEAR(at(gradient, i), slope, scale * (kStep * kStep + 0x1p-20 / kStep)) << i;
    }
  };
  check(&GradientCase::x, got.x);
  check(&GradientCase::weights, got.topk_weights);
}

TEST(ExpertGradients, RowsThreadsAndStridesDoNotMatter) {
  for (const Scheme& s : kSchemes) {
    SCOPED_TRACE(std::string(name(s.dtype)) + " " + to_string(s.granularity));
    const GradientCase c = some_case(s, 33, 3);
    const FusedExpertsGradients want = gradients(c);
    for (const int threads : {1, 2, 3}) {
      ThreadExecutor executor(threads);
      expect_same(gradients(c, {}, kAll, {.executor = &executor}), want);
    }
    GradientCase one = c;
    for (const std::int64_t m : {0, 17, 32}) {
      const auto row = [&](const Tensor& t) {
        return copy(t.view().slice(0, m, m + 1), t.dtype());
      };
      one.x = row(c.x);
      one.ids = row(c.ids);
      one.weights = row(c.weights);
      one.grad = row(c.grad);
      const FusedExpertsGradients got = gradients(one);
      expect_same_bits(got.x, want.x.view().slice(0, m, m + 1));
      expect_same_bits(got.topk_weights, want.topk_weights.view().slice(0, m, m + 1));
    }
    const Strided x = strided(c.x, {1, 40});
    const Strided grad = strided(c.grad, {-1, 35});
    expect_same(
        fused_experts_vjp(grad.view, x.view, c.w13, c.w2, c.weights, c.ids, c.options, kAll), want);
    for (const FusedExpertsWanted& some :
         {FusedExpertsWanted{.x = true}, FusedExpertsWanted{.topk_weights = true},
          FusedExpertsWanted{.bias13 = true}, FusedExpertsWanted{.bias2 = true}}) {
      const FusedExpertsGradients got = gradients(c, {}, some);
      EXPECT_EQ(got.x.defined(), some.x);
      if (some.x) expect_same_bits(got.x, want.x);
      if (some.topk_weights) expect_same_bits(got.topk_weights, want.topk_weights);
      if (some.bias13) expect_same_bits(got.bias13, want.bias13);
      if (some.bias2) expect_same_bits(got.bias2, want.bias2);
    }
  }
}

TEST(ExpertGradients, WhoHasNoRouteHasGradientsOfZero) {
  GradientCase c = some_case(kSchemes[0], 4, 2);
  c.ids = tensor_of(DType::int32, {4, 2}, [](std::int64_t) { return -1.0; });
  const FusedExpertsGradients got = gradients(c);
  for (const Tensor& g : {got.x, got.topk_weights, got.bias13, got.bias2}) {
    for (std::int64_t i = 0; i < g.numel(); ++i) EXPECT_EQ(at(g, i), 0.0);
  }
  c = some_case(kSchemes[0], 0, 2);
  EXPECT_EQ(shape_string(gradients(c).x), "[0, 48]");
  c = some_case(kSchemes[0], 3, 0);
  EXPECT_EQ(shape_string(gradients(c).topk_weights), "[3, 0]");
}

TEST(ExpertGradients, ANaNShowsInItsRowAlone) {
  GradientCase c = some_case(kSchemes[0], 6, 2);
  c.ids =
      tensor_of(DType::int32, {6, 2}, [](std::int64_t i) { return static_cast<double>(i % 5); });
  kit::store(c.grad, 2 * kHidden + 5, std::nan(""));
  const FusedExpertsGradients got = gradients(c);
  for (std::int64_t m = 0; m < 6; ++m) {
    EXPECT_EQ(std::isnan(at(got.x, m, 0)), m == 2) << m;
    EXPECT_EQ(std::isnan(at(got.topk_weights, m, 0)), m == 2) << m;
  }
}

// Of one route a token, so that no sum stands between the product and its rotation.
TEST(ExpertGradients, OfRotatedActivationsIsRotatedBack) {
  for (const bool both : {false, true}) {
    GradientCase c = some_case(kSchemes[1], 9, 1);
    const auto with_rotation = [&](unsigned seed, std::int64_t n, std::int64_t k, int block) {
      PackExpertsOptions options{.scale = 0.01};
      options.activation.emplace();
      options.activation->rotation = block;
      return pack_experts(some_experts(DType::int8, {kExperts, n, k}, seed), options);
    };
    c.w13 = with_rotation(4, 2 * kInner, kHidden, 16);
    c.w2 = with_rotation(5, kHidden, kInner, both ? 16 : 0);
    const FusedExpertsGradients got = gradients(c);
    GradientCase plain = c;
    plain.x = rotate(c.x, {.block = 16, .out_dtype = DType::float32});
    plain.w13 = with_rotation(4, 2 * kInner, kHidden, 0);
    plain.options.out_dtype = c.x.dtype();
    const FusedExpertsGradients want = gradients(plain);
    expect_same_bits(got.x, rotate(want.x, {.block = 16, .out_dtype = c.x.dtype()}));
    expect_same_bits(got.topk_weights, want.topk_weights);
    expect_same_bits(got.bias13, want.bias13);
    expect_same_bits(got.bias2, want.bias2);
  }
}

}  // namespace
}  // namespace octavo::test::experts_gradient_test
