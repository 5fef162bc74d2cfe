// SPDX-License-Identifier: Apache-2.0
// Counting operations and bytes.
#include "kit/work.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "octavo/packed.hpp"

namespace octavo::kit {
namespace {

double view_bytes(const TensorView& v) {
  if (!v.defined()) return 0.0;
  double bytes = static_cast<double>(element_bytes(v.dtype));
  for (std::size_t d = 0; d < static_cast<std::size_t>(v.rank); ++d) {
    bytes *= v.strides[d] == 0 ? 1.0 : static_cast<double>(v.shape[d]);
  }
  return bytes;
}

MemberWork member_work(const Member& m) {
  MemberWork work;
  work.ops = 2.0 * static_cast<double>(m.a.data.shape[0]) * static_cast<double>(m.a.data.shape[1]) *
             static_cast<double>(m.out.shape[1]);
  work.bytes = weight_bytes(m.b) + view_bytes(m.a.data) + view_bytes(m.out) +
               view_bytes(m.epilogue.bias) + view_bytes(m.epilogue.c);
  for (const ScaleView& s : m.a.scale) work.bytes += view_bytes(s.data);
  for (const ScaleView& s : m.b.scale) work.bytes += view_bytes(s.data);
  return work;
}

}  // namespace

double weight_bytes(const Operand& b) {
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
