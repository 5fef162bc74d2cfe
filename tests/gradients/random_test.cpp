// SPDX-License-Identifier: Apache-2.0
// Random products: every gradient against float64.
#include <ostream>

#include "gradients/check.hpp"
#include "support/draw.hpp"
#include "support/scale_shape.hpp"

namespace octavo::test::random_test {
namespace {

enum class Layout { rows, columns, gaps, backwards };
enum class Term { none, number, tensor, vector };
enum class ZeroPoints { none, one, each, far };

struct Drawn {
  std::int64_t m = 1, n = 1, k = 1;
  DType a = float32, b = float32, grad = float32;
  Granularity of_a, of_b;
  Term scale_a = Term::none, scale_b = Term::none;
  DType scale = float32;
  ZeroPoints azp_a = ZeroPoints::none, azp_b = ZeroPoints::none;
  Layout lies_a = Layout::rows, lies_b = Layout::rows, lies_grad = Layout::rows;
  DType bias = DType::undefined, c = DType::undefined;
  bool short_bias = false;
  Term alpha = Term::none, beta = Term::none, scale_result = Term::none;
  unsigned seed = 1;
};

std::ostream& operator<<(std::ostream& out, const Drawn& d) {
  const auto number = [](auto x) { return static_cast<int>(x); };
  return out << d.m << 'x' << d.n << 'x' << d.k << ' ' << name(d.a) << ':' << name(d.b) << ':'
             << name(d.grad) << " scale=" << to_string(d.of_a) << ':' << to_string(d.of_b) << ' '
             << number(d.scale_a) << ':' << number(d.scale_b) << ' ' << name(d.scale)
             << " azp=" << number(d.azp_a) << ':' << number(d.azp_b) << " lies=" << number(d.lies_a)
             << ':' << number(d.lies_b) << ':' << number(d.lies_grad) << " bias=" << name(d.bias)
             << d.short_bias << " c=" << name(d.c) << " alpha=" << number(d.alpha)
             << " beta=" << number(d.beta) << " scale_result=" << number(d.scale_result)
             << " seed=" << d.seed;
}

Granularity draw_granularity(Side side) {
  switch (between(0, 6)) {
    case 0:
      return per_tensor();
    case 1:
    case 2:
      return side == Side::a ? per_token() : per_channel();
    case 3:
      return group(one_of<std::int64_t>({128, 32, between(1, 48)}));
    case 4: {
      const std::int64_t down = one_of<std::int64_t>({128, between(1, 20)});
      return block(down, one_of<std::int64_t>({128, between(1, 48)}));
    }
    case 5:
      return per_k();
    default:
      return per_element();
  }
}

Drawn draw() {
  const std::vector<DType> wides{bfloat16, float16, float32};
  const std::vector<DType> float8s{float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz};
  Drawn d;
  d.m = between(0, sometimes() ? 140 : 20);
  d.n = between(0, sometimes() ? 140 : 20);
  d.k = between(0, sometimes() ? 140 : 40);
  switch (between(0, 3)) {
    case 0:
      d.a = one_of<DType>({int8, uint8});
      d.b = one_of<DType>({int8, int8, uint8});
      break;
    case 1:
      d.a = one_of(float8s);
      d.b = one_of(float8s);
      break;
    case 2:
      d.a = d.b = one_of(wides);
      break;
    default:
      d.a = one_of(wides);
      d.b = sometimes() ? int8 : one_of(float8s);
  }
  d.grad = one_of(wides);
  const std::vector<Term> given{Term::none, Term::number, Term::tensor, Term::tensor};
  d.scale_a = one_of(given);
  d.scale_b = one_of(given);
  d.of_a = draw_granularity(Side::a);
  d.of_b = draw_granularity(Side::b);
  d.scale = one_of<DType>({float32, float32, bfloat16, float16, float8_e8m0fnu});
  if (is_integer8(d.a) && sometimes())
    d.azp_a = one_of<ZeroPoints>({ZeroPoints::one, ZeroPoints::each, ZeroPoints::far});
  if (is_integer8(d.b) && sometimes())
    d.azp_b = one_of<ZeroPoints>({ZeroPoints::one, ZeroPoints::each});
  const std::vector<Layout> layouts{Layout::rows, Layout::columns, Layout::gaps, Layout::backwards};
  d.lies_a = one_of(layouts);
  d.lies_b = one_of(layouts);
  d.lies_grad = one_of(layouts);
  if (between(0, 1) == 1) d.bias = one_of(wides);
  d.short_bias = sometimes();
  if (sometimes()) d.c = one_of(wides);
  const std::vector<Term> factors{Term::none, Term::number, Term::tensor};
  d.alpha = one_of(factors);
  d.beta = d.c == DType::undefined ? Term::none : one_of(factors);
  d.scale_result = one_of<Term>({Term::none, Term::number, Term::tensor, Term::vector});
  d.seed = static_cast<unsigned>(between(1, 1000));
  return d;
}

// A matrix in some order of its elements, which lies there as long as this does.
class Matrices {
 public:
  TensorView operator()(Layout layout, const Tensor& matrix) {
    const std::int64_t rows = matrix.size(0), cols = matrix.size(1);
    switch (layout) {
      case Layout::rows:
        kept_.push_back(strided(matrix, {cols, 1}));
        break;
      case Layout::columns:
        kept_.push_back(strided(matrix, {1, rows}));
        break;
      case Layout::gaps:
        kept_.push_back(strided(matrix, {2 * cols + 3, 2}));
        break;
      case Layout::backwards:
        kept_.push_back(strided(matrix, {-cols - 1, -1}));
        break;
    }
    return kept_.back().view;
  }

 private:
  std::vector<Strided> kept_;
};

Tensor elements(DType dtype, const Shape& shape, unsigned seed) {
  if (dtype == uint8) return integers(uint8, shape, seed, 0, 255);
  return dtype == int8 ? integers(int8, shape, seed) : gaussians(dtype, shape, seed, 2.0);
}

Tensor zero_points(ZeroPoints which, DType dtype, const Shape& each, unsigned seed) {
  if (which == ZeroPoints::none) return {};
  if (which == ZeroPoints::far) return integers(int32, each, seed, -100000000, 100000000);
  const int low = dtype == uint8 ? 0 : -128;
  return integers(int32, which == ZeroPoints::one ? Shape{1} : each, seed, low, low + 255);
}

void check(const Drawn& d) {
  Matrices matrices;
  const unsigned seed = d.seed;
  const TensorView a = matrices(d.lies_a, elements(d.a, {d.m, d.k}, seed));
  const TensorView codes = matrices(d.lies_b, elements(d.b, {d.k, d.n}, seed + 1));
  const TensorView grad = matrices(d.lies_grad, gaussians(d.grad, {d.m, d.n}, seed + 2));
  std::vector<Tensor> kept;
  const auto scale = [&](Term term, const Granularity& granularity, Side side, std::int64_t rows,
                         std::int64_t cols) {
    if (term == Term::none) return Scale();
    if (term == Term::number) return Scale(0.75);
    kept.push_back(uniforms(d.scale, scale_shape(granularity, side, rows, cols),
                            seed + 3 + static_cast<unsigned>(kept.size()), 0.5, 1.5));
    return Scale(kept.back(), granularity);
  };
  const auto factor = [&](Term term, double number) {
    if (term == Term::none) return Scale();
    if (term == Term::number) return Scale(number);
    kept.push_back(term == Term::tensor ? values(float32, {1}, {number})
                                        : uniforms(float32, {d.n}, seed + 9, 0.5, 1.5));
    return Scale(kept.back());
  };
  kept.reserve(8);
  ScaledMmOptions o;
  o.scale_a = scale(d.scale_a, d.of_a, Side::a, d.m, d.k);
  o.scale_b = scale(d.scale_b, d.of_b, Side::b, d.k, d.n);
  const Tensor azp = zero_points(d.azp_a, d.a, {d.m, 1}, seed + 5);
  const Tensor azp_b = zero_points(d.azp_b, d.b, {1, d.n}, seed + 6);
  if (azp.defined()) o.azp = azp;
  Operand b(codes);
  if (azp_b.defined()) b.azp = azp_b;
  const Tensor bias =
      d.bias == DType::undefined ? Tensor() : gaussians(d.bias, {d.short_bias ? 1 : d.n}, seed + 7);
  if (bias.defined()) o.bias = bias;
  const Tensor c = d.c == DType::undefined ? Tensor() : gaussians(d.c, {d.m, d.n}, seed + 8);
  if (c.defined()) o.c = c;
  if (d.alpha != Term::none) o.alpha = factor(d.alpha, 0.75);
  if (d.beta != Term::none) o.beta = factor(d.beta, -1.5);
  if (d.scale_result != Term::none) o.scale_result = factor(d.scale_result, 1.25);
  check_scaled_mm("random", grad, a, b, o);
}

TEST(RandomGradients, AreThoseOfTheFormula) {
  configure(150);
  EXPECT_TRUE(rc::check("every gradient of scaled_mm", [] { check_drawn(draw(), check); }));
}

}  // namespace
}  // namespace octavo::test::random_test
