// SPDX-License-Identifier: Apache-2.0
// Neighbouring elements of operand types through the kernels, in pieces that stay in a first-level
// cache; all others as any host does it.
#include <algorithm>
#include <array>

#include "backends/cpu/passes/passes.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/rows.hpp"
#include "backends/host/passes.hpp"
#include "core/data/rows.hpp"
#include "core/fp_env.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kPieceColumns = 2048;

bool is_operand(DType dtype) noexcept { return is_floating(dtype) || is_integer8(dtype); }

}  // namespace

Status convert(const ConvertProblem& p, const ExecContext& context) noexcept {
  const InnerRow row = innermost(p.from, p.to);
  const bool neighbours = (row.stride_a == 1 && row.stride_b == 1) || row.length == 1;
  if (p.from.dtype == p.to.dtype || !neighbours || !is_operand(p.from.dtype) ||
      !is_operand(p.to.dtype)) {
    return host::convert(p, context);
  }
  const FloatEnvironment environment;
  const Kernels& kernels = best_kernels();
  std::array<float, static_cast<std::size_t>(kPieceColumns)> piece;
  for_each_row(p.from, p.to, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t i = 0; i < row.length; i += kPieceColumns) {
      const std::int64_t count = std::min(kPieceColumns, row.length - i);
      widen(kernels, p.from.dtype, p.from.at(from + i), 1, count, piece.data());
      narrow(kernels, p.to.dtype, piece.data(), count, p.to.at(to + i), 1, p.overflow);
    }
  });
  return {};
}

}  // namespace octavo::cpu
