// SPDX-License-Identifier: Apache-2.0
// Groups of rows in one launch, and how: the bits of a launch for each group, and of the reference
// where sums are exact.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backends/cuda/products/joined_list.hpp"
#include "core/problem/members.hpp"
#include "cuda/passes/two_places.hpp"
#include "octavo/moe.hpp"

namespace octavo::test::grouped_product_test {
namespace {

constexpr float kPoison = 7;

struct GroupedCase {
  std::int64_t rows = 300, n = 40, k = 64;
  std::vector<double> ends;
  DType a = int8, b = int8, out = float32, offsets = int32;
  bool prefix = false, host_offsets = false, batch = false;

  enum Scales { none, numbers, of_groups, of_lines };
  Scales scales = of_lines;
  bool bias = false, c = false, factors = false;
  enum Layout { rows_of_k, rows_of_n, padded, uneven };
  Layout layout = rows_of_k;
  std::int64_t groups() const { return static_cast<std::int64_t>(ends.size()) - (prefix ? 1 : 0); }
};

Tensor elements(DType dtype, const Shape& shape, unsigned seed) {
  if (dtype == int8) return integers(int8, shape, seed, -128, 127);
  if (dtype == uint8) return integers(uint8, shape, seed, 0, 255);
  return gaussians(dtype, shape, seed);
}

// The problem in a place, its output poisoned.
MatmulProblem make(const GroupedCase& c, TensorsOf& tensors) {
  const std::int64_t groups = c.groups(), each = c.batch ? c.rows / groups : 0;
  MatmulProblem p;
  p.operation = "grouped_mm";
  p.groups.split = c.batch ? Split::batch : Split::rows;
  p.groups.count = groups;
  GroupSteps& steps = p.groups.steps;
  Member& one = p.single;
  const auto rows_of = [&](MatrixView matrix) {
    if (c.batch) matrix.shape[0] = each;
    return matrix;
  };
  one.a.data = rows_of(tensors(elements(c.a, {c.rows, c.k}, 1)));
  steps.a = each * c.k;
  const std::int64_t pitch = c.layout == GroupedCase::uneven ? c.k + 3 : c.k;
  const std::int64_t lines = c.layout == GroupedCase::padded ? c.n + 3 : c.n;
  const bool down = c.layout == GroupedCase::rows_of_n;
  const TensorView stack =
      tensors(elements(c.b, down ? Shape{groups, c.k, c.n} : Shape{groups, lines, pitch}, 2));
  one.b.data = MatrixView(stack);
  one.b.data.shape = {c.k, c.n};
  if (!down) one.b.data.strides = {1, pitch};
  steps.b = stack.strides[0];
  const auto scale = [&](const Tensor& values, std::int64_t rows, std::int64_t cols) {
    return ScaleView{ScaleKind::tensor, 1.0F, tensors(values), rows, cols, 0, 0};
  };
  if (c.scales == GroupedCase::numbers) {
    one.a.scale[0].kind = one.b.scale[0].kind = ScaleKind::number;
    one.a.scale[0].number = 0.25F;
    one.b.scale[0].number = 0.375F;
  } else if (c.scales == GroupedCase::of_groups) {
    one.a.scale[0] = scale(gaussians(float32, {groups, 1}, 3), kWholeExtent, kWholeExtent);
    one.b.scale[0] = scale(gaussians(bfloat16, {groups, 1}, 4), kWholeExtent, kWholeExtent);
    steps.scale_a[0] = steps.scale_b[0] = 1;
  } else if (c.scales == GroupedCase::of_lines) {
    one.a.scale[0] = scale(gaussians(float32, {c.rows, 1}, 3), 1, kWholeExtent);
    one.b.scale[0] = scale(gaussians(float32, {groups, 1, c.n}, 4), kWholeExtent, 1);
    steps.scale_a[0] = each;
    steps.scale_b[0] = c.n;
  }
  Epilogue& e = one.epilogue;
  if (c.bias) {
    e.bias = tensors(gaussians(float32, {groups, 1, c.n}, 5));
    e.bias.strides[0] = 0;
    steps.bias = c.n;
  }
  if (c.c) {
    e.c = tensors(gaussians(float16, {c.rows, c.n}, 6));
    steps.c = each * c.n;
    e.beta.kind = Factor::Kind::number;
    e.beta.number = 0.5F;
  }
  if (c.factors) {
    e.alpha.kind = Factor::Kind::number;
    e.alpha.number = -1.5F;
    e.scale_result.kind = Factor::Kind::tensor;
    e.scale_result.data = tensors(gaussians(float32, {1, c.n}, 7));
  }
  Tensor out = Tensor::empty(c.out, {c.rows, c.n});
  for (std::int64_t i = 0; i < out.numel(); ++i) kit::store(out.view(), i, kPoison);
  one.out = rows_of(tensors.out(out));
  steps.out = each * c.n;
  return p;
}

// For explain, by a backend.
std::string how(const MatmulProblem& p, const char* backend) {
  Plan plan;
  const char* why = find_backend(backend)->plan(p, 1, plan);
  return why == nullptr ? plan.how : why;
}

Tensor offsets_of(const GroupedCase& c) {
  return values(c.offsets, {static_cast<std::int64_t>(c.ends.size())}, c.ends);
}

// A launch for each group, the last that has a row behind the others, and zeros behind all.
Tensor one_by_one(const GroupedCase& c, const char* backend, bool on_device) {
  TensorsOf tensors(on_device);
  MatmulProblem p = make(c, tensors);
  const Tensor offsets = c.batch ? Tensor() : offsets_of(c);  // on the host
  if (!c.batch) p.groups.offs = offsets.view();
  p.groups.prefix = c.prefix;
  for (std::int64_t g = 0; g < p.groups.count; ++g) {
    MatmulProblem one;
    one.options = p.options;
    one.single = member(p, g);
    run(one, {}, backend);
  }
  Tensor all = to_host(tensors.outs()[0]);
  if (c.batch) return all;
  const std::int64_t behind = tail(p).numel();
  for (std::int64_t i = all.numel() - behind; i < all.numel(); ++i) kit::store(all.view(), i, 0.0);
  return all;
}

Tensor at_once(const GroupedCase& c, const char* backend) {
  TensorsOf tensors(true);
  MatmulProblem p = make(c, tensors);
  const Tensor near = c.batch ? Tensor() : offsets_of(c);
  const Tensor far = c.batch || c.host_offsets ? near : to_device(near);
  if (!c.batch) p.groups.offs = far.view();
  p.groups.prefix = c.prefix;
  EXPECT_EQ(std::string(how(p, backend)).find("one launch for all groups") == 0,
            c.groups() > 1 && c.k > 0);
  run(p, {}, backend);
  return to_host(tensors.outs()[0]);
}

void expect_same(const GroupedCase& c) {
  for (const char* backend : {"sm90", "sm80"}) {
    SCOPED_TRACE(backend);
    const Tensor got = at_once(c, backend);
    expect_same_bits(got, one_by_one(c, backend, true));
    if (c.a == int8 || c.a == uint8) expect_same_bits(got, one_by_one(c, "reference", false));
  }
}

GroupedCase with_ends(const std::vector<double>& ends) {
  GroupedCase c;
  c.ends = ends;
  return c;
}
// Of every kind: empty groups, several tiles, rows behind the last one.
const GroupedCase kPlain = with_ends({20, 20, 290, 291});

TEST(GroupedAtOnce, WhateverTheOffsetsSay) {
  const std::vector<double> all[] = {{60, 60, 300, 300, 300},
                                     {0, 0, 0, 0, 0},
                                     {300, 300, 300, 300, 300},
                                     {1, 2, 3, 4, 5},
                                     {100, 40, 250, 120, 280},
                                     {50, 500, -3, 70, 90},
                                     {200, 260, 270, 280, 150},
                                     {256, 257, 299, 10, 256},
                                     {30, 300},
                                     {300, 0, 300},
                                     {17}};
  for (const std::vector<double>& ends : all) {
    SCOPED_TRACE(testing::PrintToString(ends));
    GroupedCase c = with_ends(ends);
    expect_same(c);
    c.offsets = int64;
    c.host_offsets = true;
    c.out = bfloat16;
    expect_same(c);
  }
}

TEST(GroupedAtOnce, OffsetsWithABeginning) {
  for (const std::vector<double>& ends :
       {std::vector<double>{0, 40, 40, 299}, {5, 3, 280, 100}, {9, 20, 310, 8, 7}, {4, 4, 4}}) {
    SCOPED_TRACE(testing::PrintToString(ends));
    GroupedCase c = with_ends(ends);
    c.prefix = true;
    expect_same(c);
    c.host_offsets = true;
    expect_same(c);
  }
}

TEST(GroupedAtOnce, NoGroupsAndNoRows) {
  GroupedCase c;
  expect_same(c);
  c = kPlain;
  c.rows = 0;
  expect_same(c);
  c = kPlain;
  c.n = 0;
  expect_same(c);
  c = kPlain;
  c.k = 0;  // one by one
  expect_same(c);
}

TEST(GroupedAtOnce, EveryKindOfScaleAndTerm) {
  using enum GroupedCase::Scales;
  for (const GroupedCase::Scales scales : {none, numbers, of_groups, of_lines}) {
    for (const DType out : {float32, bfloat16, int8, uint8, float8_e4m3fn}) {
      GroupedCase c = kPlain;
      c.scales = scales;
      c.out = out;
      c.bias = out != bfloat16;
      c.c = out == float32 || out == int8;
      c.factors = out != uint8;
      expect_same(c);
      c.batch = true;
      expect_same(c);
    }
  }
  GroupedCase sums = kPlain;
  sums.out = int32;
  sums.scales = none;
  expect_same(sums);
}

TEST(GroupedAtOnce, EveryTypeAndShape) {
  struct Types {
    DType a, b;
  };
  for (const Types& t : {Types{int8, int8},
                         {uint8, int8},
                         {int8, uint8},
                         {uint8, uint8},
                         {float8_e4m3fn, float8_e4m3fn},
                         {float8_e5m2, float8_e4m3fn},
                         {bfloat16, bfloat16},
                         {float16, float16}}) {
    GroupedCase c = kPlain;
    c.a = t.a;
    c.b = t.b;
    c.n = 137;
    c.k = 400;
    expect_same(c);
    c.batch = true;
    c.n = 260;
    c.k = 33;
    expect_same(c);
  }
  GroupedCase wide = kPlain;  // large tiles of mma.sync
  wide.rows = 150;
  wide.ends = {10, 10, 60, 150};
  wide.n = 2200;
  wide.k = 16;
  expect_same(wide);
  GroupedCase cut = kPlain;  // sums of two chunks of K
  cut.a = cut.b = float8_e4m3fn;
  cut.n = 24;
  cut.k = 4500;
  expect_same(cut);
}

TEST(GroupedAtOnce, EveryLayoutOfTheWeights) {
  using enum GroupedCase::Layout;
  for (const GroupedCase::Layout layout : {rows_of_k, rows_of_n, padded, uneven}) {
    GroupedCase c = kPlain;
    c.layout = layout;
    expect_same(c);
    c.k = 61;
    expect_same(c);
  }
}

// ---- lists --------------------------------------------------------------------------------------

struct ListCase {
  struct Product {
    std::int64_t expert, rows;
  };
  std::vector<Product> products{{1, 20}, {4, 1}, {6, 40}, {10, 3}};
  DType a = int8, out = bfloat16;
  std::int64_t n = 40, k = 64, gap = 0;  // rows of A between two products
  bool of_groups = false;                // scales, or of lines
  bool packed = false, c = false;
  bool together = true;  // do they lie so?
};

// Packed weights, which problems point at.
using Packed = std::vector<PackedWeight>;

MatmulProblem make(const ListCase& c, TensorsOf& tensors, std::vector<Member>& list,
                   Packed& packed) {
  constexpr std::int64_t kExperts = 11;
  std::int64_t rows = 0;
  for (const ListCase::Product& p : c.products) rows += p.rows + c.gap;
  const TensorView a = tensors(elements(c.a, {rows, c.k}, 1)),
                   stack = tensors(elements(c.a, {kExperts, c.n, c.k}, 2)),
                   rows_scales = tensors(gaussians(float32, {rows, 1}, 3)),
                   scales = tensors(gaussians(float32, {kExperts, 1, c.n}, 4)),
                   bias = tensors(gaussians(float32, {kExperts, 1, c.n}, 5)),
                   addend = tensors(gaussians(float16, {rows, c.n}, 6)),
                   out = tensors.out(
                       tensor_of(c.out, {rows, c.n}, [](std::int64_t) { return kPoison; }));
  ExpertWeights experts;
  if (c.packed) experts = pack_experts(stack);
  std::int64_t row = 0;
  for (const ListCase::Product& product : c.products) {
    const std::int64_t end = row + product.rows;
    Member p;
    p.a.data = a.slice(0, row, end);
    p.b.data = stack[product.expert].transposed();
    if (c.packed) {
      packed.push_back(experts[product.expert]);
      p.b.data = {};
    }
    const TensorView own = scales[product.expert];
    if (c.of_groups) {
      p.a.scale[0] = {ScaleKind::number, 0.25F, {}, kWholeExtent, kWholeExtent, 0, 0};
      p.b.scale[0] = {
          ScaleKind::tensor, 1.0F, own.slice(1, 0, 1), kWholeExtent, kWholeExtent, 0, 0};
    } else {
      p.a.scale[0] = {
          ScaleKind::tensor, 1.0F, rows_scales.slice(0, row, end), 1, kWholeExtent, 0, 0};
      p.b.scale[0] = {ScaleKind::tensor, 1.0F, own, kWholeExtent, 1, 0, 0};
    }
    p.epilogue.bias = bias[product.expert];
    p.epilogue.bias.strides[0] = 0;
    if (c.c) {
      p.epilogue.c = addend.slice(0, row, end);
      p.epilogue.beta.kind = Factor::Kind::number;
      p.epilogue.beta.number = 0.5F;
    }
    p.out = out.slice(0, row, end);
    list.push_back(p);
    row = end + c.gap;
  }
  for (std::size_t i = 0; i < packed.size(); ++i) list[i].b.packed = &packed[i];
  MatmulProblem problem;
  problem.operation = "grouped_mm";
  problem.groups.split = Split::list;
  problem.groups.list = list;
  return problem;
}

Tensor list_by(const ListCase& c, const char* backend, bool at_once) {
  const bool on_device = std::string(backend) != "reference";
  TensorsOf tensors(on_device);
  std::vector<Member> list;
  Packed packed;
  ListCase here = c;
  here.packed = c.packed && on_device;
  const MatmulProblem p = make(here, tensors, list, packed);
  if (at_once) {
    EXPECT_EQ(c.together, cuda::JoinedList().join(p));
    run(p, {}, backend);
    const std::string said = how(p, backend);
    EXPECT_EQ(0U, said.find("one launch where the list lies as groups do")) << said;
  } else {
    for (const Member& member : list) {
      MatmulProblem one;
      one.single = member;
      run(one, {}, backend);
    }
  }
  return to_host(tensors.outs()[0]);
}

void expect_same(const ListCase& c) {
  for (const char* backend : {"sm90", "sm80"}) {
    SCOPED_TRACE(backend);
    const Tensor got = list_by(c, backend, true);
    expect_same_bits(got, list_by(c, backend, false));
    if (c.a == int8) expect_same_bits(got, list_by(c, "reference", false));
  }
}

TEST(ListAtOnce, OfEveryKind) {
  for (const bool packed : {false, true}) {
    for (const bool of_groups : {false, true}) {
      for (const DType a : {int8, float8_e4m3fn, bfloat16}) {
        ListCase c;
        c.packed = packed;
        c.of_groups = of_groups;
        c.a = a;
        c.c = packed != of_groups;
        c.out = a == int8 ? float32 : bfloat16;
        expect_same(c);
      }
    }
  }
}

TEST(ListAtOnce, PackedRowsOfAnyLength) {
  for (const std::int64_t k : {61, 112, 257}) {
    ListCase c;
    c.packed = true;
    c.k = k;
    expect_same(c);
  }
}

TEST(ListAtOnce, ProductsWithoutRowsAndNeighbours) {
  ListCase c;
  c.products = {{0, 0}, {1, 70}, {2, 0}, {3, 300}, {10, 0}};
  expect_same(c);
  c.products = {{2, 5}, {8, 6}};
  expect_same(c);
}

TEST(ListAtOnce, OneByOneWhereTheyLieOtherwise) {
  ListCase c;
  c.together = false;
  c.products = {{4, 20}, {1, 5}};  // descending
  expect_same(c);
  c.products = {{4, 20}, {4, 5}};  // one weight twice
  expect_same(c);
  c.products = {{1, 20}, {4, 5}, {3, 7}};
  expect_same(c);
  c.products = {{1, 20}, {4, 5}, {5, 7}};
  c.gap = 1;
  expect_same(c);
}

}  // namespace
}  // namespace octavo::test::grouped_product_test
