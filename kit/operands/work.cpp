// SPDX-License-Identifier: Apache-2.0
// Counting operations and bytes.
#include "kit/operands/work.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "octavo/packed.hpp"

namespace octavo::kit {
namespace {

double view_bytes(const MatrixView& v) {
  if (!v.defined()) return 0.0;
  double bytes = static_cast<double>(element_bytes(v.dtype));
  for (std::size_t d = 0; d < 2; ++d) {
    bytes *= v.strides[d] == 0 ? 1.0 : static_cast<double>(v.shape[d]);
  }
  return bytes;
}

// The scales of an operand of so many rows and columns.
double scale_bytes(const OperandView& operand, std::int64_t rows, std::int64_t columns) {
  const auto cells = [](std::int64_t extent, std::int64_t cell) {
    return cell == kWholeExtent ? 1 : (extent + cell - 1) / cell;
  };
  double bytes = 0.0;
  for (const ScaleView& s : operand.scale) {
    bytes += view_bytes({s.data, cells(rows, s.rows), cells(columns, s.cols)});
  }
  return bytes;
}

MemberWork member_work(const Member& m) {
  const auto [rows, columns] = m.out.shape;
  const std::int64_t k = m.a.data.shape[1];
  MemberWork work;
  work.ops = 2.0 * static_cast<double>(m.a.data.shape[0]) * static_cast<double>(k) *
             static_cast<double>(columns);
  work.bytes = weight_bytes(m.b) + view_bytes(m.a.data) + view_bytes(m.out) +
               view_bytes({m.epilogue.bias, rows, columns}) +
               view_bytes({m.epilogue.c, rows, columns}) + scale_bytes(m.a, rows, k) +
               scale_bytes(m.b, k, columns);
  return work;
}

}  // namespace

double weight_bytes(const OperandView& b) {
  if (b.packed == nullptr) return view_bytes(b.data);
  return static_cast<double>(b.packed->k() * b.packed->n() * element_bytes(b.packed->dtype()));
}

Work work_of(const MatmulProblem& p) {
  Work work;
  for (std::int64_t g = 0; g < group_count(p); ++g) {
    const Member m = member(p, g);
    if (m.a.data.shape[0] == 0) continue;
    work.members.push_back(member_work(m));
    work.ops += work.members.back().ops;
    work.bytes += work.members.back().bytes;
  }
  return work;
}

Floor Work::floor(double gops, double gbps) const {
  double total = 0.0;
  double waiting = 0.0;
  for (const MemberWork& m : members) {
    const double compute = m.ops * 1e-9 / gops;
    const double memory = m.bytes * 1e-9 / gbps;
    total += std::max(compute, memory);
    if (memory > compute) waiting += memory;
  }
  return {total, waiting > 0.5 * total};
}

}  // namespace octavo::kit
