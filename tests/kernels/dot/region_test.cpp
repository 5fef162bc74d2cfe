// SPDX-License-Identifier: Apache-2.0
// Lists of products in one parallel region or several: members of any type and size, empty ones,
// and members of more rows than a region holds, each as if it ran alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <sstream>
#include <string>
#include <vector>

#include "backends/cpu/dot/machines.hpp"
#include "dot_runs.hpp"
#include "kit/oracle/oracle.hpp"
#include "support/lines.hpp"

namespace octavo::test::region_test {
namespace {

bool has_kernels() { return cpu::dot_machine().integers != nullptr; }

// The products of problem lines as the members of one problem.
class Listed {
 public:
  explicit Listed(const std::vector<std::string>& lines) {
    for (const std::string& text : lines) {
      const ProblemLine line = parse_problem_line(text);
      operands_.emplace_back(line, kit::Content::gaussian, guarded(GuardedSide::right));
      made_.push_back(make_problem(line, operands_.back()));
      members_.push_back(made_.back().problem().single);
    }
    problem_.operation = "grouped_mm";
    problem_.groups.split = Split::list;
    problem_.groups.list = members_;
  }
  const MatmulProblem& problem() const { return problem_; }
  const std::vector<LineProblem>& alone() const { return made_; }

 private:
  std::deque<kit::Operands> operands_;
  std::vector<LineProblem> made_;
  std::vector<Member> members_;
  MatmulProblem problem_;
};

// Of an output in row-major order.
std::size_t bytes_of(const TensorView& out) {
  return static_cast<std::size_t>(out.numel() * element_bytes(out.dtype));
}
void poison(const TensorView& out) {
  if (out.numel() > 0) std::memset(out.data, 0xA5, bytes_of(out));
}

void expect_as_if_alone(const std::vector<std::string>& lines, const std::vector<int>& threads) {
  if (!has_kernels()) GTEST_SKIP() << "this CPU has no dot products";
  const Listed want(lines);
  const Listed got(lines);
  Pretender one(1);
  for (const LineProblem& made : want.alone()) {
    run_alone(cpu::dot_machine(), made.problem(), {.executor = &one});
    const kit::Verdict verdict = kit::compare_exact(made.problem(), 40, 80);
    EXPECT_LE(verdict.max_ratio, 1.0) << verdict.worst;
  }
  for (const int count : threads) {
    for (const LineProblem& made : got.alone()) poison(output(made.problem()));
    Pretender executor(count);
    run_alone(cpu::dot_machine(), got.problem(), {.executor = &executor});
    for (std::size_t i = 0; i < lines.size(); ++i) {
      EXPECT_TRUE(same_bits(got.alone()[i].problem(), want.alone()[i].problem()))
          << lines[i] << ", member " << i << ", " << count << " threads";
    }
    EXPECT_TRUE(count == 1 || executor.most_tasks() == count) << "too little work";
  }
}

TEST(DotRegions, HoldMembersOfAnyTypeAndSizeAndEmptyOnes) {
  const std::vector<std::string> lines = {
      "scaled_mm e4m3fn:e4m3fn:bf16 scale=token:channel bias 9x130x301",
      "scaled_mm int8:int8:fp32 scale=token:channel 0x70x40",
      "scaled_mm int8:int8:fp32 scale=token:channel prepacked 31x202x401",
      "scaled_mm e4m3fn:e5m2fnuz:fp32 scale=group128:block128x128 prepacked 13x331x300",
      "scaled_mm bf16:bf16:fp32 3x0x50",
      "scaled_mm bf16:bf16:bf16 prepacked 1x600x177",
      "scaled_mm fp16:fp16:fp32 scale=none:group24 70x33x90",
      "scaled_mm fp32:fp32:fp32 bias 6x5x0",
      "scaled_mm uint8:int8:fp32 scale=token:channel azp 5x100x70",
      "scaled_mm bf16:int8:fp32 quantize=int8 threshold=2 scale=token:channel 17x97x70",
      "scaled_mm bf16:e4m3fn:fp32 quantize=e4m3fn scale=group32:block32x32 prepacked 26x70x130",
      "scaled_mm bf16:e4m3fnuz:fp32 scale=none:channel 1x1x1",
      "scaled_mm int8:int8:int32 25x65x300",
      "scaled_mm int8:int8:int32 0x0x0"};
  expect_as_if_alone(lines, {1, 2, 3, 4, 5, 16});
  expect_as_if_alone({lines.rbegin(), lines.rend()}, {1, 3, 16});
}

// Far more shares than panels, and far more members than shares.
TEST(DotRegions, AreSharedOutOnce) {
  const auto line = [](const char* types, int m, int n, int k) {
    std::ostringstream text;
    text << "scaled_mm " << types << ":fp32 " << m << 'x' << n << 'x' << k;
    return text.str();
  };
  for (const char* types : {"e4m3fn:e4m3fn", "int8:int8", "bf16:bf16"}) {
    std::vector<std::string> few;
    std::vector<std::string> many;
    for (int i = 0; i < 40; ++i) many.push_back(line(types, i % 9, 1 + 29 * i % 97, 1501));
    for (int i = 0; i < 3; ++i) few.push_back(line(types, 1 + 12 * i, 65 + 10 * i, 3001));
    expect_as_if_alone(many, {2, 3, 5, 16});
    expect_as_if_alone(few, {2, 3, 5, 16});
  }
}

// Rows [begin, end) of a product, alone.
Tensor rows_alone(const TensorView& a, const TensorView& b, std::int64_t begin, std::int64_t end) {
  Tensor out = Tensor::empty(float32, {end - begin, b.shape[1]});
  Pretender one(1);
  run_alone(cpu::dot_machine(),
            scaled_mm_problem(a.slice(0, begin, end), b, {.out_dtype = float32, .out = out}),
            {.executor = &one});
  return out;
}

// Bytes that are numbers in every type of 8 bits.
Tensor codes_of(DType dtype, std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  const Tensor t = Tensor::empty(dtype, {rows, cols});
  const kit::Random random(seed);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    t.data_as<std::uint8_t>()[i] =
        static_cast<std::uint8_t>(random.bits(static_cast<std::uint64_t>(i)) & 0xB7U) | 0x20U;
  }
  return t;
}

struct Product {
  DType dtype;
  std::int64_t m, n, k;
};

// More than 16 MB of A as the kernels read it, in one member or several: rows of a member in more
// than one region, then members in the region of its last rows.
void expect_cut(const std::vector<Product>& products, const std::vector<int>& threads) {
  if (!has_kernels()) GTEST_SKIP() << "this CPU has no dot products";
  std::vector<Tensor> as;
  std::vector<Tensor> bs;
  std::vector<Tensor> outs;
  std::vector<Member> members;
  for (const Product& p : products) {
    as.push_back(codes_of(p.dtype, p.m, p.k, 1 + as.size()));
    bs.push_back(codes_of(p.dtype, p.k, p.n, 77 + as.size()));
    outs.push_back(Tensor::empty(float32, {p.m, p.n}));
    members.push_back(
        scaled_mm_problem(as.back(), bs.back(), {.out_dtype = float32, .out = outs.back()}).single);
  }
  MatmulProblem problem;
  problem.operation = "grouped_mm";
  problem.groups.split = Split::list;
  problem.groups.list = members;
  for (const int count : threads) {
    for (const Tensor& out : outs) poison(out);
    Pretender executor(count);
    run_alone(cpu::dot_machine(), problem, {.executor = &executor});
    for (std::size_t i = 0; i < products.size(); ++i) {
      const Product& p = products[i];
      const std::int64_t piece = std::max<std::int64_t>(1, p.m / 5 + 1);
      for (std::int64_t begin = 0; begin < p.m; begin += piece) {
        const std::int64_t end = std::min(p.m, begin + piece);
        const Tensor want = rows_alone(as[i], bs[i], begin, end);
        ASSERT_EQ(std::memcmp(outs[i].view().at(begin * p.n), want.data(), bytes_of(want)), 0)
            << "member " << i << ", rows from " << begin << ", " << count << " threads";
      }
    }
  }
}

TEST(DotRegions, CutMembersOfMoreRowsThanACacheHolds) {
  // 512 rows at a time, however long they are.
  expect_cut({{float8_e4m3fn, 1100, 5, 20000}}, {1, 3});
  expect_cut({{int8, 1100, 5, 36000}}, {1, 3});
  // As many short rows as 16 MB have room for.
  expect_cut({{float8_e5m2, 530000, 2, 16}}, {1, 2});
}

TEST(DotRegions, CutListsOfMembersThatACacheDoesNotHold) {
  expect_cut({{float8_e4m3fn, 300, 7, 20000},
              {float8_e4m3fn, 1, 70, 40},
              {int8, 0, 3, 5},
              {float8_e5m2, 600, 3, 20000},
              {int8, 200, 20, 20000},
              {float8_e4m3fnuz, 30, 33, 100},
              {float8_e4m3fn, 90, 4, 20000}},
             {1, 2, 5});
}

}  // namespace
}  // namespace octavo::test::region_test
