// SPDX-License-Identifier: Apache-2.0
// Weights in parts: put together again they are the whole, bit for bit, and they multiply as it.
#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "checkpoint/same_weight.hpp"
#include "checkpoint/support.hpp"
#include "octavo/checkpoint/sharding.hpp"
#include "octavo/layers.hpp"
#include "octavo/llm_int8.hpp"
#include "ops/helpers.hpp"
#include "support/scale_shape.hpp"

namespace octavo::test::shard_test {
namespace {

constexpr ShardAxis kAxes[] = {ShardAxis::columns, ShardAxis::rows};

class Draw {
 public:
  explicit Draw(unsigned seed) : bits_(seed) {}
  std::int64_t operator()(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(bits_() % static_cast<std::uint64_t>(high - low + 1));
  }
  template <class T>
  const T& one_of(const std::vector<T>& list) {
    return list[static_cast<std::size_t>((*this)(0, static_cast<std::int64_t>(list.size()) - 1))];
  }

 private:
  std::mt19937_64 bits_;
};

// Any bytes are codes; one pool of them keeps ten thousand layers cheap.
Tensor any_codes(Draw& draw, DType dtype, std::int64_t n, std::int64_t k) {
  static const Tensor pool = integers(uint8, {8192}, 11, 0, 255);
  TensorView part = pool.view().slice(0, draw(0, 1000), 8192);
  part.dtype = dtype;
  part.rank = 2;
  part.shape = {n, k};
  part.strides = {k, 1};
  if (is_wide(dtype)) return gaussians(dtype, {n, k}, static_cast<unsigned>(draw(0, 1 << 20)));
  return copy(part, dtype);
}

Tensor list_of(const std::vector<std::int64_t>& columns) {
  if (columns.empty()) return {};
  return values(int64, {static_cast<std::int64_t>(columns.size())},
                {columns.begin(), columns.end()});
}

// A layer of any scheme: what the canonical form can say.
Weight any_layer(Draw& draw) {
  const std::int64_t n = draw(0, 40), k = draw(0, 60);
  Weight w;
  const std::int64_t kind = draw(0, 7);
  if (kind == 0) {
    w.codes.data = any_codes(draw, draw.one_of<DType>({float32, bfloat16}), n, k);
    w.scheme = "none";
    return w;
  }
  const bool mx = kind == 1, llm_int8 = kind == 2;
  const DType dtype = mx         ? float8_e4m3fn
                      : llm_int8 ? int8
                                 : draw.one_of<DType>({int8, float8_e4m3fn, float8_e5m2});
  w.codes.data = any_codes(draw, dtype, n, k);
  w.codes.grid = draw.one_of<ScaleGrid>({{1, kWholeExtent},
                                         {},
                                         {1, draw(1, 20)},
                                         {draw(1, 20), draw(1, 20)},
                                         {draw(1, 60), kWholeExtent},
                                         {kWholeExtent, draw(1, 20)},
                                         {kWholeExtent, 1},
                                         {1, 1}});
  if (mx) w.codes.grid = {1, 32};
  if (llm_int8) w.codes.grid = {1, kWholeExtent};
  const Shape of_cells{scale_cells(n, w.codes.grid.rows), scale_cells(k, w.codes.grid.cols)};
  const auto seed = static_cast<unsigned>(draw(0, 1 << 20));
  w.codes.scale = uniforms(float32, of_cells, seed);
  if (mx) {
    w.codes.scale = copy(w.codes.scale, float8_e8m0fnu);
  } else if (dtype == int8 && !llm_int8 && draw(0, 2) == 0) {
    w.codes.azp = integers(int32, of_cells, seed + 1);
  }
  w.scheme = mx ? "mxfp8" : llm_int8 ? "llm-int8" : dtype == int8 ? "int8-dynamic" : "fp8-block";
  w.activation = ActivationQuant{};
  w.activation->spec.dtype = dtype == float8_e5m2 ? float8_e4m3fn : dtype;
  if (llm_int8) {
    w.absmax = uniforms(float32, {n}, seed + 2, 1.0, 2.0);
    w.activation->vectorwise = true;
    w.activation->outlier_threshold = 6.0F;
    std::vector<std::int64_t> outliers;
    for (std::int64_t j = draw(0, 30); j < k; j += draw(1, 30)) outliers.push_back(j);
    w.activation->outlier_columns = list_of(outliers);
  } else if (draw(0, 3) == 0) {
    w.activation->spec.granularity = group(draw(1, 70));
  } else if (draw(0, 3) == 0) {
    w.activation->spec.granularity = per_tensor();
    w.activation->static_scale = 0.25F;
  } else if (k > 0 && draw(0, 3) == 0) {  // act-order
    std::vector<std::int64_t> order(static_cast<std::size_t>(k));
    std::iota(order.begin(), order.end(), 0);
    std::rotate(order.begin(), order.begin() + draw(0, k - 1), order.end());
    std::swap(order.front(), order.back());
    w.columns = list_of(order);
    w.activation.reset();
  }
  return w;
}

std::int64_t extent_of(const Weight& w, ShardAxis axis) {
  return w.codes.data.size(axis == ShardAxis::columns ? 0 : 1);
}

// Borders anywhere, parts of nothing among them.
std::vector<ShardRange> any_ranges(Draw& draw, std::int64_t extent) {
  std::vector<std::int64_t> borders{0, extent};
  for (std::int64_t i = draw(0, 5); i > 0; --i) borders.push_back(draw(0, extent));
  std::ranges::sort(borders);
  std::vector<ShardRange> ranges;
  for (std::size_t i = 1; i < borders.size(); ++i) ranges.push_back({borders[i - 1], borders[i]});
  return ranges;
}

std::vector<ShardRange> ranks(const Weight& w, ShardAxis axis, std::int64_t world) {
  std::vector<ShardRange> ranges;
  for (std::int64_t r = 0; r < world; ++r) ranges.push_back(shard_range(w, axis, r, world));
  return ranges;
}

std::vector<Weight> parts_of(const Weight& w, ShardAxis axis,
                             const std::vector<ShardRange>& ranges) {
  std::vector<Weight> parts;
  for (const ShardRange& range : ranges) parts.push_back(shard(w, axis, range));
  return parts;
}

Tensor part_of(const TensorView& v, int dim, const ShardRange& range) {
  return copy(v.slice(dim, range.begin, range.end), v.dtype);
}

// Element (i, j) of codes and scales of a part are those of the whole.
void expect_values(const Weight& w, const std::vector<Weight>& parts, ShardAxis axis,
                   const std::vector<ShardRange>& ranges) {
  if (!w.codes.scale.defined()) return;
  const Tensor values = dequantize(w.codes);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Tensor want = part_of(values, axis == ShardAxis::columns ? 0 : 1, ranges[i]);
    expect_same_bits(dequantize(parts[i].codes), want);
  }
}

TEST(Shard, OfTenThousandLayersAndSplitsComesTogetherAgain) {
  for (unsigned seed = 0; seed < 10000; ++seed) {
    Draw draw(seed);
    const Weight w = any_layer(draw);
    const ShardAxis axis = kAxes[draw(0, 1)];
    const bool by_rank = draw(0, 1) == 0;
    const auto ranges =
        by_rank ? ranks(w, axis, draw(1, 70)) : any_ranges(draw, extent_of(w, axis));
    const std::vector<Weight> parts = parts_of(w, axis, ranges);
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_same_weight(unshard(parts, axis), w);
    if (seed % 10 == 0) expect_values(w, parts, axis, ranges);
    // Parts of parts, too, which begin inside cells.
    const auto middle =
        static_cast<std::size_t>(draw(0, static_cast<std::int64_t>(parts.size()) - 1));
    const Weight& part = parts[middle];
    const auto again = any_ranges(draw, extent_of(part, kAxes[seed % 2]));
    const std::vector<Weight> smaller = parts_of(part, kAxes[seed % 2], again);
    expect_same_weight(unshard(smaller, kAxes[seed % 2]), part);
    if (seed % 10 == 0) expect_values(part, smaller, kAxes[seed % 2], again);
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

TEST(Shard, OfRanksIsMadeOfWholeCells) {
  Weight w;
  w.codes.data = Tensor::empty(float8_e4m3fn, {1000, 4096});
  w.codes.grid = {128, 128};
  w.codes.scale = Tensor::empty(float32, {8, 32});
  EXPECT_EQ(shard_cell(w, ShardAxis::rows), 128);
  EXPECT_EQ(shard_range(w, ShardAxis::rows, 1, 3), (ShardRange{1280, 2688}));
  EXPECT_EQ(shard_range(w, ShardAxis::columns, 2, 3), (ShardRange{640, 1000}));
  // Groups of activations are cells, too: 96 and 128 both end every 384 elements.
  w.codes.grid = {1, 96};
  w.codes.scale = Tensor::empty(float32, {1000, 43});
  w.activation = ActivationQuant{};
  w.activation->spec.granularity = group(128);
  EXPECT_EQ(shard_cell(w, ShardAxis::rows), 384);
  EXPECT_EQ(shard_cell(w, ShardAxis::columns), 1);
  EXPECT_EQ(shard(w, ShardAxis::rows, 1, 2).codes.data.size(1) % 384, 4096 % 384);
  // One block over all of K could have been shorter; one row's scale could not.
  w.codes.grid = {5000, 5000};
  EXPECT_EQ(shard_cell(w, ShardAxis::rows), 4096);
  EXPECT_EQ(shard_cell(w, ShardAxis::columns), 1);
  w.codes.grid = {1, kWholeExtent};
  w.activation->spec.granularity = per_token();
  EXPECT_EQ(shard_cell(w, ShardAxis::rows), 1);
}

// What a product of columns needs is in the rank's part.
TEST(Shard, ByColumnsMultipliesToTheBitsOfTheColumns) {
  int products = 0;
  for (unsigned seed = 0; products < 300; ++seed) {
    Draw draw(seed);
    const Weight w = any_layer(draw);
    if (w.columns.defined() || w.codes.azp.defined() || w.codes.data.dtype() == float8_e5m2)
      continue;
    if (w.activation && w.activation->vectorwise && w.codes.data.size(1) == 0) continue;
    ++products;
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Tensor x = gaussians(bfloat16, {3, w.codes.data.size(1)}, seed, 4.0);
    const Tensor y = QuantizedLinear(w)(x);
    for (const ShardRange& range : any_ranges(draw, w.codes.data.size(0))) {
      expect_same_bits(QuantizedLinear(shard(w, ShardAxis::columns, range))(x),
                       part_of(y, 1, range));
    }
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

// Sums of integers are exact: those of the parts add up to those of the whole.
TEST(Shard, ByRowsOfIntegersAddsUpExactly) {
  int products = 0;
  for (unsigned seed = 0; products < 300; ++seed) {
    Draw draw(seed);
    const Weight w = any_layer(draw);
    const bool exact = w.codes.data.dtype() == int8 && w.codes.grid.cols == kWholeExtent;
    if (!exact || w.codes.azp.defined()) continue;
    ++products;
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::int64_t n = w.codes.data.size(0), k = w.codes.data.size(1);
    const Tensor x = integers(int8, {3, k}, seed);
    const auto sums = [&](const Weight& part, const Tensor& a) {
      return scaled_mm(a, pack(part, nullptr, true), {.scale_b = nullptr, .out_dtype = int32});
    };
    const Tensor want = sums(w, x);
    std::vector<std::int64_t> total(static_cast<std::size_t>(3 * n));
    for (const ShardRange& range : any_ranges(draw, k)) {
      const Weight part = shard(w, ShardAxis::rows, range);
      const Tensor some = sums(part, part_of(x, 1, range));
      for (std::size_t i = 0; i < total.size(); ++i) total[i] += some.data_as<std::int32_t>()[i];
      expect_same(part.codes.scale, w.codes.scale, "scale");
    }
    for (std::size_t i = 0; i < total.size(); ++i) {
      ASSERT_EQ(total[i], want.data_as<std::int32_t>()[i]);
    }
  }
}

TEST(Shard, OfFusedLayersKeepsTheirScales) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    Draw draw(seed);
    Weight w = any_layer(draw);
    if (w.scheme == "none" || w.columns.defined()) continue;
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto ranges = any_ranges(draw, w.codes.data.size(0));
    const Weight again = fuse(parts_of(w, ShardAxis::columns, ranges));
    expect_same_bits(again.codes.data, w.codes.data);
    expect_same_bits(dequantize(again.codes), dequantize(w.codes));
    // Of slices along K, whose scales begin inside a cell.
    const auto inside = any_ranges(draw, w.codes.data.size(1)).back();
    const Weight slice = shard(w, ShardAxis::rows, inside);
    const Weight both = fuse(std::vector<Weight>{slice, slice});
    expect_same_bits(part_of(dequantize(both.codes), 0, {0, w.codes.data.size(0)}),
                     dequantize(slice.codes));
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

TEST(Shard, OfAnActOrderIsPartOfTheList) {
  Weight w;
  w.codes.data = integers(int8, {3, 4}, 1);
  w.codes.grid = {1, 2};
  w.codes.scale = uniforms(float32, {3, 2}, 2);
  w.columns = list_of({3, 0, 2, 1});
  w.scheme = "int8-weight-only";
  const Weight part = shard(w, ShardAxis::rows, ShardRange{1, 3});
  expect_same(part.columns, list_of({0, 2}), "columns");
  EXPECT_EQ(part.codes.col0, 1);
  // x[..., columns] @ part^T, over all parts, is the product.
  const Tensor x = gaussians(float32, {2, 4}, 3);
  std::vector<double> sums(6);
  for (const ShardRange& range : {ShardRange{0, 1}, ShardRange{1, 3}, ShardRange{3, 4}}) {
    const Weight piece = shard(w, ShardAxis::rows, range);
    const Tensor gathered = tensor_of(float32, {2, range.size()}, [&](std::int64_t i) {
      const std::int64_t j = piece.columns.data_as<std::int64_t>()[i % range.size()];
      return at(x, i / range.size(), j);
    });
    const Tensor y = linear(gathered, pack(piece, nullptr, true));
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += at(y, static_cast<std::int64_t>(i));
  }
  const Tensor values = float_values(w);
  expect_near(
      tensor_of(float32, {2, 3}, [&](std::int64_t i) { return sums[static_cast<std::size_t>(i)]; }),
      4, [&](std::int64_t i, std::int64_t j) { return dot(x, values.view().transposed(), i, j); },
      5);
  expect_error(Code::invalid_argument, "float_values: weight.columns must be those of a whole",
               [&] { (void)float_values(part); });
}

TEST(Shard, OfLlmInt8CutsItsListOfOutliers) {
  Weight w = quantize_weight(gaussians(float32, {6, 40}, 1), Scheme::llm_int8);
  w.activation->outlier_columns = list_of({3, 17, 18, 39});
  const Weight part = shard(w, ShardAxis::rows, ShardRange{17, 30});
  expect_same(part.activation->outlier_columns, list_of({0, 1}), "outlier_columns");
  expect_same(part.absmax, w.absmax, "absmax");
  expect_same(part.codes.scale, w.codes.scale, "scale");
  EXPECT_FALSE(shard(w, ShardAxis::rows, ShardRange{4, 9}).activation->outlier_columns.defined());
  const Weight rows = shard(w, ShardAxis::columns, ShardRange{2, 5});
  expect_same(rows.activation->outlier_columns, w.activation->outlier_columns, "outlier_columns");
  expect_same(rows.absmax, part_of(w.absmax, 0, {2, 5}), "absmax");
}

TEST(Shard, OfABiasIsThatOfItsColumns) {
  const Tensor bias = gaussians(bfloat16, {10}, 1);
  expect_same_bits(shard_bias(bias, {3, 7}), part_of(bias, 0, {3, 7}));
  TensorView row = bias;
  row.rank = 2;
  row.shape = {1, 10};
  row.strides = {10, 1};
  EXPECT_EQ(shape_string(shard_bias(row, {10, 10})), "[1, 0]");
}

TEST(Shard, OfExpertsGivesEachRankWholeOnes) {
  ExpertStack stack;
  stack.codes = integers(int8, {10, 3, 4}, 1);
  stack.scale = uniforms(float32, {10, 3}, 2);
  stack.granularity = per_channel();
  std::int64_t seen = 0;
  for (std::int64_t r = 0; r < 4; ++r) {
    const ShardRange own = expert_range(10, r, 4);
    EXPECT_EQ(own.begin, seen);
    seen = own.end;
    const ExpertStack part = shard_experts(stack, r, 4);
    expect_same_bits(part.codes, part_of(stack.codes, 0, own));
    expect_same_bits(part.scale, part_of(stack.scale, 0, own));
  }
  EXPECT_EQ(seen, 10);
}

TEST(Shard, RefusesRangesAndParts) {
  const Weight w = quantize_weight(gaussians(float32, {6, 8}, 1), Scheme::int8_dynamic);
  const auto bad = [](std::string_view sentence, const std::function<void()>& call) {
    expect_error(Code::invalid_argument, sentence, call);
  };
  bad("shard: range must lie in [0, N = 6]; got [5, 7)", [&] {
    (void)shard(w, ShardAxis::columns, ShardRange{5, 7});
  });
  bad("shard: range must lie in [0, K = 8]; got [3, 2)", [&] {
    (void)shard(w, ShardAxis::rows, ShardRange{3, 2});
  });
  bad("shard: rank must be in [0, world = 2); got 2",
      [&] { (void)shard(w, ShardAxis::rows, 2, 2); });
  bad("shard: world must be in [1, 1048576]; got 0",
      [&] { (void)shard(w, ShardAxis::rows, 0, 0); });
  bad("shard_bias: bias.shape must be [N] or [1, N]; got [6, 8]", [&] {
    (void)shard_bias(w.codes.data, {0, 1});
  });
  bad("shard_bias: range must lie in [0, N = 6]; got [-1, 2)", [&] {
    (void)shard_bias(w.absmax.defined() ? w.absmax : gaussians(float32, {6}, 1), {-1, 2});
  });
  bad("expert_range: experts must be at least 0; got -1", [&] { (void)expert_range(-1, 0, 1); });
  bad("shard_experts: stack must be codes [E, N, K] and scales [E, ...]; got [6, 8] and none", [&] {
    ExpertStack stack;
    stack.codes = w.codes.data;
    (void)shard_experts(stack, 0, 1);
  });
  Weight cut = w;
  cut.codes.scale = uniforms(float32, {5, 1}, 1);
  bad("shard: weight.codes.scale, and azp where there is one, must be [6, 1]", [&] {
    (void)shard(cut, ShardAxis::columns, ShardRange{0, 2});
  });

  const auto join = [](std::vector<Weight> parts, ShardAxis axis) { (void)unshard(parts, axis); };
  const auto part = [&](std::int64_t begin, std::int64_t end) {
    return shard(w, ShardAxis::columns, ShardRange{begin, end});
  };
  bad("unshard: parts must have at least one entry; got none",
      [&] { join({}, ShardAxis::columns); });
  bad("unshard: parts[1] must have the first one's N; got int8 [2, 8] of int8-dynamic", [&] {
    join({part(0, 3), part(3, 5)}, ShardAxis::rows);
  });
  Weight other = part(3, 6);
  other.scheme = "int8-weight-only";
  bad("unshard: parts[1] must have the first one's scheme", [&] {
    join({part(0, 3), other}, ShardAxis::columns);
  });
  // Along K every part has all row scales: those of another weight do not fit.
  const Weight left = shard(w, ShardAxis::rows, ShardRange{0, 4});
  Weight right = shard(w, ShardAxis::rows, ShardRange{4, 8});
  right.codes.scale = uniforms(float32, {6, 1}, 9);
  bad("unshard: parts[1] must have the scales and zero points of parts[0] in the cells that they "
      "share",
      [&] {
        join({left, right}, ShardAxis::rows);
      });
  Weight blocks = quantize_weight(gaussians(float32, {200, 8}, 1), Scheme::fp8_block);
  const Weight first = shard(blocks, ShardAxis::columns, ShardRange{0, 50});
  const Weight third = shard(blocks, ShardAxis::columns, ShardRange{60, 200});
  bad("unshard: parts[1] must begin at element 50 of a cell of scales, where parts[0] ends; got 60",
      [&] {
        join({first, third}, ShardAxis::columns);
      });
}

}  // namespace
}  // namespace octavo::test::shard_test
