// SPDX-License-Identifier: Apache-2.0
// Random products on a device: a row's bits depend neither on the rows beside it, whose number
// chooses the kernel, nor on how the operands lie.
#include <gtest/gtest.h>

#include <cstring>
#include <ostream>

#include "cuda/device_kit.hpp"
#include "cuda/product_kit.hpp"
#include "ops/helpers.hpp"
#include "support/draw.hpp"
#include "support/scale_shape.hpp"

namespace octavo::test::random_rows_test {
namespace {

struct Drawn {
  std::int64_t m = 1, n = 1, k = 1;
  DType a = int8, b = int8, out = float32;
  Granularity of_a = per_token(), of_b = per_channel();
  bool bias = false;
  unsigned seed = 1;
};

std::ostream& operator<<(std::ostream& out, const Drawn& d) {
  return out << d.m << 'x' << d.n << 'x' << d.k << ' ' << name(d.a) << ':' << name(d.b) << ':'
             << name(d.out) << " scale=" << to_string(d.of_a) << ':' << to_string(d.of_b)
             << " bias=" << d.bias << " seed=" << d.seed;
}

Drawn draw() {
  struct Types {
    DType a, b;
  };
  const Types types = one_of<Types>({{int8, int8},
                                     {uint8, int8},
                                     {float8_e4m3fn, float8_e4m3fn},
                                     {float8_e4m3fn, float8_e5m2},
                                     {float8_e5m2, float8_e4m3fn},
                                     {bfloat16, bfloat16},
                                     {float16, float16},
                                     {bfloat16, float8_e4m3fn},
                                     {float16, int8}});
  Drawn d;
  d.a = types.a;
  d.b = types.b;
  d.out = one_of<DType>({float32, bfloat16, float16, int8, float8_e4m3fn});
  d.m = between(1, sometimes() ? 300 : 90);
  d.n = between(1, sometimes() ? 300 : 70);
  d.k = between(1, sometimes() ? 5000 : 500);
  if (sometimes()) d.of_a = one_of<Granularity>({per_tensor(), group(128)});
  if (sometimes()) d.of_b = one_of<Granularity>({per_tensor(), block(128, 128)});
  d.bias = sometimes();
  d.seed = static_cast<unsigned>(between(1, 1000));
  return d;
}

Tensor elements(DType dtype, const Shape& shape, unsigned seed) {
  if (dtype == uint8) return integers(uint8, shape, seed, 0, 255);
  return dtype == int8 ? integers(int8, shape, seed) : gaussians(dtype, shape, seed, 2.0);
}

void check(const Drawn& d) {
  const Tensor near_a = elements(d.a, {d.m, d.k}, d.seed);
  const Tensor near_b = elements(d.b, {d.n, d.k}, d.seed + 1);
  const Tensor a = to_device(near_a),
               transposed_a = to_device(copy(near_a.view().transposed(), d.a)),
               b = to_device(near_b),
               transposed_b = to_device(copy(near_b.view().transposed(), d.b));
  const Tensor sa =
      to_device(uniforms(float32, scale_shape(d.of_a, Side::a, d.m, d.k), d.seed + 2));
  const Tensor sb =
      to_device(uniforms(float32, scale_shape(d.of_b, Side::b, d.k, d.n), d.seed + 3));
  const Tensor bias = to_device(gaussians(float32, {d.n}, d.seed + 4));
  for (const char* backend : {"sm90", "sm80", "cuda"}) {
    const auto product = [&](const TensorView& x, const TensorView& w, std::int64_t begin,
                             std::int64_t end) {
      ScaledMmOptions o;
      const bool rows = scale_grid(d.of_a, Side::a).rows == 1;
      o.scale_a = {rows ? sa.view().slice(0, begin, end) : sa.view(), d.of_a};
      o.scale_b = {sb, d.of_b};
      if (d.bias) o.bias = bias;
      o.out_dtype = d.out;
      const Tensor out = Tensor::empty(d.out, {end - begin, d.n}, {kHopper, nullptr});
      o.out = out;
      const TensorView some = x.slice(0, begin, end);
      const MatmulProblem problem = scaled_mm_problem(some, w, o);
      if (!takes(backend, problem)) return Tensor();
      run(problem, {}, backend);
      return to_host(out);
    };
    const Tensor whole = product(a, b.view().transposed(), 0, d.m);
    if (!whole.defined()) continue;
    for (int turn = 0; turn < 3; ++turn) {
      const std::int64_t begin = between(0, d.m - 1), end = between(begin + 1, d.m);
      const TensorView x = turn == 1 ? transposed_a.view().transposed() : a.view();
      const TensorView w = turn == 2 ? transposed_b.view() : b.view().transposed();
      const Tensor some = product(x, w, begin, end);
      ASSERT_TRUE(some.defined()) << backend << " takes all rows, but not [" << begin << ", " << end
                                  << ')';
      const std::int64_t row = d.n * element_bytes(d.out);
      ASSERT_EQ(0, std::memcmp(some.data(), whole.data_as<std::uint8_t>() + begin * row,
                               static_cast<std::size_t>((end - begin) * row)))
          << backend << ": rows [" << begin << ", " << end << "), turn " << turn;
    }
  }
}

TEST(RandomRowsOnADevice, HaveTheBitsThatTheyHaveAmongOthers) {
  configure(40);
  EXPECT_TRUE(rc::check("rows and layouts", [] { check_drawn(draw(), check); }));
}

}  // namespace
}  // namespace octavo::test::random_rows_test
