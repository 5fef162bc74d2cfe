// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernels/passes/vectorwise.hpp"

#include <bit>
#include <cstdlib>
#include <limits>

#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/passes/passes.hpp"

namespace octavo::cuda {
namespace {

bool columns_together(const MatrixView& x) noexcept {
  return x.shape[0] > 1 && std::abs(x.strides[0]) < std::abs(x.strides[1]);
}

Status find(const VectorwiseProblem& q, std::uint32_t limit, const Place& place) noexcept {
  VectorwiseFind::Params p;
  p.transposed = columns_together(q.x);
  p.x = p.transposed ? q.x.transposed() : q.x;
  p.words = has_words(p.x, kOctet * element_bytes(q.x.dtype));
  p.limit = limit;
  p.flags = q.column_flags;
  return launch_elements<VectorwiseFind>(KernelId::vectorwise_find,
                                         p.x.shape[0] * octets_of(p.x.shape[1]), p, place);
}

template <class Kernel>
Status rows(KernelId id, const VectorwiseProblem& q, std::uint32_t limit, std::uint32_t team,
            const Place& place) noexcept {
  typename Kernel::Params p;
  p.x = q.x;
  p.codes = q.codes;
  p.absmax = q.absmax;
  p.limit = limit;
  p.flags = q.column_flags;
  const std::uint8_t found = q.by_element ? std::uint8_t{0} : kFoundColumn;
  p.uncoded = kFixedColumn | found;
  p.uncounted = q.whole_columns ? p.uncoded : kFixedColumn;
  p.zero_rows = q.zero_rows;
  p.input_words = has_words(q.x, kOctet * element_bytes(q.x.dtype));
  p.code_words = has_words(q.codes, kOctet);
  p.team = team;
  const std::int64_t teams = Kernel::kThreads / team;
  return launch_pass<Kernel>(id, (q.x.shape[0] + teams - 1) / teams, p, place);
}

}  // namespace

Status vectorwise(const VectorwiseProblem& q, const ExecContext& context) noexcept {
  const Place place = context.place(q.x.device);
  const std::int64_t columns = q.x.shape[1];
  constexpr auto kNone = std::numeric_limits<std::uint32_t>::max();
  const bool finds = q.threshold > 0.0F;
  const std::uint32_t limit = finds ? std::bit_cast<std::uint32_t>(q.threshold) : kNone;
  if (q.column_flags != nullptr) {
    OCTAVO_TRY(launch_elements<VectorwiseMark>(KernelId::vectorwise_mark, columns,
                                               {q.column_flags, columns, q.fixed_columns}, place));
    if (finds) OCTAVO_TRY(find(q, limit, place));
  }
  if (columns_together(q.x)) {
    OCTAVO_TRY(
        rows<VectorwiseTransposedRows>(KernelId::vectorwise_transposed_rows, q, limit, 1, place));
  } else {
    const bool short_rows = octets_of(columns) <= 32 * VectorwiseLongRows::kKept;
    OCTAVO_TRY(rows<VectorwiseLongRows>(KernelId::vectorwise_long_rows, q, limit,
                                        short_rows ? 32 : VectorwiseLongRows::kThreads, place));
  }
  if (q.column_flags == nullptr) return {};
  const std::uint8_t stay = q.by_element ? kFixedColumn : kFixedColumn | kFoundColumn;
  return launch_pass<VectorwiseList>(KernelId::vectorwise_list, 1,
                                     {q.column_flags, columns, stay, q.columns, q.column_count},
                                     place);
}

}  // namespace octavo::cuda
