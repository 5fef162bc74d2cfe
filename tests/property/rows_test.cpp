// SPDX-License-Identifier: Apache-2.0
// Random weights: a row's bits do not depend on the rows beside it, on the order of the weight's
// elements in memory, on packing or on how many threads there are.
#include <gtest/gtest.h>

#include <cstring>
#include <ostream>
#include <sstream>
#include <string_view>

#include "octavo/octavo.hpp"
#include "ops/helpers.hpp"
#include "support/draw.hpp"
#include "support/scale_shape.hpp"

namespace octavo::test::rows_test {
namespace {

struct Weights {
  std::int64_t m = 1, n = 1, k = 1;
  DType a = float32, b = float32;
  Granularity of_a = per_token(), of_b = per_channel();
  DType scale = float32;
  unsigned seed = 1;
};

std::ostream& operator<<(std::ostream& out, const Weights& w) {
  return out << w.m << 'x' << w.n << 'x' << w.k << ' ' << name(w.a) << ':' << name(w.b)
             << " scale=" << to_string(w.of_a) << ':' << to_string(w.of_b) << ' ' << name(w.scale)
             << " seed=" << w.seed;
}

// Groups that end where steps, words and squares of the kernels do, and where none does.
std::int64_t draw_group() {
  return one_of<std::int64_t>({128, 64, 32, 96, 16, 40, between(8, 200)});
}

Weights draw_weights() {
  const std::vector<DType> codes{int8, float8_e4m3fn, float8_e4m3fnuz, float8_e5m2,
                                 float8_e5m2fnuz};
  const std::vector<DType> wides{bfloat16, float16, float32};
  Weights w;
  w.m = between(1, sometimes() ? 90 : 20);
  w.n = between(1, sometimes() ? 700 : 140);
  w.k = between(1, sometimes() ? 2500 : 300);
  w.a = one_of(wides);
  switch (between(0, 2)) {
    case 0:
      w.b = one_of(wides);
      break;
    case 1:
      w.b = one_of(codes);
      break;
    default:
      w.b = one_of(codes);
      w.a = w.b == int8 ? one_of<DType>({int8, uint8}) : one_of<DType>({w.b, float8_e4m3fn});
  }
  if (sometimes()) w.of_b = block(draw_group(), one_of<std::int64_t>({1, 128, 24}));
  if (sometimes()) w.of_a = group(draw_group());
  w.scale = one_of<DType>({float32, float32, bfloat16, float8_e8m0fnu});
  w.seed = static_cast<unsigned>(between(1, 1000));
  return w;
}

Tensor elements(DType dtype, const Shape& shape, unsigned seed) {
  if (is_integer8(dtype)) {
    return integers(dtype, shape, seed, dtype == uint8 ? 0 : -128, dtype == uint8 ? 255 : 127);
  }
  return gaussians(dtype, shape, seed, 2.0);
}

Tensor scales(const Weights& w, const Granularity& granularity, Side side, std::int64_t rows,
              std::int64_t cols, unsigned seed) {
  return uniforms(w.scale, scale_shape(granularity, side, rows, cols), seed);
}

void check_rows(const Weights& w) {
  const Tensor a = elements(w.a, {w.m, w.k}, w.seed);
  const Tensor columns = elements(w.b, {w.n, w.k}, w.seed + 1);
  const Tensor rows = copy(columns.view().transposed(), w.b);
  const Tensor sa = scales(w, w.of_a, Side::a, w.m, w.k, w.seed + 2);
  const Tensor sb = scales(w, w.of_b, Side::b, w.k, w.n, w.seed + 3);
  const auto weight = [&](const TensorView& elements) {
    const ScaleGrid grid = scale_grid(w.of_b, Side::b);
    Operand b(elements);
    b.scale[0] = {ScaleKind::tensor, 1.0F, sb.view(), grid.rows, grid.cols, 0, 0};
    return b;
  };
  const Operand natural = weight(columns.view().transposed());
  const PackedWeight packed = pack(natural);
  const Operand forms[] = {natural, weight(rows), Operand(packed)};
  const char* const names[] = {"[N, K]", "[K, N]", "packed"};

  for (const char* backend : usable_backends()) {
    if (std::string_view(backend) == "reference") continue;
    const auto product = [&](const Operand& b, std::int64_t begin, std::int64_t end, int threads) {
      ThreadExecutor executor(threads);
      return scaled_mm(a.view().slice(0, begin, end), b,
                       {.scale_a = {sa.view().slice(0, begin, end), w.of_a},
                        .out_dtype = float32,
                        .backend = backend},
                       {.executor = &executor});
    };
    const Tensor whole = product(natural, 0, w.m, 1);
    for (std::size_t form = 0; form < 3; ++form) {
      for (int draw = 0; draw < 3; ++draw) {
        const std::int64_t begin = draw == 0 ? 0 : between(0, w.m - 1);
        const std::int64_t end = draw == 0 ? w.m : between(begin + 1, w.m);
        const int threads = static_cast<int>(between(1, 3));
        const Tensor some = product(forms[form], begin, end, threads);
        const auto bytes = static_cast<std::size_t>((end - begin) * w.n * 4);
        if (std::memcmp(some.data(), whole.data_as<float>() + begin * w.n, bytes) == 0) continue;
        std::ostringstream text;
        text << w << ": rows [" << begin << ", " << end << ") of the weight " << names[form]
             << " by " << threads << " threads on " << backend;
        RC_FAIL(text.str());
      }
    }
  }
}

TEST(Property, ARowsBitsDependOnNothingBesides) {
  configure();
  EXPECT_TRUE(rc::check("rows, orders, packing and threads", [] {
    const Weights w = draw_weights();
    RC_LOG() << w << '\n';
    check_rows(w);
  }));
}

}  // namespace
}  // namespace octavo::test::rows_test
