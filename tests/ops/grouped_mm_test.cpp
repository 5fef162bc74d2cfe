// SPDX-License-Identifier: Apache-2.0
// grouped_mm: the four tensor forms against one product per group, offsets, tails, empty groups.
#include "ops/helpers.hpp"

namespace octavo::test::grouped_mm_test {
namespace {

Tensor ends_of(const std::vector<std::int64_t>& ends, DType dtype = int32) {
  return tensor_of(dtype, {static_cast<std::int64_t>(ends.size())}, [&](std::int64_t i) {
    return static_cast<double>(ends[static_cast<std::size_t>(i)]);
  });
}

// The bits of rows (or columns) [begin, end) of out are those of `want`.
void expect_part(const TensorView& out, int dim, std::int64_t begin, std::int64_t end,
                 const TensorView& want) {
  expect_same_bits(out.slice(dim, begin, end), want);
}

void expect_zeros(const TensorView& v) {
  for (const std::uint8_t byte : bytes_of(v)) ASSERT_EQ(byte, 0);
}

class GroupedForms : public testing::TestWithParam<DType> {};

// Output memory is poisoned first, so that what is not written shows.
Tensor poisoned(DType dtype, const Shape& shape) {
  const Tensor t = Tensor::empty(dtype, std::span(shape));
  std::memset(t.data(), 0xA5, static_cast<std::size_t>(t.numel() * element_bytes(dtype)));
  return t;
}

TEST_P(GroupedForms, RowsAreSplitAndRowsPastTheLastOffsetAreZero) {
  const Tensor a = integers(GetParam(), {13, 20}, 1, -8, 8);
  const Tensor b = integers(GetParam(), {4, 20, 7}, 2, -8, 8);
  const Tensor bias = gaussians(float32, {4, 7}, 3);
  const Tensor scale_a = uniforms(float32, {13}, 4);
  const Tensor scale_b = uniforms(float32, {4, 7}, 5);
  const std::vector<std::int64_t> ends{3, 3, 10, 11};
  for (const char* backend : usable_backends()) {
    for (const DType type : {int32, int64}) {
      const Tensor out = poisoned(float32, {13, 7});
      grouped_mm(a, b,
                 {.offs = ends_of(ends, type),
                  .bias = bias,
                  .out_dtype = float32,
                  .scale_a = scale_a,
                  .scale_b = scale_b,
                  .scale_result = 0.75,
                  .out = out,
                  .backend = backend});
      std::int64_t begin = 0;
      for (std::size_t g = 0; g < 4; ++g) {
        const auto index = static_cast<std::int64_t>(g);
        const Tensor want =
            scaled_mm(a.view().slice(0, begin, ends[g]), b.view()[index],
                      {.scale_a = {scale_a.view().slice(0, begin, ends[g]), per_token()},
                       .scale_b = scale_b.view()[index],
                       .bias = bias.view()[index],
                       .scale_result = 0.75,
                       .out_dtype = float32});
        expect_part(out, 0, begin, ends[g], want);
        begin = ends[g];
      }
      expect_zeros(out.view().slice(0, 11, 13));
    }
  }
}

TEST_P(GroupedForms, ColumnsAreSplitAndColumnsPastTheLastOffsetAreZero) {
  const Tensor a = integers(GetParam(), {3, 6, 20}, 1, -8, 8);
  const Tensor b = integers(GetParam(), {20, 12}, 2, -8, 8);
  const Tensor of_columns = gaussians(float32, {12}, 3);
  const Tensor of_elements = gaussians(float32, {6, 12}, 5);
  const Tensor factor = uniforms(float32, {12}, 4, 0.5, 2.0);
  const std::vector<std::int64_t> ends{5, 5, 9};
  for (const char* backend : usable_backends()) {
    for (const Tensor& bias : {of_columns, of_elements}) {
      const Tensor out = poisoned(float32, {6, 12});
      grouped_mm(a, b,
                 {.offs = ends_of(ends),
                  .bias = bias,
                  .out_dtype = float32,
                  .scale_result = factor,
                  .out = out,
                  .backend = backend});
      std::int64_t begin = 0;
      for (std::size_t g = 0; g < 3; ++g) {
        const Tensor want =
            scaled_mm(a.view()[static_cast<std::int64_t>(g)], b.view().slice(1, begin, ends[g]),
                      {.bias = bias.view().slice(bias.rank() - 1, begin, ends[g]),
                       .scale_result = factor.view().slice(0, begin, ends[g]),
                       .out_dtype = float32,
                       .backend = backend});
        expect_part(out, 1, begin, ends[g], want);
        begin = ends[g];
      }
      expect_zeros(out.view().slice(1, 9, 12));
    }
  }
}

TEST_P(GroupedForms, TheInnerDimensionIsSplitAndAnEmptyGroupIsAProductWithKZero) {
  const Tensor a = integers(GetParam(), {5, 40}, 1, -8, 8);
  const Tensor b = integers(GetParam(), {40, 6}, 2, -8, 8);
  const Tensor bias = gaussians(float32, {6}, 3);
  const std::vector<std::int64_t> ends{16, 16, 36};
  for (const char* backend : usable_backends()) {
    const Tensor out = poisoned(float32, {3, 5, 6});
    grouped_mm(a, b,
               {.offs = ends_of(ends),
                .bias = bias,
                .out_dtype = float32,
                .out = out,
                .backend = backend});
    std::int64_t begin = 0;
    for (std::size_t g = 0; g < 3; ++g) {
      const Tensor want =
          scaled_mm(a.view().slice(1, begin, ends[g]), b.view().slice(0, begin, ends[g]),
                    {.bias = bias, .out_dtype = float32, .backend = backend});
      expect_same_bits(out.view()[static_cast<std::int64_t>(g)], want);
      begin = ends[g];
    }
    for (std::int64_t i = 0; i < 5; ++i) {
      for (std::int64_t j = 0; j < 6; ++j) {
        EXPECT_EQ(float_at(out.view()[1], i, j), float_at(bias, j));
      }
    }
  }
}

TEST_P(GroupedForms, BatchesNeedNoOffsets) {
  const Tensor a = integers(GetParam(), {3, 5, 20}, 1, -8, 8);
  const Tensor b = integers(GetParam(), {3, 20, 6}, 2, -8, 8);
  for (const char* backend : usable_backends()) {
    const Tensor out = grouped_mm(a, b, {.out_dtype = float32, .alpha = 0.25, .backend = backend});
    for (std::int64_t g = 0; g < 3; ++g) {
      expect_same_bits(out.view()[g],
                       scaled_mm(a.view()[g], b.view()[g],
                                 {.out_dtype = float32, .alpha = 0.25, .backend = backend}));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, GroupedForms,
                         testing::Values(int8, float8_e4m3fn, bfloat16, float32),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST(GroupedMm, PrefixOffsetsAreEndsBehindAZero) {
  const Tensor a = integers(int8, {9, 8}, 1);
  const Tensor b = integers(int8, {3, 8, 4}, 2);
  const Tensor want = grouped_mm(a, b, {.offs = ends_of({2, 2, 7})});
  for (const DType type : {int32, int64}) {
    expect_same_bits(grouped_mm(a, b, {.offs = ends_of({0, 2, 2, 7}, type), .offs_prefix = true}),
                     want);
  }
  const Strided apart = strided(ends_of({2, 2, 7}), {-3});
  expect_same_bits(grouped_mm(a, b, {.offs = apart.view}), want);
}

TEST(GroupedMm, ZeroGroupsZeroRowsAndZeroColumns) {
  for (const char* backend : usable_backends()) {
    const Tensor none = grouped_mm(integers(int8, {4, 8}, 1), Tensor::empty(int8, {0, 8, 3}),
                                   {.offs = ends_of({}), .backend = backend});
    EXPECT_EQ(shape_string(none), "[4, 3]");
    expect_zeros(none);
    const Tensor inner = grouped_mm(integers(int8, {4, 8}, 1), integers(int8, {8, 3}, 2),
                                    {.offs = ends_of({}), .backend = backend});
    EXPECT_EQ(shape_string(inner), "[0, 4, 3]");
    const Tensor rows = grouped_mm(Tensor::empty(int8, {0, 8}), integers(int8, {2, 8, 3}, 3),
                                   {.offs = ends_of({0, 0}), .backend = backend});
    EXPECT_EQ(shape_string(rows), "[0, 3]");
    const Tensor batch = grouped_mm(Tensor::empty(int8, {2, 4, 8}), Tensor::empty(int8, {2, 8, 0}),
                                    {.backend = backend});
    EXPECT_EQ(shape_string(batch), "[2, 4, 0]");
  }
}

// Scales of a 2-D operand cover the uncut operand: a group that starts inside a block keeps it.
TEST(GroupedMm, BlocksThatStraddleAGroupBoundary) {
  const Tensor a = integers(float8_e4m3fn, {10, 20}, 1, -8, 8);
  const Tensor b = integers(float8_e4m3fn, {2, 20, 6}, 2, -8, 8);
  const Tensor sa = uniforms(float32, {3, 3}, 3);     // blocks of 4 x 8
  const Tensor sb = uniforms(float32, {2, 3, 2}, 4);  // blocks of 8 x 4 within each group
  const Tensor out = grouped_mm(a, b,
                                {.offs = ends_of({3, 10}),
                                 .out_dtype = float32,
                                 .scale_a = {sa, block(4, 8)},
                                 .scale_b = {sb, block(8, 4)}});
  expect_near(
      out, 20,
      [&](std::int64_t i, std::int64_t j) {
        const std::int64_t g = i < 3 ? 0 : 1;
        Sum sum;
        for (std::int64_t k = 0; k < 20; ++k) {
          sum.add(at(a, i, k) * at(sa, i / 4, k / 8) * at(b.view()[g], k, j) *
                  at(sb.view()[g], k / 8, j / 4));
        }
        return sum;
      },
      3);
}

TEST(GroupedMm, ScalesAlongAnInnerSplitKeepTheirPlaceInK) {
  const Tensor a = integers(int8, {4, 30}, 1);
  const Tensor b = integers(int8, {30, 5}, 2);
  const Tensor sa = uniforms(float32, {4, 4}, 3);  // groups of 8 along K
  const Tensor out = grouped_mm(a, b, {.offs = ends_of({10, 30}), .scale_a = {sa, group(8)}});
  for (std::int64_t g = 0; g < 2; ++g) {
    expect_near(
        out.view()[g], 0,
        [&](std::int64_t i, std::int64_t j) {
          Sum sum;
          for (std::int64_t k = g == 0 ? 0 : 10; k < (g == 0 ? 10 : 30); ++k) {
            sum.add(at(a, i, k) * at(sa, i, k / 8) * at(b, k, j));
          }
          return sum;
        },
        8);
  }
}

TEST(GroupedMm, OneScalePerGroup) {
  const Tensor a = integers(int8, {7, 8}, 1);
  const Tensor b = integers(int8, {2, 8, 3}, 2);
  const Tensor sa = values(float32, {2}, {0.5, 0.25});
  const Tensor out = grouped_mm(a, b, {.offs = ends_of({4, 7}), .scale_a = {sa, per_tensor()}});
  for (std::int64_t i = 0; i < 7; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) {
      const std::int64_t g = i < 4 ? 0 : 1;
      EXPECT_EQ(float_at(out, i, j),
                static_cast<float>(exact_dot(a, b.view()[g], i, j)) * float_at(sa, g));
    }
  }
}

// vLLM's shapes keep the operand's dimensions; they mean what PyTorch's do.
TEST(GroupedMm, ScalesThatKeepTheOperandsDimensions) {
  constexpr std::int64_t kGroups = 3, kRows = 12, kDepth = 20, kCols = 7;
  const Tensor a = integers(int8, {kRows, kDepth}, 1);
  const Tensor b = integers(int8, {kGroups, kDepth, kCols}, 2);
  const Tensor ends = values(DType::int32, {kGroups}, {5, 5, 11});
  const Tensor rows = uniforms(float32, {kRows}, 3);
  const Tensor columns = uniforms(float32, {kGroups, kCols}, 4);
  const Tensor groups = uniforms(float32, {kGroups}, 5);
  const auto reshaped = [](const Tensor& t, std::initializer_list<std::int64_t> shape) {
    return TensorView(t.data(), float32, shape);
  };
  const auto run = [&](const Scale& scale_a, const Scale& scale_b) {
    return grouped_mm(a, b, {.offs = ends, .scale_a = scale_a, .scale_b = scale_b});
  };
  const Tensor want = run(rows, columns);
  expect_same_bits(run(reshaped(rows, {kRows, 1}), columns), want);
  expect_same_bits(run(rows, reshaped(columns, {kGroups, 1, kCols})), want);
  expect_same_bits(run(rows, reshaped(groups, {kGroups, 1})), run(rows, {groups, per_tensor()}));
  const Tensor grad = gaussians(float32, {kRows, kCols}, 6);
  const MatmulWanted wanted{.scale_a = true, .scale_b = true};
  const auto gradients = [&](const Scale& scale_a, const Scale& scale_b) {
    return grouped_mm_vjp(grad, a, b, {.offs = ends, .scale_a = scale_a, .scale_b = scale_b},
                          wanted);
  };
  const MatmulGradients one = gradients(rows, columns);
  const MatmulGradients other =
      gradients(reshaped(rows, {kRows, 1}), reshaped(columns, {kGroups, 1, kCols}));
  EXPECT_EQ(shape_string(other.scale_a), "[12, 1]");
  EXPECT_EQ(shape_string(other.scale_b), "[3, 1, 7]");
  expect_same_bits(reshaped(other.scale_a, {kRows}), one.scale_a);
  expect_same_bits(reshaped(other.scale_b, {kGroups, kCols}), one.scale_b);
}

TEST(GroupedMm, ZeroPointsFollowTheRowsOfAGroup) {
  const Tensor a = integers(uint8, {6, 8}, 1, 0, 255);
  const Tensor b = integers(int8, {2, 8, 3}, 2);
  const Tensor azp = values(int32, {6, 1}, {1, 2, 3, 100, 200, 255});
  Operand with_azp(a);
  with_azp.azp = azp;
  for (const char* backend : usable_backends()) {
    const Tensor out = grouped_mm(with_azp, b, {.offs = ends_of({2, 6}), .backend = backend});
    for (std::int64_t i = 0; i < 6; ++i) {
      for (std::int64_t j = 0; j < 3; ++j) {
        const TensorView w = b.view()[i < 2 ? 0 : 1];
        std::int64_t sum = 0;
        for (std::int64_t k = 0; k < 8; ++k) {
          sum += static_cast<std::int64_t>((at(a, i, k) - at(azp, i)) * at(w, k, j));
        }
        EXPECT_EQ(float_at(out, i, j), static_cast<float>(sum));
      }
    }
  }
}

TEST(GroupedMm, ListEntriesHaveTheirOwnTypesScalesAndOutputs) {
  const std::vector<Tensor> x{integers(int8, {3, 4}, 1), gaussians(bfloat16, {2, 2, 6}, 2)};
  const std::vector<Tensor> w{integers(int8, {4, 5}, 3), integers(int8, {6, 7}, 4)};
  const Tensor s0 = uniforms(float32, {3, 1}, 5);
  const Tensor s1 = uniforms(float32, {7}, 6);
  const std::vector<Scale> sa{s0, {}};
  const std::vector<Scale> sb{{}, s1};
  // A transposed output of rank 3: its leading dimensions do not merge into rows.
  const Tensor base = Tensor::empty(bfloat16, {2, 7, 2});
  TensorView apart = base.view();
  apart.shape = {2, 2, 7};
  apart.strides = {1, 14, 2};
  const std::vector<TensorView> outs{{}, apart};
  const std::vector<Operand> inputs(x.begin(), x.end());
  const std::vector<Operand> weights(w.begin(), w.end());
  const std::vector<Tensor> got =
      grouped_mm(inputs, weights, {.biases = {}, .scales_a = sa, .scales_b = sb, .outs = outs});
  expect_same_bits(got[0], scaled_mm(x[0], w[0], {.scale_a = s0}));
  EXPECT_EQ(got[1].data(), base.data());
  const TensorView rows(x[1].data(), bfloat16, {4, 6});
  const Tensor want = scaled_mm(rows, w[1], {.scale_b = s1});
  expect_same_bits(apart, TensorView(want.data(), bfloat16, {2, 2, 7}));
}

TEST(GroupedMm, PackedWeightsInALists) {
  const Tensor x = gaussians(float32, {3, 4}, 1);
  const Tensor w = gaussians(float32, {4, 5}, 2);
  const PackedWeight packed = pack(w);
  const std::vector<Operand> inputs{x, x};
  const std::vector<Operand> weights{packed, w};
  const std::vector<Tensor> got = grouped_mm(inputs, weights);
  expect_same_bits(got[0], got[1]);
}

// What entry 1 has lies at every distance from the output of entry 0: it is refused where they
// share a byte, and nowhere else.
TEST(GroupedMm, OutputsOfAListMayLieBesideAnythingAndOnNothing) {
  const Tensor x = gaussians(float32, {1, 4}, 1);
  const Tensor w = gaussians(float32, {4, 4}, 2);
  const Tensor arena = Tensor::empty(float32, {64});
  std::memset(arena.data(), 0, 256);
  constexpr std::int64_t kOut = 28;
  const TensorView out(arena.view().at(kOut), float32, {1, 4});
  struct Place {
    const char* word;
    Shape shape;
    void (*put)(std::vector<Operand>& inputs, std::vector<Operand>& weights,
                std::vector<TensorView>& biases, std::vector<Scale>& scales,
                std::vector<TensorView>& outs, const TensorView& view);
  };
  const Place places[] = {
      {"outs", {1, 4}, [](auto&, auto&, auto&, auto&, auto& outs, auto& v) { outs[1] = v; }},
      {"inputs", {1, 4}, [](auto& inputs, auto&, auto&, auto&, auto&, auto& v) { inputs[1] = v; }},
      {"weights",
       {4, 4},
       [](auto&, auto& weights, auto&, auto&, auto&, auto& v) { weights[1] = v; }},
      {"biases", {4}, [](auto&, auto&, auto& biases, auto&, auto&, auto& v) { biases[1] = v; }},
      {"scales_b", {4}, [](auto&, auto&, auto&, auto& scales, auto&, auto& v) { scales[1] = v; }},
  };
  for (const Place& place : places) {
    const std::int64_t size = place.shape.size() > 1 ? place.shape[0] * place.shape[1] : 4;
    for (std::int64_t at = kOut - size - 2; at <= kOut + 6; ++at) {
      SCOPED_TRACE(place.word + std::string(" at ") + std::to_string(at));
      std::vector<Operand> inputs{x, x}, weights{w, w};
      std::vector<TensorView> biases(2), outs{out, {}};
      std::vector<Scale> scales(2);
      const TensorView view(arena.view().at(at), float32, place.shape);
      place.put(inputs, weights, biases, scales, outs, view);
      const auto call = [&] {
        (void)grouped_mm(inputs, weights, {.biases = biases, .scales_b = scales, .outs = outs});
      };
      if (at + size <= kOut || at >= kOut + 4) {
        EXPECT_NO_THROW(call());
      } else {
        expect_error(call, Code::invalid_argument,
                     std::string("grouped_mm: outs[0] must not overlap ") + place.word + "[1]");
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::grouped_mm_test
