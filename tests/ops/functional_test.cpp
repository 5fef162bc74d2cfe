// SPDX-License-Identifier: Apache-2.0
// PyTorch's recipes: every pair, padded and swizzled layouts, grouped shapes, two-level scales.
#include "octavo/functional.hpp"

#include "ops/helpers.hpp"

namespace octavo::test::functional_test {
namespace {

using functional::RecipeScale;
using functional::ScalingType;
using functional::SwizzleType;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

struct Recipe {
  const char* name;
  ScalingType type;
  DType dtype;
  std::int64_t rows, cols;  // elements of [outer, K] under one scale; 0: all of them
};
constexpr Recipe kRecipes[] = {
    {"TensorWise", ScalingType::TensorWise, float32, 0, 0},
    {"RowWise", ScalingType::RowWise, float32, 1, 0},
    {"BlockWise1x16", ScalingType::BlockWise1x16, float8_e4m3fn, 1, 16},
    {"BlockWise1x32", ScalingType::BlockWise1x32, float8_e8m0fnu, 1, 32},
    {"BlockWise1x128", ScalingType::BlockWise1x128, float32, 1, 128},
    {"BlockWise128x128", ScalingType::BlockWise128x128, float32, 128, 128},
};

// A recipe's scales in their natural shape [cells of outer, cells of K].
Tensor natural_scales(const Recipe& r, std::int64_t outer, std::int64_t k, unsigned seed) {
  const std::int64_t down = r.rows == 0 ? 1 : ceil_div(outer, r.rows);
  const std::int64_t across = r.cols == 0 ? 1 : ceil_div(k, r.cols);
  return tensor_of(r.dtype, {down, across}, [&](std::int64_t i) {
    return std::exp2(static_cast<double>((i * 7 + seed) % 5) - 3.0);
  });
}
double scale_at(const Recipe& r, const Tensor& s, std::int64_t outer, std::int64_t k) {
  return at(s, r.rows == 0 ? 0 : outer / r.rows, r.cols == 0 ? 0 : k / r.cols);
}

// The shape that the entry point wants: RowWise of B is [1, N].
TensorView given(const Recipe& r, const Tensor& s, Side side) {
  return r.type == ScalingType::RowWise && side == Side::b ? s.view().transposed() : s.view();
}

TEST(Functional, EveryPairOfRecipes) {
  constexpr std::int64_t m = 130, n = 135, k = 300;
  const Tensor a = integers(float8_e4m3fn, {m, k}, 1, -8, 8);
  const Tensor b = integers(float8_e4m3fn, {k, n}, 2, -8, 8);
  for (const Recipe& ra : kRecipes) {
    for (const Recipe& rb : kRecipes) {
      SCOPED_TRACE(std::string(ra.name) + " x " + rb.name);
      const Tensor sa = natural_scales(ra, m, k, 3);
      const Tensor sb = natural_scales(rb, n, k, 4);
      const RecipeScale pa{given(ra, sa, Side::a), ra.type};
      const RecipeScale pb{given(rb, sb, Side::b), rb.type};
      functional::Options o;
      o.output_dtype = float32;
      const Tensor out = functional::scaled_mm(a, b, {&pa, 1}, {&pb, 1}, o);
      for (std::int64_t i = 0; i < m; i += 43) {
        for (std::int64_t j = 0; j < n; j += 27) {
          Sum sum;
          for (std::int64_t p = 0; p < k; ++p) {
            sum.add(at(a, i, p) * scale_at(ra, sa, i, p) * at(b, p, j) * scale_at(rb, sb, j, p));
          }
          expect_near(out, i, j, sum, k, k);
        }
      }
    }
  }
}

TEST(Functional, TheDefaultOutputIsBfloat16) {
  const Tensor a = integers(float8_e4m3fn, {2, 4}, 1, -8, 8);
  const Tensor one = values(float32, {1}, {1});
  const RecipeScale s{one};
  EXPECT_EQ(functional::scaled_mm(a, a.transposed(), {&s, 1}, {&s, 1}).dtype(), bfloat16);
}

// PyTorch's layout of 128 x 128 blocks: [L4, cells of outer], strides [1, L4],
// L4 = round_up(cells of K, 4).
Strided padded(const Tensor& natural) {
  const std::int64_t down = natural.size(0);
  const std::int64_t across = natural.size(1);
  const std::int64_t l4 = ceil_div(across, 4) * 4;
  const Tensor wide = tensor_of(float32, {l4, down}, [&](std::int64_t i) {
    const std::int64_t kb = i / down;
    return kb < across ? at(natural, i % down, kb) : 1e30;  // padding that must not be read
  });
  return strided(wide, {1, l4});
}

TEST(Functional, PaddedBlocksOfEveryKAreTheNaturalOnes) {
  const Recipe& blocks = kRecipes[5];
  for (const std::int64_t k : {128, 256, 384, 512, 640, 1280}) {
    for (const std::int64_t n : {100, 130, 512}) {
      SCOPED_TRACE(std::to_string(k) + " " + std::to_string(n));
      const Tensor a = integers(float8_e4m3fn, {3, k}, 1, -8, 8);
      const Tensor b = integers(float8_e4m3fn, {k, n}, 2, -8, 8);
      const Tensor sa = natural_scales(blocks, 3, k, 3);
      const Tensor sb = natural_scales(blocks, n, k, 5);
      const Strided pa = padded(sa);
      const Strided pb = padded(sb);
      const RecipeScale natural_a{sa, blocks.type};
      const RecipeScale natural_b{sb, blocks.type};
      const RecipeScale padded_a{pa.view, blocks.type};
      const RecipeScale padded_b{pb.view, blocks.type};
      const Tensor want = scaled_mm(a, b,
                                    {.scale_a = Scale(sa, block(128, 128)),
                                     .scale_b = Scale(sb.transposed(), block(128, 128)),
                                     .out_dtype = bfloat16});
      expect_same_bits(functional::scaled_mm(a, b, {&padded_a, 1}, {&padded_b, 1}), want);
      const std::int64_t down = ceil_div(n, 128);
      if (down == ceil_div(k, 128) && down > 1) continue;  // a square: padded alone
      expect_same_bits(functional::scaled_mm(a, b, {&natural_a, 1}, {&natural_b, 1}), want);
    }
  }
}

// Equal values mean the same thing, however they lie: a square scale is read in one way or refused.
TEST(Functional, StridesNeverChooseWhatASquareOfBlocksMeans) {
  const Recipe& blocks = kRecipes[5];
  const Tensor a = integers(float8_e4m3fn, {3, 512}, 1, -8, 8);
  const Tensor b = integers(float8_e4m3fn, {512, 512}, 2, -8, 8);
  const Tensor sa = natural_scales(blocks, 3, 512, 3);
  const RecipeScale first{sa, blocks.type};
  const Tensor square = natural_scales(blocks, 512, 512, 5);
  const Strided pytorch = strided(square, {1, 4});
  const Tensor want = scaled_mm(a, b,
                                {.scale_a = Scale(sa, block(128, 128)),
                                 .scale_b = Scale(square, block(128, 128)),  // [K, N]: transposed
                                 .out_dtype = bfloat16});
  const RecipeScale padded_b{pytorch.view, blocks.type};
  expect_same_bits(functional::scaled_mm(a, b, {&first, 1}, {&padded_b, 1}), want);
  for (const Strided& other : {strided(square, {4, 1}), strided(square, {8, 1}),
                               strided(square, {1, 8}), strided(square, {2, 8})}) {
    const RecipeScale refused{other.view, blocks.type};
    EXPECT_THROW((void)functional::scaled_mm(a, b, {&first, 1}, {&refused, 1}), Error);
  }
}

// 128 x 4 tiles, each stored as 32 x 4 x 4: row r of a tile is at (r % 32) * 16 + (r / 32) * 4.
Tensor swizzled(const Tensor& natural) {
  const std::int64_t outer = natural.size(0);
  const std::int64_t across = natural.size(1);
  const std::int64_t tiles_across = ceil_div(across, 4);
  const std::int64_t count = ceil_div(outer, 128) * tiles_across * 512;
  const Tensor t = tensor_of(natural.dtype(), {count}, [](std::int64_t) { return 448.0; });
  for (std::int64_t r = 0; r < outer; ++r) {
    for (std::int64_t c = 0; c < across; ++c) {
      const std::int64_t tile = (r / 128) * tiles_across + c / 4;
      const std::int64_t place = tile * 512 + (r % 32) * 16 + (r % 128) / 32 * 4 + c % 4;
      t.data_as<std::uint8_t>()[place] = natural.data_as<std::uint8_t>()[r * across + c];
    }
  }
  return t;
}

TEST(Functional, SwizzledScalesOfAnySizeAreTheNaturalOnes) {
  const std::int64_t sizes[][3] = {{1, 1, 1}, {33, 200, 100}, {128, 64, 128}, {129, 5, 417}};
  for (const auto& [m, n, k] : sizes) {
    for (const Recipe& r : {kRecipes[2], kRecipes[3]}) {
      SCOPED_TRACE(std::string(r.name) + " " + std::to_string(m));
      const Tensor a = integers(float8_e4m3fn, {m, k}, 1, -8, 8);
      const Tensor b = integers(float8_e4m3fn, {k, n}, 2, -8, 8);
      const Tensor sa = natural_scales(r, m, k, 3);
      const Tensor sb = natural_scales(r, n, k, 4);
      const Tensor za = swizzled(sa);
      const Tensor zb = swizzled(sb);
      const RecipeScale natural_a{sa, r.type};
      const RecipeScale natural_b{sb, r.type};
      const RecipeScale swizzled_a{za, r.type, SwizzleType::SWIZZLE_32_4_4};
      const RecipeScale swizzled_b{zb, r.type, SwizzleType::SWIZZLE_32_4_4};
      const Tensor want = functional::scaled_mm(a, b, {&natural_a, 1}, {&natural_b, 1});
      expect_same_bits(functional::scaled_mm(a, b, {&swizzled_a, 1}, {&swizzled_b, 1}), want);
      expect_same_bits(functional::scaled_mm(a, b, {&swizzled_a, 1}, {&natural_b, 1}), want);
    }
  }
}

// The buffers of groups, one after another: of rows [begin, end) of natural, or of its columns.
Tensor swizzled_groups(const Tensor& natural, const std::vector<std::int64_t>& ends, bool rows,
                       std::int64_t spare) {
  std::vector<Tensor> parts;
  std::int64_t begin = 0, count = spare;
  for (const std::int64_t end : ends) {
    const TensorView part = natural.view().slice(rows ? 0 : 1, begin, end);
    parts.push_back(swizzled(copy(part, natural.dtype())));
    if (begin < end) count += parts.back().numel();
    begin = end;
  }
  const Tensor all = tensor_of(natural.dtype(), {count}, [](std::int64_t) { return 448.0; });
  auto* to = all.data_as<std::uint8_t>();
  begin = 0;
  for (std::size_t g = 0; g < ends.size(); begin = ends[g++]) {
    if (begin == ends[g]) continue;
    to = std::copy_n(parts[g].data_as<std::uint8_t>(), parts[g].numel(), to);
  }
  return all;
}

// PyTorch's layouts of grouped MX scales, and those of the forms that it has not.
TEST(Functional, SwizzledScalesOfGroupsAreTheNaturalOnes) {
  const std::int64_t m = 150, n = 140, k = 288;
  const std::vector<std::int64_t> ends{10, 10, 140}, k_ends{32, 32, 256};
  const Tensor offs = values(int32, {3}, {10, 10, 140});
  const Tensor k_offs = values(int32, {3}, {32, 32, 256});
  for (const Recipe& r : {kRecipes[2], kRecipes[3]}) {
    const std::int64_t cell = r.cols;
    const std::vector<std::int64_t> inner_ends{32 / cell, 32 / cell, 256 / cell};
    const Tensor flat_a = integers(float8_e4m3fn, {m, k}, 1, -8, 8);
    const Tensor flat_b = integers(float8_e4m3fn, {k, n}, 2, -8, 8);
    const Tensor deep_a = integers(float8_e4m3fn, {3, m, k}, 3, -8, 8);
    const Tensor deep_b = integers(float8_e4m3fn, {3, k, n}, 4, -8, 8);
    const Tensor sa = natural_scales(r, m, k, 5), sb = natural_scales(r, n, k, 6);
    // Of a 3-D operand: the same natural scales three times, over.
    const auto stacked = [&](const Tensor& natural) {
      const Tensor one = swizzled(natural);
      const Tensor all =
          tensor_of(natural.dtype(), {3, one.numel()}, [](std::int64_t) { return 1.0; });
      const Tensor deep = tensor_of(natural.dtype(), {3, natural.size(0), natural.size(1)},
                                    [](std::int64_t) { return 1.0; });
      for (std::int64_t g = 0; g < 3; ++g) {
        std::copy_n(one.data_as<std::uint8_t>(), one.numel(),
                    all.data_as<std::uint8_t>() + g * one.numel());
        std::copy_n(natural.data_as<std::uint8_t>(), natural.numel(),
                    deep.data_as<std::uint8_t>() + g * natural.numel());
      }
      return std::pair{all, deep};
    };
    const auto [za3, na3] = stacked(sa);
    const auto [zb3, nb3] = stacked(sb);
    const auto check = [&](const char* what, const Tensor& a, const Tensor& b, const Tensor& o,
                           const Tensor& za, const Tensor& zb, const Tensor& na, const Tensor& nb) {
      SCOPED_TRACE(std::string(r.name) + " " + what);
      functional::Options options;
      if (o.defined()) options.offs = o;
      const RecipeScale natural_a{na, r.type}, natural_b{nb, r.type};
      const RecipeScale swizzled_a{za, r.type, SwizzleType::SWIZZLE_32_4_4};
      const RecipeScale swizzled_b{zb, r.type, SwizzleType::SWIZZLE_32_4_4};
      const Tensor want =
          functional::scaled_grouped_mm(a, b, {&natural_a, 1}, {&natural_b, 1}, options);
      for (const RecipeScale* left : {&natural_a, &swizzled_a}) {
        for (const RecipeScale* right : {&natural_b, &swizzled_b}) {
          expect_same_bits(functional::scaled_grouped_mm(a, b, {left, 1}, {right, 1}, options),
                           want);
        }
      }
    };
    for (const std::int64_t spare : {0, 512}) {  // a buffer may be too long
      check("2d 3d", flat_a, deep_b, offs, swizzled_groups(sa, ends, true, spare), zb3, sa, nb3);
      check("3d 2d", deep_a, flat_b, offs, za3, swizzled_groups(sb, ends, true, spare), na3, sb);
      check("2d 2d", flat_a, flat_b, k_offs, swizzled_groups(sa, inner_ends, false, spare),
            swizzled_groups(sb, inner_ends, false, spare), sa, sb);
    }
    check("3d 3d", deep_a, deep_b, {}, za3, zb3, na3, nb3);
  }
}

TEST(Functional, TwoLevelScalesMultiply) {
  const Recipe& r = kRecipes[2];
  const Tensor a = integers(float8_e4m3fn, {5, 40}, 1, -8, 8);
  const Tensor b = integers(float8_e4m3fn, {40, 6}, 2, -8, 8);
  const Tensor sa = natural_scales(r, 5, 40, 3);
  const Tensor sb = natural_scales(r, 6, 40, 4);
  const Tensor global_a = values(float32, {1}, {0.37});
  const Tensor global_b = values(float32, {}, {1.9});
  const RecipeScale pa[] = {{sa, r.type}, {global_a}};
  const RecipeScale pb[] = {{sb, r.type}, {global_b}};
  functional::Options o;
  o.output_dtype = float32;
  const Tensor two = functional::scaled_mm(a, b, pa, pb, o);
  const Tensor one = functional::scaled_mm(a, b, {pa, 1}, {pb, 1}, o);
  for (std::int64_t i = 0; i < 5; ++i) {
    for (std::int64_t j = 0; j < 6; ++j) {
      float t = float_at(one, i, j);  // K-constant levels stand outside the sum
      t *= 0.37F;
      t *= 1.9F;
      EXPECT_EQ(float_at(two, i, j), t);
    }
  }
}

TEST(Functional, KZeroGivesTheBiasAndZerosInTorchCompatibleMode) {
  const Tensor a = Tensor::empty(float8_e4m3fn, {2, 0});
  const Tensor b = Tensor::empty(float8_e4m3fn, {0, 3});
  const Tensor bias = values(float32, {3}, {1, 2, 3});
  const Tensor infinite = values(float32, {1}, {-INFINITY});
  const Tensor unit = values(float32, {1}, {1});
  const RecipeScale s{unit};
  const RecipeScale minus_infinity{infinite};
  functional::Options o;
  o.bias = bias;
  const Tensor out = functional::scaled_mm(a, b, {&s, 1}, {&s, 1}, o);
  for (std::int64_t i = 0; i < 6; ++i) EXPECT_EQ(at(out, i), static_cast<double>(i % 3 + 1));
  o.torch_compat = true;
  const Tensor zeros = functional::scaled_mm(a, b, {&minus_infinity, 1}, {&s, 1}, o);
  for (std::int64_t i = 0; i < 6; ++i) EXPECT_EQ(at(zeros, i), 0.0);
}

// RowWise in grouped products: [M] for a 2-D operand, [G * M] where K is cut, [G, M] for 3-D.
TEST(Functional, GroupedRowWiseShapes) {
  const struct {
    Shape a, b, sa, sb;
    std::vector<double> ends;
  } rows[] = {
      {{7, 16}, {2, 16, 5}, {7}, {2, 5}, {3, 7}},
      {{2, 7, 16}, {16, 5}, {2, 7}, {5}, {2, 5}},
      {{7, 16}, {16, 5}, {2 * 7}, {2 * 5}, {9, 16}},
      {{2, 7, 16}, {2, 16, 5}, {2, 7}, {2, 5}, {}},
  };
  for (const auto& row : rows) {
    const Tensor a = integers(float8_e4m3fn, row.a, 1, -8, 8);
    const Tensor b = integers(float8_e4m3fn, row.b, 2, -8, 8);
    const Tensor sa = uniforms(float32, row.sa, 3);
    const Tensor sb = uniforms(float32, row.sb, 4);
    const Tensor offs = values(int32, {static_cast<std::int64_t>(row.ends.size())}, row.ends);
    const RecipeScale pa{sa, ScalingType::RowWise};
    const RecipeScale pb{sb, ScalingType::RowWise};
    functional::Options o;
    o.output_dtype = float32;
    if (!row.ends.empty()) o.offs = offs;
    const Tensor out = functional::scaled_grouped_mm(a, b, {&pa, 1}, {&pb, 1}, o);
    SCOPED_TRACE(shape_string(a) + " " + shape_string(b));
    const bool inner = row.a.size() == 2 && row.b.size() == 2;
    for (std::int64_t g = 0; g < 2; ++g) {
      const std::int64_t begin =
          row.ends.empty() || g == 0 ? 0 : static_cast<std::int64_t>(row.ends[0]);
      const std::int64_t end =
          row.ends.empty() ? 0 : static_cast<std::int64_t>(row.ends[static_cast<std::size_t>(g)]);
      TensorView x = row.a.size() == 3 ? a.view()[g] : a.view();
      TensorView w = row.b.size() == 3 ? b.view()[g] : b.view();
      TensorView y = out.rank() == 3 ? out.view()[g] : out.view();
      std::int64_t first_row = 0;
      std::int64_t first_col = 0;
      if (inner) {
        x = x.slice(1, begin, end);
        w = w.slice(0, begin, end);
      } else if (row.a.size() == 2) {
        x = x.slice(0, begin, end);
        y = y.slice(0, begin, end);
        first_row = begin;
      } else if (row.b.size() == 2) {
        w = w.slice(1, begin, end);
        y = y.slice(1, begin, end);
        first_col = begin;
      }
      const std::int64_t base_a = row.a.size() == 3 || inner ? g * 7 : first_row;
      const std::int64_t base_b = row.b.size() == 3 || inner ? g * 5 : first_col;
      expect_near(y, x.shape[1], [&](std::int64_t i, std::int64_t j) {
        Sum sum = dot(x, w, i, j);
        sum.times(at(sa, base_a + i) * at(sb, base_b + j));
        return sum;
      });
    }
  }
}

}  // namespace
}  // namespace octavo::test::functional_test
