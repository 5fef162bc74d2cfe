// SPDX-License-Identifier: Apache-2.0
// The general product on a device: members that problem lines do not spell, with the reference's
// bits (the lines themselves: cuda_far_test).
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "backends/cuda/products/general_product.hpp"
#include "cuda/device_kit.hpp"
#include "cuda/passes/two_places.hpp"
#include "support/same_numbers.hpp"

namespace octavo::test::general_product_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// A member here for the reference, and there.
template <class Make>
void expect_same_member(const Make& make, const MatmulOptions& options = {}) {
  TensorsOf here(false), there(true);
  MatmulProblem want;
  want.single = make(here);
  want.options = options;
  run(want, {}, "reference");
  const Member got = make(there);
  const Status status = cuda::run_general(got, options, {kHopper, nullptr});
  ASSERT_TRUE(status.ok()) << status.message();
  expect_same_numbers(to_host(there.outs()[0]), to_host(here.outs()[0]));
}

ScaleView scale(const TensorView& values, std::int64_t rows, std::int64_t cols) {
  return {ScaleKind::tensor, 1.0F, values, rows, cols, 0, 0};
}

TEST(GeneralProductMembers, NanAndInfinityShowWhereTheReferenceShowsThem) {
  for (const DType dtype :
       {float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, bfloat16, float16, float32}) {
    for (const DType out : {float32, float16, float8_e5m2, int8}) {
      expect_same_member([&](TensorsOf& tensors) {
        const auto odd = [&](const Shape& shape, unsigned seed) {
          const Tensor t = gaussians(float32, shape, seed);
          constexpr float kOdd[] = {kNan, kInf, -kInf, 0x1p-140F, -0.0F, 3e38F};
          for (std::int64_t i = 3; i < t.numel(); i += 97) t.data_as<float>()[i] = kOdd[i % 6];
          return t.to(dtype);
        };
        Member p;
        p.a.data = tensors(odd({20, 50}, 1));
        p.b.data = tensors(odd({50, 30}, 2));
        p.a.scale[0] = scale(tensors(uniforms(float32, {20, 4}, 3)), 1, 16);
        p.out = tensors.out(Tensor::empty(out, {20, 30}));
        return p;
      });
    }
  }
}

TEST(GeneralProductMembers, ZeroPointsOfBothOperands) {
  for (const bool cells : {false, true}) {
    for (const DType left : {uint8, bfloat16}) {
      for (const bool one : {false, true}) {
        expect_same_member([&](TensorsOf& tensors) {
          Member p;
          p.a.data = tensors(left == uint8 ? integers(uint8, {20, 50}, 1, 0, 255)
                                           : gaussians(left, {20, 50}, 1));
          p.b.data = tensors(integers(int8, {30, 50}, 2).transposed());
          if (left == uint8) {
            p.a.azp = tensors(integers(int32, {one ? 1 : 20, 1}, 3, -2000000000, 2000000000));
            if (one) p.a.azp = MatrixView(p.a.azp, 20, 1);
            if (one) p.a.azp.strides[0] = 0;
          }
          p.b.scale[0] = cells ? scale(tensors(uniforms(float32, {4, 30}, 4)), 16, 1)
                               : scale(tensors(uniforms(float32, {1, 30}, 4)), kWholeExtent, 1);
          p.b.azp = tensors(integers(int32, {cells ? 4 : 1, 30}, 5));
          p.out = tensors.out(Tensor::empty(float32, {20, 30}));
          return p;
        });
      }
    }
  }
}

TEST(GeneralProductMembers, ExactSumsSaturate) {
  expect_same_member([&](TensorsOf& tensors) {
    Member p;
    p.a.data = tensors(integers(uint8, {20, 500}, 1, 0, 255));
    p.b.data = tensors(integers(int8, {500, 30}, 2, 100, 127));
    p.a.azp = tensors(integers(int32, {20, 1}, 3, -60000, 60000));
    p.out = tensors.out(Tensor::empty(int32, {30, 20}).transposed());
    return p;
  });
}

TEST(GeneralProductMembers, OutliersOfColumnsAndOfElements) {
  // Behind the last that a device has found there is -1.
  const Tensor columns = Tensor::empty(int64, {5});
  constexpr std::int64_t kColumns[] = {2, 17, 49, -1, -1};
  std::copy_n(kColumns, 5, columns.data_as<std::int64_t>());
  for (const bool original : {false, true}) {
    for (const float threshold : {0.0F, 1.0F}) {
      for (const bool whole : {false, true}) {
        expect_same_member([&](TensorsOf& tensors) {
          Member p;
          p.a.data = tensors(integers(int8, {70, 50}, 1));
          p.b.data = tensors(integers(int8, {50, 30}, 2));
          p.a.scale[0] = scale(tensors(uniforms(float32, {70, 1}, 3)), 1, kWholeExtent);
          p.b.scale[0] = scale(tensors(uniforms(float32, {1, 30}, 4)), kWholeExtent, 1);
          Outliers& o = p.epilogue.outliers;
          o.a = tensors(gaussians(float16, {70, 50}, 5));
          o.columns = ColumnList(tensors(columns));
          if (!tensors.on_device()) o.columns.count = 3;
          if (original) o.weight = tensors(gaussians(bfloat16, {50, 30}, 6));
          o.threshold = threshold;
          if (whole) o.whole = ColumnList(tensors(columns).slice(0, 1, 2));
          p.epilogue.bias = tensors(gaussians(float32, {30}, 7));
          p.out = tensors.out(Tensor::empty(bfloat16, {70, 30}));
          return p;
        });
      }
    }
  }
}

// Where none was found there is nothing to add, not even 0 to -0.
TEST(GeneralProductMembers, NoOutliersChangeNothing) {
  const Tensor none = Tensor::empty(int64, {50});
  std::fill_n(none.data_as<std::int64_t>(), 50, -1);
  expect_same_member([&](TensorsOf& tensors) {
    Member p;
    p.a.data = tensors(integers(int8, {7, 50}, 1, 0, 0));
    p.b.data = tensors(integers(int8, {50, 3}, 2));
    p.a.scale[0].kind = ScaleKind::number;
    p.a.scale[0].number = -1.0F;
    Outliers& o = p.epilogue.outliers;
    o.a = tensors(gaussians(float16, {7, 50}, 5));
    if (tensors.on_device()) o.columns = ColumnList(tensors(none));
    p.out = tensors.out(Tensor::empty(float32, {7, 3}));
    return p;
  });
}

TEST(GeneralProductMembers, AnEmptySumMeetsNoScale) {
  for (const bool torch_compat : {false, true}) {
    MatmulOptions options;
    options.torch_compat = torch_compat;
    expect_same_member(
        [&](TensorsOf& tensors) {
          Member p;
          p.a.data = tensors(Tensor::empty(int8, {70, 0}));
          p.b.data = tensors(Tensor::empty(int8, {0, 30}));
          p.a.scale[0].kind = ScaleKind::number;
          p.a.scale[0].number = kNan;
          p.epilogue.bias = tensors(gaussians(float32, {30}, 7));
          p.out = tensors.out(Tensor::empty(float32, {70, 30}));
          return p;
        },
        options);
  }
}

}  // namespace
}  // namespace octavo::test::general_product_test
