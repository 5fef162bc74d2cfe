// SPDX-License-Identifier: Apache-2.0
#include "cuda/product_kit.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.hpp"
#include "backends/cuda/kernels/common/chunks.hpp"
#include "core/problem/members.hpp"
#include "core/scales/grid.hpp"
#include "core/scales/scale_values.hpp"
#include "cuda/device_kit.hpp"
#include "cuda/kernels/mma_kit.hpp"
#include "kit/oracle/oracle.hpp"
#include "simulator/arithmetic.hpp"
#include "support/lines.hpp"
#include "support/same_numbers.hpp"

namespace octavo::test {
namespace {

using cuda::MmaType;
using kit::Content;
using kit::Operands;

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

// One element's sum as the tensor cores make it: fp8 promoted every 128 elements, by their scales,
// and chunks of K in order, unless it is fast.
template <class Scaled>
std::uint32_t sum_of(MmaType type, bool promoted, std::size_t chunk,
                     const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b,
                     const Scaled& scaled) {
  std::uint32_t bits = 0;
  float total = 0, of_chunk = 0;
  for (std::size_t step = 0; step < a.size(); step += 32) {
    const std::size_t end = step + 32;
    if (promoted && step % 128 == 0) bits = 0;
    cuda::simulator::multiply_step(cuda::simulator::TensorUnit::wgmma, type, &a[step], 1, &b[step],
                                   1, &bits);
    if (end % 128 == 0 || end == a.size())
      of_chunk += scaled(std::bit_cast<float>(bits), static_cast<std::int64_t>(step / 128 * 128));
    if (end % chunk == 0 || end == a.size()) {
      total += of_chunk;
      of_chunk = 0;
    }
  }
  return promoted ? std::bit_cast<std::uint32_t>(total) : bits;
}

// Whether a cell of an operand's scales ends before this element of K.
bool ends_before(const OperandView& x, Side side, std::int64_t k) {
  if (!varies_along_k(x, side)) return false;
  const ScaleView s = side == Side::a ? x.scale[0] : x.scale[0].transposed();
  return (s.col0 + k) % s.cols == 0;
}

// A sum by its operand's scale, where that changes along K.
float scaled_by(const OperandView& x, Side side, std::int64_t row, std::int64_t column, float sum) {
  return varies_along_k(x, side) ? sum * scale_at(x.scale[0], row, column) : sum;
}

// The same by mma.sync: a chain of steps, or one for each cell of scales along K, which are whole
// steps of 32 elements.
template <class Scaled>
std::uint32_t sum_of_cells(MmaType type, const Member& p, const std::vector<std::uint8_t>& a,
                           const std::vector<std::uint8_t>& b, const Scaled& scaled) {
  if (!varies_along_k(p.a, Side::a) && !varies_along_k(p.b, Side::b))
    return chained_sum(type, a, b);
  float total = 0;
  for (std::size_t begin = 0, end = 32; begin < a.size(); end += 32) {
    const auto k = static_cast<std::int64_t>(end);
    if (end < a.size() && !ends_before(p.a, Side::a, k) && !ends_before(p.b, Side::b, k)) continue;
    const auto part = [&](const std::vector<std::uint8_t>& of) {
      return std::vector<std::uint8_t>(of.begin() + static_cast<std::ptrdiff_t>(begin),
                                       of.begin() + static_cast<std::ptrdiff_t>(end));
    };
    total += scaled(std::bit_cast<float>(chained_sum(type, part(a), part(b))),
                    static_cast<std::int64_t>(begin));
    begin = end;
  }
  return std::bit_cast<std::uint32_t>(total);
}

// A member's sums in the bits of float32, or of int32, row by row: those of all of its K.
std::vector<std::uint32_t> sums_of(const char* backend, const Member& p, bool fast) {
  const MatrixView a = p.a.data, b = p.b.data.transposed();
  const auto row = std::find_if(std::begin(kTypes), std::end(kTypes),
                                [&](const TypeRow& t) { return t.a == a.dtype && t.b == b.dtype; });
  EXPECT_NE(std::end(kTypes), row);
  if (row == std::end(kTypes)) return {};
  const bool along_k = varies_along_k(p.a, Side::a) || varies_along_k(p.b, Side::b);
  const bool promoted = is_float8(a.dtype) && (along_k || !fast);
  const std::int64_t k_bytes = a.shape[1] * element_bytes(a.dtype);
  const auto chunk =
      static_cast<std::size_t>(cuda::chunk_steps(b.shape[0], std::max<std::int64_t>(k_bytes, 1))) *
      128;
  std::vector<std::uint32_t> sums;
  std::vector<std::vector<std::uint8_t>> columns;
  for (std::int64_t n = 0; n < b.shape[0]; ++n) columns.push_back(row_of(b, n));
  for (std::int64_t m = 0; m < a.shape[0]; ++m) {
    const std::vector<std::uint8_t> line = row_of(a, m);
    for (std::int64_t n = 0; n < b.shape[0]; ++n) {
      const auto scaled = [&](float sum, std::int64_t k) {
        return scaled_by(p.b, Side::b, k, n, scaled_by(p.a, Side::a, m, k, sum));
      };
      const auto& column = columns[static_cast<std::size_t>(n)];
      sums.push_back(std::string_view(backend) == "sm80"
                         ? sum_of_cells(row->type, p, line, column, scaled)
                         : sum_of(row->type, promoted, chunk, line, column, scaled));
    }
  }
  return sums;
}

// The same of every chunk of K, added in their order.
std::vector<std::uint32_t> sums_in_chunks(const char* backend, const Member& p,
                                          const MatmulOptions& options) {
  const KChunks chunks = sum_chunks(p, options);
  if (!chunks.several()) return sums_of(backend, p, options.fast_accumulation);
  std::vector<std::uint32_t> totals(static_cast<std::size_t>(p.out.numel()));
  for (std::int64_t c = 0; c < chunks.count; ++c) {
    Member part = p;
    cut_inner(part, chunks[c].begin, chunks[c].end);
    const std::vector<std::uint32_t> sums = sums_of(backend, part, options.fast_accumulation);
    for (std::size_t i = 0; i < sums.size(); ++i) {
      totals[i] = std::bit_cast<std::uint32_t>(std::bit_cast<float>(totals[i]) +
                                               std::bit_cast<float>(sums[i]));
    }
  }
  return totals;
}

// What a member must give: those sums, finished by the reference.
void expect_member(const char* backend, const Member& given, const MatmulOptions& options) {
  const kit::PlainMember plain = kit::plain_member(given);
  Member member = plain.member;
  member.out = given.out;
  if (given.out.numel() == 0) return;
  std::vector<std::uint32_t> sums = sums_in_chunks(backend, member, options);
  if (varies_along_k(member.a, Side::a)) member.a.scale = {};  // the sums have met them
  if (varies_along_k(member.b, Side::b)) member.b.scale = {};
  MatrixView view;
  view.data = sums.data();
  view.dtype = is_integer8(member.a.data.dtype) ? DType::int32 : DType::float32;
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

}  // namespace

bool takes(const char* backend, const MatmulProblem& problem) {
  const std::vector<std::string> names = accepting_backends(problem);
  return std::find(names.begin(), names.end(), backend) != names.end();
}

void expect_product(const char* backend, const ProblemLine& line, Content content) {
  Operands operands(line, content);
  const LineProblem want = make_problem(line, operands);
  run(want.problem(), {}, "reference");  // what no member has (the output's tail), too
  const DType a = line.quantize != DType::undefined ? line.quantize : line.a;
  // Integers have one answer and the general kernel adds as the reference does, which has run.
  if (!is_integer8(a) && std::string_view(backend) != "cuda") {
    for (std::int64_t g = 0; g < group_count(want.problem()); ++g)
      expect_member(backend, member(want.problem(), g), want.problem().options);
  }
  Operands again(line, content);
  DeviceSource source(again, kHopper);
  const LineProblem got = make_problem(line, source);
  run(got.problem(), {}, backend);
  const std::vector<Tensor> have = outputs(got.problem()), expected = outputs(want.problem());
  ASSERT_EQ(have.size(), expected.size());
  for (std::size_t i = 0; i < have.size(); ++i) expect_same_numbers(have[i], expected[i]);
}

}  // namespace octavo::test
