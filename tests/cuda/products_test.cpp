// SPDX-License-Identifier: Apache-2.0
// Whole operations on tensor cores in the simulator: every problem line that the backends sm90 and
// sm80 take, on a device, against the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <string>
#include <vector>

#include "backends/backend.hpp"
#include "backends/cuda/kernels/chunks.hpp"
#include "backends/cuda/simulator/arithmetic.hpp"
#include "cuda/device_kit.hpp"
#include "cuda/mma_kit.hpp"
#include "kit/oracle.hpp"
#include "octavo/octavo.hpp"
#include "ops/helpers.hpp"
#include "support/lines.hpp"

namespace octavo::test {
namespace {

using kit::Content;
using kit::Operands;

constexpr const char* kSm90 = "sm90";
constexpr const char* kSm80 = "sm80";

bool takes(const char* backend, const MatmulProblem& problem) {
  const std::vector<std::string> names = accepting_backends(problem);
  return std::find(names.begin(), names.end(), backend) != names.end();
}

void run_on(const MatmulProblem& problem, const char* backend) { run(problem, {}, backend); }

// Lines of one launch or a few, so that all run in seconds; what the backend refuses is left out
// here.
std::vector<std::string> taken_lines(const char* backend) {
  std::vector<std::string> all{
      // Outputs of 8 bits, and all that may stand behind the scales.
      "scaled_mm int8:int8:int8 scale=token:channel bias=bf16 alpha=0.75 beta=0.5 "
      "scale_result=vector 70x64x64",
      "scaled_mm e4m3fn:e4m3fn:e4m3fn scale=token:channel bias scale_result=0.375 9x65x400",
      "scaled_mm e5m2:e4m3fn:e5m2 scale=tensor:channel bias=fp16 beta=0.5 40x48x4224",
      "scaled_mm bf16:bf16:bf16 scale=none:none alpha=-1.5 beta=2 130x40x64",
      "scaled_mm bf16:int8:fp32 quantise=int8 threshold=0.5 scale=token:channel 5x70x90",
  };
  std::vector<const char*> files{"types", "scales", "epilogue", "grouped", "shapes", "layouts"};
  if (backend == kSm90) {
    // K that is cut: by CTAs of a cluster, and in order by one that has all of it.
    for (const char* line : {"scaled_mm int8:int8:bf16 scale=token:channel bias 5x40x4100",
                             "scaled_mm e4m3fn:e4m3fn:bf16 scale=token:channel bias 3x24x4500",
                             "scaled_mm e4m3fn:e5m2:fp32 scale=tensor:tensor alpha=0.5 514x8x4224"})
      all.emplace_back(line);
    files.push_back("fused");  // of passes, which both backends have
  }
  for (const char* file : files) {
    for (const std::string& text : lines_of(file)) {
      const ProblemLine line = parse_problem_line(text);
      Operands operands(line, Content::gaussian);
      DeviceSource source(operands, kHopper);
      if (takes(backend, make_problem(line, source).problem())) all.push_back(text);
    }
  }
  return all;
}

using cuda::MmaType;

struct TypeRow {
  DType a, b;
  MmaType type;
};
constexpr TypeRow kTypes[] = {
    {DType::int8, DType::int8, MmaType::s8_s8},
    {DType::uint8, DType::int8, MmaType::u8_s8},
    {DType::float8_e4m3fn, DType::float8_e4m3fn, MmaType::e4m3_e4m3},
    {DType::float8_e4m3fn, DType::float8_e5m2, MmaType::e4m3_e5m2},
    {DType::float8_e5m2, DType::float8_e4m3fn, MmaType::e5m2_e4m3},
    {DType::float8_e5m2, DType::float8_e5m2, MmaType::e5m2_e5m2},
    {DType::bfloat16, DType::bfloat16, MmaType::bf16_bf16},
    {DType::float16, DType::float16, MmaType::f16_f16},
};

// A row of K as bytes, zeros up to a whole step.
std::vector<std::uint8_t> row_of(const MatrixView& x, std::int64_t row) {
  const std::int64_t size = element_bytes(x.dtype);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>((x.shape[1] * size + 31) / 32 * 32));
  for (std::int64_t k = 0; k < x.shape[1]; ++k)
    std::memcpy(&bytes[static_cast<std::size_t>(k * size)], x.at(row, k),
                static_cast<std::size_t>(size));
  return bytes;
}

// One element's sum as the tensor cores make it: fp8 promoted every 128 elements, and chunks of K
// in order, unless it is fast.
std::uint32_t sum_of(MmaType type, bool promoted, std::size_t chunk,
                     const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  std::uint32_t bits = 0;
  float total = 0, of_chunk = 0;
  for (std::size_t step = 0; step < a.size(); step += 32) {
    const std::size_t end = step + 32;
    if (promoted && step % 128 == 0) bits = 0;
    cuda::simulator::multiply_step(cuda::simulator::TensorUnit::wgmma, type, &a[step], 1, &b[step],
                                   1, &bits);
    if (end % 128 == 0 || end == a.size()) of_chunk += std::bit_cast<float>(bits);
    if (end % chunk == 0 || end == a.size()) {
      total += of_chunk;
      of_chunk = 0;
    }
  }
  return promoted ? std::bit_cast<std::uint32_t>(total) : bits;
}

// What a member must give: those sums, finished by the reference.
void expect_member(const char* backend, const Member& given, const MatmulOptions& options) {
  const kit::PlainMember plain = kit::plain_member(given);
  Member member = plain.member;
  member.out = given.out;
  const MatrixView a = member.a.data, b = member.b.data.transposed();
  if (given.out.numel() == 0) return;
  const auto row = std::find_if(std::begin(kTypes), std::end(kTypes),
                                [&](const TypeRow& t) { return t.a == a.dtype && t.b == b.dtype; });
  ASSERT_NE(std::end(kTypes), row);
  const bool promoted = is_float8(a.dtype) && !options.fast_accumulation;
  const std::int64_t k_bytes = a.shape[1] * element_bytes(a.dtype);
  const auto chunk =
      static_cast<std::size_t>(cuda::chunk_steps(b.shape[0], std::max<std::int64_t>(k_bytes, 1))) *
      128;
  std::vector<std::uint32_t> sums;
  std::vector<std::vector<std::uint8_t>> columns;
  for (std::int64_t n = 0; n < b.shape[0]; ++n) columns.push_back(row_of(b, n));
  for (std::int64_t m = 0; m < a.shape[0]; ++m) {
    const std::vector<std::uint8_t> line = row_of(a, m);
    for (const auto& column : columns) {
      sums.push_back(backend == kSm80 ? chained_sum(row->type, line, column)
                                      : sum_of(row->type, promoted, chunk, line, column));
    }
  }
  const DType type = is_integer8(a.dtype) ? DType::int32 : DType::float32;
  MatrixView view;
  view.data = sums.data();
  view.dtype = type;
  view.shape = given.out.shape;
  view.strides = {given.out.shape[1], 1};
  ASSERT_TRUE(find_backend("reference")->passes.finish({view, member, options}, {}).ok());
}

std::vector<Tensor> outputs(const MatmulProblem& problem) {
  if (problem.groups.split != Split::list) return {to_host(output(problem))};
  std::vector<Tensor> outs;
  for (const Member& member : problem.groups.list)
    outs.push_back(to_host(static_cast<TensorView>(member.out)));
  return outs;
}

void expect_line(const char* backend, const std::string& text) {
  const ProblemLine line = parse_problem_line(text);
  Operands operands(line, Content::gaussian);
  const LineProblem want = make_problem(line, operands);
  run_on(want.problem(), "reference");  // what no member has (the output's tail), too
  const DType a = line.quantise != DType::undefined ? line.quantise : line.a;
  if (!is_integer8(a)) {  // integers have one answer, and the reference has given it
    for (std::int64_t g = 0; g < group_count(want.problem()); ++g)
      expect_member(backend, member(want.problem(), g), want.problem().options);
  }
  Operands again(line, Content::gaussian);
  DeviceSource source(again, kHopper);
  const LineProblem got = make_problem(line, source);
  run_on(got.problem(), backend);
  const std::vector<Tensor> have = outputs(got.problem()), expected = outputs(want.problem());
  ASSERT_EQ(have.size(), expected.size());
  for (std::size_t i = 0; i < have.size(); ++i) expect_same_bits(have[i], expected[i]);
}

class Sm90Products : public testing::TestWithParam<std::string> {};
class Sm80Products : public testing::TestWithParam<std::string> {};

TEST_P(Sm90Products, AreTheTensorCoresSumsFinishedByTheReference) {
  expect_line(kSm90, GetParam());
}
TEST_P(Sm80Products, AreTheTensorCoresSumsFinishedByTheReference) {
  expect_line(kSm80, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Lines, Sm90Products, testing::ValuesIn(taken_lines(kSm90)));
INSTANTIATE_TEST_SUITE_P(Lines, Sm80Products, testing::ValuesIn(taken_lines(kSm80)));

}  // namespace
}  // namespace octavo::test
