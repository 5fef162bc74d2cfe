// SPDX-License-Identifier: Apache-2.0
// Slices of quantised matrices that begin inside a cell of their scales: whatever takes one gives
// what the same part of the whole gives.
#include <algorithm>

#include "kit/oracle/oracle.hpp"
#include "octavo/gradient.hpp"
#include "ops/helpers.hpp"
#include "support/scale_shape.hpp"

namespace octavo::test::slice_test {
namespace {

struct Part {
  std::int64_t begin, end;
};

// The part of a matrix, with the cells that it touches.
Quantized slice(const Quantized& q, Part rows, Part cols) {
  Quantized s = q;
  s.data = copy(q.data.view().slice(0, rows.begin, rows.end).slice(1, cols.begin, cols.end),
                q.data.dtype());
  const auto first = [](std::int64_t begin, std::int64_t cell) {
    return cell == kWholeExtent ? 0 : begin / cell;
  };
  const std::int64_t row = first(rows.begin, q.grid.rows), col = first(cols.begin, q.grid.cols);
  s.row0 = q.grid.rows == kWholeExtent ? 0 : rows.begin - row * q.grid.rows;
  s.col0 = q.grid.cols == kWholeExtent ? 0 : cols.begin - col * q.grid.cols;
  const auto covering = [&](const Tensor& of_cells) {
    if (!of_cells.defined()) return of_cells;
    return copy(of_cells.view()
                    .slice(0, row, row + scale_cells(s.row0 + rows.end - rows.begin, q.grid.rows))
                    .slice(1, col, col + scale_cells(s.col0 + cols.end - cols.begin, q.grid.cols)),
                of_cells.dtype());
  };
  s.scale = covering(q.scale);
  s.azp = covering(q.azp);
  return s;
}

Tensor part(const TensorView& v, Part rows, Part cols) {
  return copy(v.slice(0, rows.begin, rows.end).slice(1, cols.begin, cols.end), v.dtype);
}

constexpr std::int64_t kK = 96, kN = 70;
constexpr Part kAllK{0, kK}, kAllN{0, kN};
const Part kPartsOfK[] = {{0, 96}, {8, 41}, {33, 34}, {20, 92}, {64, 96}, {7, 7}};
const Part kPartsOfN[] = {{0, 70}, {3, 21}, {17, 18}, {10, 70}, {16, 64}, {5, 5}};

const std::vector<Granularity>& granularities() {
  static const std::vector<Granularity> all{
      per_tensor(), per_channel(), group(16),      group(24),     block(32, 16),
      block(10, 7), block(200, 6), block(40, 200), per_element(), per_k()};
  return all;
}

// B [K, N] of every granularity, with zero points and without.
std::vector<Quantized> weights(DType dtype) {
  std::vector<Quantized> all;
  const Tensor w = gaussians(float32, {kK, kN}, 5);
  for (const Granularity& g : granularities()) {
    for (const bool azp : {false, true}) {
      if (azp ? is_float8(dtype) : dtype == uint8) continue;
      all.push_back(quantize(
          w,
          {.dtype = dtype, .granularity = g, .side = octavo::Side::b, .azp = azp, .widen = azp}));
    }
  }
  return all;
}

std::string text_of(const Quantized& q, Part rows, Part cols) {
  return "cells of " + std::to_string(q.grid.rows) + " x " + std::to_string(q.grid.cols) +
         (q.azp.defined() ? " with zero points" : "") + ", [" + std::to_string(rows.begin) + ", " +
         std::to_string(rows.end) + ") x [" + std::to_string(cols.begin) + ", " +
         std::to_string(cols.end) + ")";
}

template <class Body>
void each_slice(DType dtype, const Body& body) {
  for (const Quantized& q : weights(dtype)) {
    for (const Part rows : kPartsOfK) {
      for (const Part cols : kPartsOfN) {
        SCOPED_TRACE(text_of(q, rows, cols));
        body(q, rows, cols, slice(q, rows, cols));
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

class Slice : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, Slice, testing::Values(int8, uint8, float8_e4m3fn, float8_e5m2),
                         [](const auto& row) { return std::string(name(row.param)); });

TEST_P(Slice, IsDequantizedAsPartOfTheWhole) {
  each_slice(GetParam(), [](const Quantized& q, Part rows, Part cols, const Quantized& s) {
    for (const DType out : {float32, bfloat16}) {
      expect_same_bits(dequantize(s, out), part(dequantize(q, out), rows, cols));
    }
    const Quantized turned{s.data.transposed(),
                           s.scale.transposed(),
                           {s.grid.cols, s.grid.rows},
                           s.azp.defined() ? s.azp.transposed() : Tensor(),
                           s.col0,
                           s.row0};
    expect_same_bits(copy(dequantize(turned).transposed(), float32), dequantize(s));
  });
}

TEST_P(Slice, IsPackedAndUnpacked) {
  if (GetParam() == uint8) GTEST_SKIP() << "is not packed";
  each_slice(GetParam(), [](const Quantized&, Part, Part, const Quantized& s) {
    const Quantized back = unpack(pack(s));
    EXPECT_EQ(back.grid, s.grid);
    EXPECT_EQ(back.row0, s.row0);
    EXPECT_EQ(back.col0, s.col0);
    expect_same_bits(back.data, s.data);
    if (s.data.numel() > 0) expect_same_bits(back.scale, s.scale);
    if (s.azp.defined() && s.data.numel() > 0) expect_same_bits(back.azp, s.azp);
  });
}

// Whatever the granularity: columns of the output do not depend on others.
TEST_P(Slice, OfColumnsGivesTheColumnsOfTheProduct) {
  const DType dtype = GetParam();
  const Tensor x = is_float8(dtype) ? gaussians(dtype, {5, kK}, 1) : integers(int8, {5, kK}, 1);
  for (const Quantized& q : weights(dtype)) {
    for (const char* backend : usable_backends()) {
      const ScaledMmOptions o{.out_dtype = float32, .backend = backend};
      const Tensor whole = scaled_mm(x, q, o);
      for (const Part cols : kPartsOfN) {
        SCOPED_TRACE(text_of(q, kAllK, cols));
        const Quantized s = slice(q, kAllK, cols);
        const Tensor want = part(whole, {0, 5}, cols);
        expect_same_bits(scaled_mm(x, s, o), want);
        if (dtype != uint8) expect_same_bits(scaled_mm(x, pack(s), o), want);
        ASSERT_FALSE(HasFailure());
      }
    }
  }
}

// Segments of K end where those of the whole do.
TEST_P(Slice, AlongKIsTheSpecifiedSumOverItsCells) {
  const DType dtype = GetParam();
  const bool integer = !is_float8(dtype);
  for (const Quantized& q : weights(dtype)) {
    for (const Part rows : kPartsOfK) {
      const Part cols{3, 21};
      SCOPED_TRACE(text_of(q, rows, cols));
      const Quantized s = slice(q, rows, cols);
      const std::int64_t depth = rows.end - rows.begin;
      const Tensor x = integer ? integers(int8, {5, depth}, 1) : gaussians(dtype, {5, depth}, 1);
      const Tensor by_reference = scaled_mm(x, s, {.out_dtype = float32, .backend = "reference"});
      expect_same_bits(scaled_mm(x, s, {.out_dtype = float32, .backend = "generic"}), by_reference);
      for (const char* backend : usable_backends()) {
        const Tensor y = Tensor::empty(float32, {5, cols.end - cols.begin});
        const MatmulProblem problem = scaled_mm_problem(x, s, {.out_dtype = float32, .out = y});
        run(problem, {}, *backend == '\0' ? nullptr : backend);
        if (integer) expect_same_bits(y, by_reference);
        const kit::Verdict verdict = kit::compare_exact(problem);
        EXPECT_LE(verdict.max_ratio, 1.0) << verdict.worst;
        if (dtype != uint8)
          expect_same_bits(scaled_mm(x, pack(s), {.out_dtype = float32, .backend = backend}), y);
      }
      if (s.azp.defined() || depth == 0) continue;
      // The oracle reads scales as backends do: once more with one for each element.
      const Tensor all_ones = integers(int8, {depth, cols.end - cols.begin}, 1, 1, 1);
      const Tensor scales = dequantize({all_ones, s.scale, s.grid, {}, s.row0, s.col0});
      Operand by_element(s.data);
      by_element.scale[0] = {ScaleKind::tensor, 1.0F, scales, 1, 1};
      const kit::Verdict verdict = kit::compare_exact(
          scaled_mm_problem(x, by_element, {.out_dtype = float32, .out = by_reference}));
      EXPECT_LE(verdict.max_ratio, 1.0) << verdict.worst;
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST(SliceOfA, OfRowsGivesTheRowsOfTheProduct) {
  const Tensor x = gaussians(float32, {23, kK}, 3);
  for (const DType dtype : {int8, float8_e4m3fn}) {
    const Quantized b =
        quantize(gaussians(float32, {kK, kN}, 5),
                 {.dtype = dtype, .granularity = group(16), .side = octavo::Side::b});
    for (const Granularity& g :
         {per_tensor(), per_token(), group(16), group(24), block(4, 32), block(10, 7)}) {
      const Quantized a = quantize(x, {.dtype = dtype, .granularity = g});
      for (const char* backend : usable_backends()) {
        const ScaledMmOptions o{.out_dtype = float32, .backend = backend};
        const Tensor whole = scaled_mm(a, b, o);
        for (const Part rows : {Part{0, 23}, Part{5, 6}, Part{3, 21}, Part{7, 7}}) {
          SCOPED_TRACE(text_of(a, rows, kAllK));
          expect_same_bits(scaled_mm(slice(a, rows, kAllK), b, o), part(whole, rows, kAllN));
          ASSERT_FALSE(HasFailure());
        }
      }
    }
  }
}

TEST_P(Slice, HasTheGradientsOfThePartOfTheWhole) {
  const DType dtype = GetParam();
  const Tensor x = is_float8(dtype) ? gaussians(dtype, {5, kK}, 1) : integers(int8, {5, kK}, 1);
  const Tensor g = gaussians(float32, {5, kN}, 2);
  const MatmulWanted wanted{.a = true, .b = true};
  for (const Quantized& q : weights(dtype)) {
    if (q.azp.defined() && q.azp.numel() > 1) continue;  // by cells: refused
    const MatmulGradients whole = scaled_mm_vjp(g, x, q, {}, wanted);
    for (const Part rows : kPartsOfK) {  // dA = (g B^T) sums over N alone
      SCOPED_TRACE(text_of(q, rows, kAllN));
      const Tensor of_rows = part(x, {0, 5}, rows);
      const MatmulGradients d = scaled_mm_vjp(g, of_rows, slice(q, rows, kAllN), {}, wanted);
      expect_same_bits(d.a, part(whole.a, {0, 5}, rows));
      expect_same_bits(d.b, part(whole.b, rows, kAllN));
      const Quantized s = slice(q, rows, kAllN);
      if (dtype != uint8) {
        expect_same_bits(scaled_mm_vjp(g, of_rows, pack(s), {}, {.a = true}).a, d.a);
      }
      ASSERT_FALSE(HasFailure());
    }
    for (const Part cols : kPartsOfN) {  // dB = (A^T g) is each column's own
      SCOPED_TRACE(text_of(q, kAllK, cols));
      const MatmulGradients d =
          scaled_mm_vjp(part(g, {0, 5}, cols), x, slice(q, kAllK, cols), {}, {.b = true});
      expect_same_bits(d.b, part(whole.b, kAllK, cols));
      ASSERT_FALSE(HasFailure());
    }
  }
}

// Gradients that add without rounding: those of a slice are the whole's where nothing outside it
// has one.
TEST_P(Slice, GivesEachCellTheGradientsOfItsOwnElements) {
  each_slice(GetParam(), [](const Quantized& q, Part rows, Part cols, const Quantized& s) {
    if (s.data.numel() == 0) return;
    const Tensor g = integers(float32, {rows.end - rows.begin, cols.end - cols.begin}, 3, -4, 4);
    const Tensor all = tensor_of(float32, {kK, kN}, [&](std::int64_t i) {
      const std::int64_t r = i / kN - rows.begin, c = i % kN - cols.begin;
      return r >= 0 && r < g.size(0) && c >= 0 && c < g.size(1) ? at(g, r, c) : 0.0;
    });
    const DequantizeWanted wanted{.data = true, .scale = true, .azp = q.azp.defined()};
    const DequantizeGradients whole = dequantize_vjp(all, q, wanted);
    const DequantizeGradients d = dequantize_vjp(g, s, wanted);
    expect_same_bits(d.data, part(whole.data, rows, cols));
    const Quantized of_cells = slice({q.data, whole.scale, q.grid, whole.azp}, rows, cols);
    expect_same_bits(d.scale, of_cells.scale);
    if (q.azp.defined()) expect_same_bits(d.azp, of_cells.azp);
  });
}

// Sums of quarters, exact in float64.
TEST_P(Slice, IsMeasuredAgainstItsOwnValues) {
  each_slice(GetParam(), [](const Quantized& q, Part rows, Part cols, const Quantized& s) {
    if (s.azp.defined()) return;
    const auto quarters = [](const Tensor& scale) {
      return tensor_of(float32, {scale.size(0), scale.size(1)},
                       [](std::int64_t i) { return static_cast<double>(i % 5 + 1) * 0.25; });
    };
    const Quantized whole{q.data, quarters(q.scale), q.grid, {}};
    const Quantized of_part = slice(whole, rows, cols);
    const Tensor values = integers(float32, {rows.end - rows.begin, cols.end - cols.begin}, 4);
    CodeErrors want;
    const Tensor decoded = part(dequantize(whole), rows, cols);
    for (std::int64_t i = 0; i < values.numel(); ++i) {
      const double error = at(values, i) - at(decoded, i);
      want.signal += at(values, i) * at(values, i);
      want.noise += error * error;
      want.largest = std::max(want.largest, std::abs(error));
    }
    const CodeErrors got = code_errors(values, of_part);
    EXPECT_EQ(got.signal, want.signal);
    EXPECT_NEAR(got.noise, want.noise, want.noise * 18 * 0x1p-24);
    EXPECT_EQ(got.largest, want.largest);
  });
}

}  // namespace
}  // namespace octavo::test::slice_test
