// SPDX-License-Identifier: Apache-2.0
// Random fp8 linear layers: Fp8LinearOp and every function that its table names, against
// octavo.quantize and octavo.scaled_mm on every backend and against the exact oracle.
#include <gtest/gtest.h>

#include "kit/oracle/oracle.hpp"
#include "octavo/octavo.hpp"
#include "ops/helpers.hpp"
#include "support/draw.hpp"
#include "support/lines.hpp"
#include "support/scale_shape.hpp"

namespace octavo::test::w8a8_test {
namespace {

using namespace w8a8_utils;  // NOLINT: what is tested

struct Layer {
  std::int64_t m = 0, n = 0, k = 0;
  bool is_static = false, fnuz = false, padded = false, bounded = false, strided = false;
  GroupShape shape;
  Granularity weight;
  DType x = float32, w = float8_e4m3fn, out = float32, bias = undefined;
  unsigned seed = 1;
};

std::ostream& operator<<(std::ostream& out, const Layer& l) {
  return out << l.m << 'x' << l.n << 'x' << l.k << " static=" << l.is_static << " fnuz=" << l.fnuz
             << " padded=" << l.padded << " bounded=" << l.bounded << " strided=" << l.strided
             << " group=(" << l.shape.row << ", " << l.shape.col
             << ") weight=" << to_string(l.weight) << ' ' << name(l.x) << ':' << name(l.w) << ':'
             << name(l.out) << " bias=" << name(l.bias) << " seed=" << l.seed;
}

Layer draw() {
  const std::vector<DType> wides{float32, bfloat16, float16};
  Layer l;
  l.m = between(0, sometimes() ? 200 : 20);
  l.n = between(0, sometimes() ? 300 : 40);
  l.k = between(0, sometimes() ? 700 : 90);
  l.is_static = sometimes();
  l.fnuz = sometimes();
  l.padded = sometimes();
  l.bounded = !l.is_static && sometimes();
  l.strided = sometimes();
  l.shape = one_of<GroupShape>(
      {GroupShape::PER_TOKEN, GroupShape::PER_TENSOR, {1, 128}, {1, between(1, 60)}});
  l.weight = one_of<Granularity>({per_channel(), per_tensor(), block(128, 128)});
  l.x = one_of(wides);
  l.w = one_of<DType>({float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz});
  l.out = one_of(wides);
  if (between(0, 1) == 1) l.bias = one_of(wides);
  l.seed = static_cast<unsigned>(between(1, 1000));
  return l;
}

Granularity activation_granularity(const GroupShape& shape) {
  if (shape == GroupShape::PER_TENSOR) return per_tensor();
  return shape == GroupShape::PER_TOKEN ? per_token() : group(shape.col);
}

void require_same(const TensorView& got, const TensorView& want, const char* what) {
  const bool same = got.dtype == want.dtype && shape_string(got) == shape_string(want) &&
                    bytes_of(got) == bytes_of(want);
  if (!same) RC_FAIL(std::string(what) + ": other bits than octavo.scaled_mm");
}

// The product on every backend that says yes: right, and bit for bit where one answer is right.
Tensor right_product(const QuantFP8::Output& q, const Granularity& reading, const Operand& weight,
                     const Scale& scale_b, const Layer& l, const TensorView& bias) {
  const Tensor y = Tensor::empty(l.out, {l.m, l.n});
  const auto problem_into = [&](const TensorView& out) {
    return scaled_mm_problem(q.codes, weight,
                             {.scale_a = Scale(q.scale, reading),
                              .scale_b = scale_b,
                              .bias = bias,
                              .out_dtype = l.out,
                              .out = out});
  };
  const auto on = [&](const std::string& backend) {
    const Tensor out = Tensor::empty(l.out, {l.m, l.n});
    const MatmulProblem problem = problem_into(out);
    run(problem, {}, backend.c_str());
    const kit::Verdict verdict = kit::compare_exact(problem, 12, 12);
    if (verdict.max_ratio > 1.0) RC_FAIL(backend + ": " + verdict.worst);
    return out;
  };
  const std::vector<std::string> names = accepting_backends(problem_into(y));
  for (const std::string& backend : names) (void)on(backend);
  require_same(on("generic"), on("reference"), "generic");
  return on(names.front());
}

void check(const Layer& l) {
  RC_LOG() << l << '\n';
  const Tensor x = gaussians(l.x, {l.m, l.k}, l.seed, 3.0);
  const Tensor stored = gaussians(float32, {l.n, l.k}, l.seed + 1, 20.0).to(l.w);
  const ScaleGrid grid = scale_grid(l.weight, Side::b);
  Shape weight_shape = l.weight.kind == Granularity::Kind::block
                           ? scale_shape(l.weight, Side::a, l.n, l.k)
                           : Shape{l.n, 1};
  if (grid.cols == kWholeExtent) weight_shape = {1};
  const Tensor scale_b = uniforms(float32, weight_shape, l.seed + 2);
  const Tensor bias = l.bias == undefined ? Tensor() : gaussians(l.bias, {l.n}, l.seed + 3);
  const Tensor bound = l.bounded ? values(float32, {1}, {2.5}) : Tensor();
  const Granularity reading = activation_granularity(l.shape);
  Tensor scale;
  if (l.is_static) scale = uniforms(float32, scale_shape(reading, Side::a, l.m, l.k), l.seed + 4);
  const bool blocks = l.weight.kind == Granularity::Kind::block;
  const Scale right(blocks ? scale_b.view().transposed() : scale_b.view(), l.weight);

  const Fp8LinearOp op(l.is_static, l.shape, l.padded, l.fnuz);
  const QuantFP8 plain(l.is_static, l.shape, {}, op.quant_fp8().dtype());
  const Strided apart = strided(stored, {1, l.n + 3});
  const TensorView view = l.strided ? apart.view : stored.view();
  const Operand weight(view.transposed());
  const Tensor y = op.apply(x, weight, scale_b, l.out, scale, bound, bias);
  const QuantFP8::Output q = plain(x, scale, bound);
  // One block over the whole weight is one element, which says "tensor".
  const Tensor want = right_product(
      q, reading, weight, scale_b.numel() == 1 ? Scale(scale_b, per_tensor()) : right, l, bias);
  require_same(y, want, "apply");

  const QuantFP8::Output padded = op.quant_fp8()(x, scale, bound);
  const std::int64_t out_shape[] = {l.m, l.n};
  for (const char* backend : {"rocm", "flashinfer", "cutlass", "torch"}) {
    for (const bool tensor_w : {true, false}) {
      for (const bool tensor_a : {true, false}) {
        const W8a8Arguments a{.qinput = padded.codes,
                              .weight = weight,
                              .out_dtype = l.out,
                              .scale_a = padded.scale,
                              .scale_b = scale_b,
                              .bias = bias,
                              .input_2d = x,
                              .output_shape = out_shape,
                              .group_size = std::max<std::int64_t>(l.shape.col, 0)};
        require_same(dispatch_w8a8_scaled_mm(backend, tensor_w, tensor_a)(a, {}), want, backend);
      }
    }
  }
}

TEST(Property, RandomFp8LayersAreScaledMm) {
  configure();
  EXPECT_TRUE(rc::check("an fp8 layer is quantise and scaled_mm", [] { check(draw()); }));
}

}  // namespace
}  // namespace octavo::test::w8a8_test
