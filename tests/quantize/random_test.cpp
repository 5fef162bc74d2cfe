// SPDX-License-Identifier: Apache-2.0
// Random matrices and options: every backend's codes, scales and zero points against the
// reference's, bit for bit.
#include <cmath>
#include <limits>
#include <ostream>

#include "ops/helpers.hpp"
#include "support/draw.hpp"

namespace octavo::test::random_test {
namespace {

enum class Layout { rows, columns, gaps, backwards, one_row };

struct Drawn {
  std::int64_t rows = 1, cols = 1;
  DType from = float32;
  QuantizeOptions options;
  Layout in = Layout::rows, out = Layout::rows;
  bool special = false;
  double spread = 1.0;
  int threads = 1;
  unsigned seed = 1;
};

std::ostream& operator<<(std::ostream& out, const Drawn& d) {
  const QuantizeOptions& o = d.options;
  return out << d.rows << 'x' << d.cols << ' ' << name(d.from) << ':' << name(o.dtype) << ' '
             << to_string(o.granularity) << (o.side == Side::a ? " a" : " b")
             << (o.azp ? " azp" : "") << (o.widen ? " widen" : "") << " ub=" << o.scale_ub
             << " min=" << o.min_scale << " qmax=" << o.qmax
             << " rounding=" << static_cast<int>(o.rounding) << ' ' << name(o.scale_dtype)
             << " non_finite=" << static_cast<int>(o.non_finite)
             << " overflow=" << static_cast<int>(o.overflow) << " in=" << static_cast<int>(d.in)
             << " out=" << static_cast<int>(d.out) << " special=" << d.special
             << " spread=" << d.spread << " threads=" << d.threads << " seed=" << d.seed;
}

Granularity draw_granularity(Side side) {
  switch (between(0, 6)) {
    case 0:
      return per_tensor();
    case 1:
      return side == Side::a ? per_token() : per_channel();
    case 2:
      return group(one_of<std::int64_t>({128, 64, 32, 16, between(1, 200)}));
    case 3: {
      const std::int64_t down = one_of<std::int64_t>({128, 64, between(1, 150)});
      return block(down, one_of<std::int64_t>({128, 32, between(1, 150)}));
    }
    case 4:
      return per_k();
    case 5:
      return per_element();
    default:
      return one_of<Granularity>({group(128), block(128, 128)});
  }
}

void draw_rounding(QuantizeOptions& o) {
  if (o.azp) return;
  o.rounding = one_of<ScaleRounding>(
      {ScaleRounding::none, ScaleRounding::none, ScaleRounding::power_of_two});
  if (is_float8(o.dtype) && sometimes()) o.rounding = ScaleRounding::mx_floor;
  if (o.rounding != ScaleRounding::none && between(0, 1) == 1) o.scale_dtype = float8_e8m0fnu;
}

Drawn draw() {
  Drawn d;
  d.rows = between(0, sometimes() ? 700 : 40);
  d.cols = between(0, sometimes() ? 1500 : 300);
  d.from = one_of<DType>({float32, bfloat16, float16});
  QuantizeOptions& o = d.options;
  o.dtype = one_of<DType>({int8, uint8, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz,
                           float8_e5m2fnuz, int8, float8_e4m3fn});
  o.azp = o.dtype == uint8 || (o.dtype == int8 && sometimes());
  o.widen = o.azp && sometimes();
  o.side = one_of<Side>({Side::a, Side::b});
  o.granularity = draw_granularity(o.side);
  draw_rounding(o);
  if (!o.azp && sometimes()) o.scale_ub = one_of<float>({0.5F, 3.0F, 1e-30F});
  if (!o.azp && sometimes()) o.min_scale = one_of<float>({0x1p-9F, 0.125F});
  if (!o.azp && o.rounding != ScaleRounding::mx_floor && sometimes()) o.qmax = 96.0F;
  o.non_finite = one_of<NonFinite>({NonFinite::propagate, NonFinite::ignore});
  if (is_float8(o.dtype) && sometimes()) o.overflow = Overflow::ieee;
  const std::vector<Layout> layouts{Layout::rows, Layout::columns, Layout::gaps, Layout::backwards};
  d.in = sometimes() ? Layout::one_row : one_of(layouts);
  d.out = one_of(layouts);
  d.special = sometimes();
  d.spread = one_of<double>({1.0, 1e4, 1e-5, 0x1p-130});
  d.threads = static_cast<int>(between(1, 3));
  d.seed = static_cast<unsigned>(between(1, 1000));
  return d;
}

// Gaussians, among them some that are rare, and one whole line of zeros.
Tensor content(const Drawn& d) {
  const double inf = std::numeric_limits<double>::infinity();
  const double rare[] = {0.0, -0.0, 0x1p-149, -0x1p-24, 300.0, -65504.0, std::nan(""), inf, -inf};
  const Tensor gauss = gaussians(float32, {d.rows, d.cols}, d.seed, d.spread);
  const std::int64_t step = 1 + static_cast<std::int64_t>(d.seed) * 7 % 300;
  return tensor_of(d.from, {d.rows, d.cols}, [&](std::int64_t i) {
    if (i / d.cols == 3 || i % d.cols == 5) return 0.0;
    return i % step == 0 ? rare[i / step % (d.special ? 9 : 6)] : at(gauss, i);
  });
}

Shape strides(Layout layout, std::int64_t rows, std::int64_t cols) {
  switch (layout) {
    case Layout::rows:
      return {cols, 1};
    case Layout::columns:
      return {1, rows};
    case Layout::gaps:
      return {2 * cols + 3, 2};
    case Layout::backwards:
      return {-cols - 1, -1};
    case Layout::one_row:
      return {0, 1};
  }
  return {};
}

// Where a backend writes: the shapes of `like`, poisoned.
Quantized outputs(const Drawn& d, const Quantized& like) {
  const Strided data = strided(like.data, strides(d.out, d.rows, d.cols));
  Quantized out = like;
  out.data = Tensor::adopt(data.memory, data.view);
  fill_with_poison(out.data);
  out.scale = Tensor::empty(like.scale.dtype(), {like.scale.size(0), like.scale.size(1)});
  fill_with_poison(out.scale);
  if (!like.azp.defined()) return out;
  out.azp = Tensor::empty(int32, {like.azp.size(0), like.azp.size(1)});
  fill_with_poison(out.azp);
  return out;
}

void expect_same(const Quantized& got, const Quantized& want) {
  expect_same_bits(got.scale, want.scale);
  if (want.azp.defined()) expect_same_bits(got.azp, want.azp);
  expect_same_bits(got.data, want.data);
}

// What codes stand for: (code - azp) * scale, in float32.
void expect_dequantized(const Quantized& q) {
  const Tensor got = dequantize(q);
  for (std::int64_t i = 0; i < q.data.size(0); ++i) {
    for (std::int64_t j = 0; j < q.data.size(1); ++j) {
      const std::int64_t row = q.grid.rows == kWholeExtent ? 0 : i / q.grid.rows;
      const std::int64_t col = q.grid.cols == kWholeExtent ? 0 : j / q.grid.cols;
      const double azp = q.azp.defined() ? at(q.azp, row, col) : 0.0;
      const float want =
          static_cast<float>(at(q.data, i, j) - azp) * static_cast<float>(at(q.scale, row, col));
      const float have = float_at(got, i, j);
      ASSERT_TRUE(have == want || (std::isnan(have) && std::isnan(want)))
          << "element [" << i << ", " << j << "]: " << have << " against " << want;
    }
  }
}

void check(const Drawn& d) {
  const Tensor tensor = content(d);
  const Strided lies = strided(d.in == Layout::one_row && d.rows > 0
                                   ? copy(tensor.view().slice(0, 0, 1), d.from).view()
                                   : tensor.view(),
                               strides(d.in, d.rows, d.cols));
  TensorView x = lies.view;
  if (d.in == Layout::one_row) x.shape[0] = d.rows;
  const QuantizeOptions& o = d.options;
  const Quantized want = [&] {
    const Quantized shapes = quantize(x, o);
    const Quantized out = outputs(d, shapes);
    quantize_into(x, o, out, {}, "reference");
    expect_same(shapes, out);
    return out;
  }();
  for (const BackendInfo& backend : backends()) {
    if (!backend.usable || backend.name == "reference") continue;
    SCOPED_TRACE(backend.name);
    ThreadExecutor executor(d.threads);
    const Quantized got = outputs(d, want);
    quantize_into(x, o, got, {.executor = &executor}, backend.name.c_str());
    expect_same(got, want);
  }
  expect_dequantized(want);
  const Quantized scales = compute_scale(x, o);
  expect_same_bits(scales.scale, want.scale);
  // The same scales, given.
  if (want.scale.numel() == 0 || o.non_finite == NonFinite::ignore || d.special) return;
  QuantizeOptions given = o;
  given.scale = {want.scale, o.granularity};
  given.scale_ub = std::numeric_limits<float>::infinity();
  given.min_scale = given.qmax = 0.0F;
  given.azp_in = want.azp.defined() ? want.azp.view() : TensorView();
  given.widen = false;
  given.rounding = ScaleRounding::none;
  given.scale_dtype = float32;
  expect_same_bits(quantize(x, given).data, want.data);
}

TEST(RandomQuantizers, HaveTheBitsOfTheReference) {
  configure();
  EXPECT_TRUE(rc::check("codes, scales and zero points", [] { check_drawn(draw(), check); }));
}

}  // namespace
}  // namespace octavo::test::random_test
