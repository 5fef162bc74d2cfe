// SPDX-License-Identifier: Apache-2.0
// Random grouped products: every gradient against float64.
#include <ostream>

#include "gradients/check.hpp"
#include "support/draw.hpp"
#include "support/scale_shape.hpp"

namespace octavo::test::random_grouped_test {
namespace {

// What is cut into groups, and which operands have one matrix for each.
struct Form {
  const char* name;
  bool a_3d, b_3d;
};
constexpr Form kRows{"rows", false, true}, kColumns{"columns", true, false},
    kInner{"inner", false, false}, kBatch{"batch", true, true};

struct Drawn {
  Form form = kRows;
  std::int64_t m = 1, n = 1, k = 1;  // of all groups together, where they are cut
  std::vector<double> ends;
  bool prefix = false, turned_b = false, has_bias = false, each_bias = false, has_result = false;
  DType a = float32, b = float32, grad = float32, scale = float32;
  bool has_scale_a = false, has_scale_b = false;
  Granularity of_a, of_b;
  DType c = DType::undefined;
  unsigned seed = 1;
  std::int64_t groups() const { return static_cast<std::int64_t>(ends.size()) - (prefix ? 1 : 0); }
};

std::ostream& operator<<(std::ostream& out, const Drawn& d) {
  out << d.form.name << ' ' << d.m << 'x' << d.n << 'x' << d.k << ' ' << name(d.a) << ':'
      << name(d.b) << ':' << name(d.grad) << " ends=";
  for (const double end : d.ends) out << end << ',';
  return out << (d.prefix ? " prefix" : "") << (d.turned_b ? " turned" : "")
             << " scale=" << (d.has_scale_a ? to_string(d.of_a) : "") << ':'
             << (d.has_scale_b ? to_string(d.of_b) : "") << ' ' << name(d.scale)
             << " bias=" << d.has_bias << d.each_bias << " c=" << name(d.c)
             << " scale_result=" << d.has_result << " seed=" << d.seed;
}

Granularity draw_granularity(Side side) {
  switch (between(0, 3)) {
    case 0:
      return per_tensor();
    case 1:
      return side == Side::a ? per_token() : per_channel();
    case 2:
      return group(one_of<std::int64_t>({16, between(1, 40)}));
    default: {
      const std::int64_t down = between(1, 20);
      return block(down, between(1, 40));
    }
  }
}

Drawn draw() {
  const std::vector<DType> wides{bfloat16, float16, float32};
  const std::vector<DType> float8s{float8_e4m3fn, float8_e5m2, float8_e4m3fnuz};
  Drawn d;
  d.form = one_of<Form>({kRows, kColumns, kInner, kBatch});
  d.m = between(0, 40);
  d.n = between(0, 40);
  d.k = between(0, 40);
  std::int64_t& cut = d.form.name == kRows.name ? d.m : d.form.name == kColumns.name ? d.n : d.k;
  const std::int64_t groups = between(0, 4);
  d.prefix = d.form.name != kBatch.name && sometimes();
  std::int64_t end = 0;
  if (d.prefix) d.ends.push_back(0);
  for (std::int64_t g = 0; g < groups; ++g) {
    d.ends.push_back(static_cast<double>(end += sometimes() ? 0 : between(0, 30)));
  }
  if (d.form.name != kBatch.name) cut = end + between(0, 3);
  switch (between(0, 3)) {
    case 0:
      d.a = one_of<DType>({int8, uint8});
      d.b = int8;
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
  d.has_scale_a = between(0, 3) > 0;
  d.has_scale_b = between(0, 3) > 0;
  d.of_a = draw_granularity(Side::a);
  d.of_b = draw_granularity(Side::b);
  d.scale = one_of<DType>({float32, bfloat16, float8_e8m0fnu});
  d.turned_b = sometimes();
  d.has_bias = between(0, 1) == 1;
  d.each_bias = d.form.name != kColumns.name && sometimes();
  d.has_result = sometimes();
  if (sometimes()) d.c = one_of(wides);
  d.seed = static_cast<unsigned>(between(1, 1000));
  return d;
}

Tensor elements(DType dtype, const Shape& shape, unsigned seed) {
  if (dtype == uint8) return integers(uint8, shape, seed, 0, 255);
  return dtype == int8 ? integers(int8, shape, seed) : gaussians(dtype, shape, seed, 2.0);
}

// PyTorch's scales of groups that K is cut into: each row's (column's) own in every group.
bool of_cut_rows(const Drawn& d, const Granularity& granularity) {
  return d.form.name == kInner.name && (granularity.kind == Granularity::Kind::token ||
                                        granularity.kind == Granularity::Kind::channel);
}

// Scales of one side, whose operand is `rows` by `cols`, of one matrix or of the stack's.
Tensor scales(const Drawn& d, const Granularity& granularity, Side side, bool stack,
              std::int64_t rows, std::int64_t cols, unsigned seed) {
  Shape shape = scale_shape(granularity, side, rows, cols);
  if (granularity.kind == Granularity::Kind::tensor) {
    shape = {d.groups()};
  } else if (of_cut_rows(d, granularity)) {
    shape = {d.groups() * (side == Side::a ? rows : cols)};
  } else if (stack) {
    shape.insert(shape.begin(), d.groups());
  }
  return uniforms(d.scale, shape, seed, 0.5, 1.5);
}

void check(const Drawn& d) {
  const std::int64_t g = d.groups();
  const auto shape = [g](bool stack, std::int64_t rows, std::int64_t cols) {
    return stack ? Shape{g, rows, cols} : Shape{rows, cols};
  };
  const Tensor a = elements(d.a, shape(d.form.a_3d, d.m, d.k), d.seed);
  const Tensor b = d.turned_b ? elements(d.b, shape(d.form.b_3d, d.n, d.k), d.seed + 1).transposed()
                              : elements(d.b, shape(d.form.b_3d, d.k, d.n), d.seed + 1);
  const Shape out = shape(d.form.a_3d == d.form.b_3d, d.m, d.n);
  const Tensor grad = gaussians(d.grad, out, d.seed + 2);
  const Tensor ends = values(int32, {static_cast<std::int64_t>(d.ends.size())}, d.ends);
  GroupedOptions o;
  if (d.form.name != kBatch.name) o.offs = ends;
  o.offs_prefix = d.prefix;
  const Tensor sa = scales(d, d.of_a, Side::a, d.form.a_3d, d.m, d.k, d.seed + 3);
  const Tensor sb = scales(d, d.of_b, Side::b, d.form.b_3d, d.k, d.n, d.seed + 4);
  if (d.has_scale_a) o.scale_a = of_cut_rows(d, d.of_a) ? Scale(sa) : Scale(sa, d.of_a);
  if (d.has_scale_b) o.scale_b = of_cut_rows(d, d.of_b) ? Scale(sb) : Scale(sb, d.of_b);
  const Tensor bias = gaussians(float32, d.each_bias ? Shape{g, d.n} : Shape{d.n}, d.seed + 5);
  if (d.has_bias) o.bias = bias;
  const Tensor result = uniforms(float32, {d.n}, d.seed + 6, 0.5, 1.5);
  if (d.has_result) o.scale_result = result;
  const Tensor c = d.c == DType::undefined ? Tensor() : gaussians(d.c, out, d.seed + 7);
  if (c.defined()) {
    o.c = c;
    o.beta = 0.5;
  }
  check_grouped_mm("random", grad, a, b, o);
}

TEST(RandomGroupedGradients, AreThoseOfTheFormula) {
  configure(150);
  EXPECT_TRUE(rc::check("every gradient of grouped_mm", [] { check_drawn(draw(), check); }));
}

}  // namespace
}  // namespace octavo::test::random_grouped_test
