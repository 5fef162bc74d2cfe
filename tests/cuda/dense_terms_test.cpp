// SPDX-License-Identifier: Apache-2.0
// Zero points and outliers on tensor cores, as problem lines do not spell them: the reference's
// bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "backends/cuda/passes/passes.hpp"
#include "cuda/passes/two_places.hpp"
#include "support/same_numbers.hpp"

namespace octavo::test::dense_terms_test {
namespace {

const std::vector<const char*> kBackends{"sm90", "sm80"};
constexpr int kFar = 2000000000;  // far beyond what codes can be

// A member here for the reference, and there.
template <class Make>
void expect_same_member(const Make& make, const MatmulOptions& options = {},
                        const std::vector<const char*>& backends = kBackends) {
  TensorsOf here(false);
  MatmulProblem want;
  want.options = options;
  want.single = make(here);
  run(want, {}, "reference");
  for (const char* backend : backends) {
    SCOPED_TRACE(backend);
    TensorsOf there(true);
    MatmulProblem got;
    got.options = options;
    got.single = make(there);
    run(got, {}, backend);
    expect_same_numbers(to_host(there.outs()[0]), to_host(here.outs()[0]));
  }
}

ScaleView scale(const TensorView& values, std::int64_t rows, std::int64_t cols) {
  return {ScaleKind::tensor, 1.0F, values, rows, cols, 0, 0};
}
Tensor codes(DType dtype, const Shape& shape, unsigned seed) {
  return dtype == uint8 ? integers(uint8, shape, seed, 0, 255)
                        : integers(int8, shape, seed, -128, 127);
}

// ---- sums of lines -----------------------------------------------------------------------------

TEST(CudaLineSums, AreExactWhateverLiesBehindTheRows) {
  for (const DType dtype : {int8, uint8}) {
    for (const std::int64_t rows : {0, 1, 9, 70}) {
      for (const std::int64_t columns : {0, 1, 15, 16, 17, 511, 528, 1040}) {
        const Tensor whole = codes(dtype, {rows, (columns + 31) / 16 * 16}, 1);
        const TensorView x = whole.view().slice(1, 0, columns);
        const Tensor want = Tensor::empty(int32, {rows});
        for (std::int64_t r = 0; r < rows; ++r) {
          double sum = 0;
          for (std::int64_t c = 0; c < columns; ++c) sum += at(x, r, c);
          want.data_as<std::int32_t>()[r] = static_cast<std::int32_t>(sum);
        }
        const Tensor there = to_device(whole), got = to_device(Tensor::empty(int32, {rows}));
        const Status status = cuda::line_sums(there.view().slice(1, 0, columns),
                                              static_cast<std::int32_t*>(got.view().data), {});
        ASSERT_TRUE(status.ok()) << status.message();
        expect_same_bits(to_host(got), want);
      }
    }
  }
}

// ---- zero points -------------------------------------------------------------------------------

enum class Given { none, one, each };
struct ZeroPoints {
  Given a, b;
};
constexpr ZeroPoints kBoth[] = {{Given::one, Given::none}, {Given::each, Given::none},
                                {Given::none, Given::one}, {Given::none, Given::each},
                                {Given::one, Given::each}, {Given::each, Given::one},
                                {Given::each, Given::each}};

// Zero points as a member has them: [M, 1] and [1, N], steps of 0 for one.
void put_zero_points(TensorsOf& tensors, const ZeroPoints& given, std::int64_t m, std::int64_t n,
                     int most, Member& p) {
  if (given.a != Given::none) {
    const bool one = given.a == Given::one;
    p.a.azp = MatrixView(tensors(integers(int32, {one ? 1 : m, 1}, 3, -most, most)), m, 1);
    if (one) p.a.azp.strides[0] = 0;
  }
  if (given.b != Given::none) {
    const bool one = given.b == Given::one;
    const DType dtype = one ? int8 : int32;
    p.b.azp = MatrixView(tensors(integers(dtype, {1, one ? 1 : n}, 4, -128, 127)), 1, n);
    if (one) p.b.azp.strides[1] = 0;
  }
}

struct Extents {
  std::int64_t m, n, k;
};
struct CodesAndOut {
  DType left, out;
};
constexpr CodesAndOut kCodesAndOuts[] = {{int8, float32}, {int8, bfloat16}, {int8, int8},
                                         {int8, int32},   {uint8, float32}, {uint8, bfloat16},
                                         {uint8, int8},   {uint8, int32}};

void expect_exact(const Extents& e, const ZeroPoints& given, const CodesAndOut& types) {
  const auto [left, out] = types;
  expect_same_member([&](TensorsOf& tensors) {
    Member p;
    p.a.data = tensors(codes(left, {e.m, e.k}, 1));
    const DType right = out == bfloat16 || out == int8 ? uint8 : int8;
    p.b.data = left == uint8 ? tensors(codes(right, {e.n, e.k}, 2).transposed())
                             : tensors(codes(right, {e.k, e.n}, 2));
    // Sums that leave int32 are rounded once.
    put_zero_points(tensors, given, e.m, e.n, out == bfloat16 ? kFar : 200, p);
    if (out != int32) {
      p.a.scale[0] = scale(tensors(uniforms(float32, {e.m, 1}, 5)), 1, kWholeExtent);
      p.b.scale[0] = scale(tensors(uniforms(float32, {1, e.n}, 6)), kWholeExtent, 1);
      p.epilogue.bias = tensors(gaussians(float32, {e.n}, 7));
      p.epilogue.bias.strides[0] = 0;
    }
    p.out = out == int8 ? tensors.out(Tensor::empty(out, {e.n, e.m}).transposed())
                        : tensors.out(Tensor::empty(out, {e.m, e.n}));
    return p;
  });
}

// All kinds of zero points with all types; at each of the other extents every kind and every type
// once, not with the same partner.
TEST(Sm90ZeroPoints, OfBothOperandsAreExact) {
  for (const ZeroPoints& given : kBoth) {
    for (const CodesAndOut& types : kCodesAndOuts) expect_exact({20, 48, 64}, given, types);
  }
  std::size_t turn = 0;
  for (const Extents& e :
       {Extents{5, 33, 70}, {1, 1, 1}, {130, 3, 33}, {3, 9, 0}, {0, 8, 16}, {8, 0, 16}}) {
    for (const CodesAndOut& types : kCodesAndOuts) {
      expect_exact(e, kBoth[turn++ % std::size(kBoth)], types);
    }
  }
}

// Sums that leave int32, and those of as many products as int32 takes.
TEST(Sm90ZeroPoints, SumsBeyondInt32AreRoundedOnceOrSaturate) {
  for (const std::int64_t k : {500, 65536}) {
    for (const ZeroPoints& given : {kBoth[1], kBoth[3], kBoth[6]}) {
      for (const DType out : {float32, int32}) {
        if (k > 500 && (given.a != given.b || out == int32)) continue;  // seconds
        expect_same_member([&](TensorsOf& tensors) {
          Member p;
          p.a.data = tensors(integers(uint8, {4, k}, 1, 250, 255));
          p.b.data = tensors(integers(int8, {6, k}, 2, -128, -120).transposed());
          put_zero_points(tensors, given, 4, 6, 60000, p);
          p.out = tensors.out(Tensor::empty(out, {4, 6}));
          return p;
        });
      }
    }
  }
}

TEST(Sm90ZeroPoints, OfAFusedQuantizer) {
  for (const DType dtype : {int8, uint8}) {
    for (const float given_scale : {0.0F, 0.02F}) {
      ActivationQuant rule;
      rule.spec.dtype = dtype;
      rule.spec.azp = true;
      rule.spec.granularity = given_scale > 0 ? per_tensor() : per_token();
      rule.static_scale = given_scale;
      rule.static_azp = dtype == uint8 ? 140 : -300;
      expect_same_member([&](TensorsOf& tensors) {
        Member p;
        p.a.data = tensors(gaussians(bfloat16, {21, 100}, 1));
        p.a.quantize = &rule;
        p.b.data = tensors(codes(int8, {40, 100}, 2).transposed());
        put_zero_points(tensors, {Given::none, Given::each}, 21, 40, 0, p);
        p.out = tensors.out(Tensor::empty(float16, {21, 40}));
        return p;
      });
    }
  }
}

TEST(Sm90ZeroPoints, AnEmptySumHasNone) {
  for (const bool torch_compat : {false, true}) {
    MatmulOptions options;
    options.torch_compat = torch_compat;
    expect_same_member(
        [&](TensorsOf& tensors) {
          Member p;
          p.a.data = tensors(Tensor::empty(int8, {7, 0}));
          p.b.data = tensors(Tensor::empty(int8, {0, 30}));
          put_zero_points(tensors, kBoth[6], 7, 30, kFar, p);
          p.a.scale[0].kind = ScaleKind::number;
          p.a.scale[0].number = std::numeric_limits<float>::quiet_NaN();
          p.epilogue.bias = tensors(gaussians(float32, {30}, 7));
          p.epilogue.bias.strides[0] = 0;
          p.out = tensors.out(Tensor::empty(float32, {7, 30}));
          return p;
        },
        options);
  }
}

TEST(Sm90ZeroPoints, OfAPackedWeight) {
  const Tensor a = codes(int8, {20, 64}, 1), b = codes(int8, {64, 48}, 2);
  const Tensor azp_a = integers(int32, {20}, 3, -kFar, kFar), azp_b = integers(int32, {48}, 4);
  const Tensor a_there = to_device(a), b_there = to_device(b), azp_there = to_device(azp_a),
               azp_b_there = to_device(azp_b);
  for (const bool of_a : {false, true}) {
    for (const bool of_b : {false, true}) {
      Operand here(b), there(b_there);
      if (of_b) here.azp = azp_b;
      if (of_b) there.azp = azp_b_there;
      const PackedWeight packed = pack(there);
      ScaledMmOptions o, o_there;
      if (of_a) o.azp = azp_a;
      if (of_a) o_there.azp = azp_there;
      const Tensor want = scaled_mm(a, here, o);
      const Tensor got = scaled_mm(a_there, packed, o_there);
      expect_same_bits(to_host(got), want);
      const Tensor plain = scaled_mm(a_there, there, o_there);
      expect_same_bits(to_host(plain), want);
      expect_same_bits(to_host(unpack(packed).data), b);
    }
  }
}

TEST(Sm90ZeroPoints, AreExplained) {
  const auto first = [](const MatmulProblem& problem) { return explain(problem).candidates[0]; };
  const Tensor a = to_device(codes(int8, {20, 64}, 1)), b = to_device(codes(int8, {64, 48}, 2));
  const Tensor azp = to_device(integers(int32, {20}, 3));
  const Tensor out = to_device(Tensor::empty(float32, {20, 48})),
               other = to_device(Tensor::empty(float8_e4m3fnuz, {20, 48}));
  ScaledMmOptions o;
  o.azp = azp;
  o.out = out;
  const Candidate taken = first(scaled_mm_problem(a, b, o));
  EXPECT_TRUE(taken.chosen);
  EXPECT_NE(taken.reason.find("zero points by sums of lines"), std::string::npos) << taken.reason;
  EXPECT_EQ(taken.reason.find("a pass finishes"), std::string::npos) << taken.reason;
  o.out_dtype = float8_e4m3fnuz;  // that the kernel does not make
  o.out = other;
  const Candidate apart = first(scaled_mm_problem(a, b, o));
  EXPECT_NE(apart.reason.find("sums of lines; a pass finishes"), std::string::npos) << apart.reason;
  Operand grouped(b);
  const Tensor scales = to_device(uniforms(float32, {4, 48}, 4)),
               of_cells = to_device(integers(int32, {4, 48}, 5));
  grouped.scale[0] = {ScaleKind::tensor, 1.0F, scales, 16, 1, 0, 0};
  grouped.azp = of_cells;
  EXPECT_EQ(first(scaled_mm_problem(a, grouped)).reason, "scales that vary along K");
}

// ---- outliers ----------------------------------------------------------------------------------

struct OutlierCase {
  std::int64_t m, n;
  bool down;  // the output's columns lie together
};

TEST(Sm90Outliers, OfColumnsAndOfElements) {
  // Behind the last that a device has found there is -1.
  const Tensor columns = Tensor::empty(int64, {5});
  constexpr std::int64_t kColumns[] = {2, 17, 49, -1, -1};
  std::copy_n(kColumns, 5, columns.data_as<std::int64_t>());
  // Of 5000 lines a thread has several.
  for (const OutlierCase& c :
       {OutlierCase{70, 30, false}, {70, 30, true}, {5000, 3, false}, {3, 5000, true}}) {
    for (const bool original : {false, true}) {
      for (const float threshold : {0.0F, 1.0F}) {
        for (const bool whole : {false, true}) {
          const bool pass = c.m * c.n > 5000;  // that both backends have
          if ((pass || c.down) && original != whole) continue;
          if (pass && original != (threshold > 0)) continue;  // seconds
          const auto make = [&](TensorsOf& tensors) {
            Member p;
            p.a.data = tensors(codes(int8, {c.m, 50}, 1));
            p.b.data = tensors(codes(int8, {c.n, 50}, 2).transposed());
            p.a.scale[0] = scale(tensors(uniforms(float32, {c.m, 1}, 3)), 1, kWholeExtent);
            p.b.scale[0] = scale(tensors(uniforms(float32, {1, c.n}, 4)), kWholeExtent, 1);
            Outliers& o = p.epilogue.outliers;
            o.a = tensors(gaussians(float16, {c.m, 50}, 5));
            o.columns = ColumnList(tensors(columns));
            if (!tensors.on_device()) o.columns.count = 3;
            if (original) o.weight = tensors(gaussians(bfloat16, {50, c.n}, 6));
            o.threshold = threshold;
            if (whole) o.whole = ColumnList(tensors(columns).slice(0, 1, 2));
            p.epilogue.bias = tensors(gaussians(float32, {c.n}, 7));
            p.epilogue.bias.strides[0] = 0;
            if (original) put_zero_points(tensors, kBoth[6], c.m, c.n, 500, p);
            const DType out = pass ? float8_e4m3fnuz : bfloat16;
            p.out = c.down ? tensors.out(Tensor::empty(out, {c.n, c.m}).transposed())
                           : tensors.out(Tensor::empty(out, {c.m, c.n}));
            return p;
          };
          expect_same_member(make, {}, pass ? std::vector{kBackends[0]} : kBackends);
        }
      }
    }
  }
}

// More than are brought to shared memory at a time.
TEST(Sm90Outliers, OfManyColumns) {
  constexpr std::int64_t kN = 75, kListed = 37;
  const Tensor columns = Tensor::empty(int64, {kListed});
  for (std::int64_t i = 0; i < kListed; ++i)
    columns.data_as<std::int64_t>()[i] = i * 5 / 2 + (i > 16 ? 3 : 0);
  struct Shape {
    std::int64_t m, k;
  };
  constexpr std::int64_t kCutK = 5000;  // between the CTAs of Hopper's clusters
  for (const Shape& s : {Shape{70, 100}, {9, 100}, {30, kCutK}, {40, 100}, {150, kCutK}}) {
    for (const bool original : {false, true}) {
      const DType out = original ? int8 : float32;
      expect_same_member([&](TensorsOf& tensors) {
        Member p;
        p.a.data = tensors(codes(int8, {s.m, s.k}, 1));
        p.b.data = tensors(codes(int8, {kN, s.k}, 2).transposed());
        p.a.scale[0] = scale(tensors(uniforms(float32, {s.m, 1}, 3)), 1, kWholeExtent);
        p.b.scale[0] = scale(tensors(uniforms(float32, {1, kN}, 4)), kWholeExtent, 1);
        Outliers& o = p.epilogue.outliers;
        o.a = tensors(gaussians(bfloat16, {s.m, s.k}, 5));
        o.columns = ColumnList(tensors(columns));
        if (original) o.weight = tensors(gaussians(float16, {s.k, kN}, 6));
        p.out = tensors.out(Tensor::empty(out, {s.m, kN}));
        return p;
      });
    }
  }
}

// Where none was found there is nothing to add, not even 0 to -0.
TEST(Sm90Outliers, WithoutOneNothingChanges) {
  const Tensor none = Tensor::empty(int64, {50});
  std::fill_n(none.data_as<std::int64_t>(), 50, -1);
  expect_same_member([&](TensorsOf& tensors) {
    Member p;
    p.a.data = tensors(integers(int8, {7, 50}, 1, 0, 0));
    p.b.data = tensors(codes(int8, {50, 3}, 2));
    p.a.scale[0].kind = ScaleKind::number;
    p.a.scale[0].number = -1.0F;
    Outliers& o = p.epilogue.outliers;
    o.a = tensors(gaussians(float16, {7, 50}, 5));
    if (tensors.on_device()) o.columns = ColumnList(tensors(none));
    p.out = tensors.out(Tensor::empty(float32, {7, 3}));
    return p;
  });
}

}  // namespace
}  // namespace octavo::test::dense_terms_test
