// SPDX-License-Identifier: Apache-2.0
// silu_and_mul and a quantiser behind it, a block of rows at a time where the rule allows
// it and memory is the host's.
#include <algorithm>
#include <mutex>

#include "backends/host/passes.hpp"
#include "core/data/cells.hpp"
#include "core/data/convert.hpp"
#include "core/data/element.hpp"
#include "core/error.hpp"
#include "core/scales/quantize_rules.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::host {
namespace {

constexpr std::int64_t kBlockRows = 16;  // from float32 sums to codes inside a second-level cache

class Activation {
 public:
  Activation(const Passes& passes, const ActivateProblem& problem, Memory memory) noexcept
      : passes_(passes),
        p_(problem),
        memory_(memory),
        rows_(problem.h.shape[0]),
        inner_(problem.h.shape[1] / 2) {}

  Status run(Rows& result, Arena& arena, const ExecContext& context) const noexcept {
    if (memory_ == Memory::host && p_.rule != nullptr && rows_apart(*p_.rule))
      return by_blocks(result, arena, context);
    const DType dtype = p_.rule != nullptr ? DType::float32 : p_.dtype;
    const MatrixView floats = matrix(arena, dtype, rows_, inner_);
    if (!arena.counting()) {
      OCTAVO_TRY(passes_.silu_and_mul({.x = p_.h, .out = floats}, context));
    }
    result = {floats, {}, {}};
    if (p_.rule == nullptr) return {};
    OCTAVO_TRY_ASSIGN(result, quantize(passes_, *p_.rule, floats, arena, context));
    return {};
  }

 private:
  MatrixView matrix(Arena& arena, DType dtype, std::int64_t rows,
                    std::int64_t columns) const noexcept {
    return take_matrix(arena, dtype, rows, columns, p_.h.device);
  }

  // The shapes of what the rule makes are those that it would make of a block.
  Status by_blocks(Rows& result, Arena& arena, const ExecContext& context) const noexcept {
    const std::int64_t bands =
        bands_of(context, (rows_ + kBlockRows - 1) / kBlockRows, rows_ * inner_ * 4);
    Arena counter(nullptr);
    const MatrixView outline = matrix(counter, DType::float32, kBlockRows, inner_);
    OCTAVO_TRY_ASSIGN(const Rows made, quantize(passes_, *p_.rule, outline, counter, context));
    const auto band_bytes = static_cast<std::int64_t>(counter.used());
    auto* scratch = arena.take<char>(band_bytes * bands);
    result.data = matrix(arena, made.data.dtype, rows_, inner_);
    result.scale = made.scale;
    result.scale.rows = 1;
    const std::int64_t across = cells(inner_, made.scale.cols);
    result.scale.data = matrix_view(arena.take<float>(rows_ * across), made.scale.data.dtype, rows_,
                                    across, p_.h.device);
    result.azp = {};
    if (made.azp.defined()) result.azp = matrix(arena, DType::int32, rows_, 1);
    if (arena.counting()) return {};
    Status first;
    std::mutex joining;
    for_each_band(
        context, bands, rows_, [&](std::int64_t band, std::int64_t begin, std::int64_t end) {
          for (std::int64_t r = begin; r < end; r += kBlockRows) {
            Status status =
                block(result, r, std::min(end, r + kBlockRows), scratch + band * band_bytes);
            if (status.ok()) continue;
            const std::lock_guard lock(joining);
            first = std::move(status);
          }
        });
    return first;
  }

  Status block(const Rows& result, std::int64_t begin, std::int64_t end,
               char* scratch) const noexcept {
    const ExecContext alone{.executor = &serial_executor()};
    Arena arena(scratch);
    const std::int64_t rows = end - begin;
    MatrixView floats = matrix(arena, DType::float32, kBlockRows, inner_);
    floats.shape[0] = rows;
    OCTAVO_TRY(passes_.silu_and_mul({.x = p_.h.slice(0, begin, end), .out = floats}, alone));
    ActivationQuant rule = *p_.rule;
    rule.codes = static_cast<TensorView>(result.data.slice(0, begin, end));
    rule.scales = {};
    OCTAVO_TRY_ASSIGN(const Rows made, quantize(passes_, rule, floats, arena, alone));
    const bool own = made.scale.rows == 1;  // else one for all rows
    const std::int64_t across = cells(inner_, made.scale.cols);
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t cell = own ? r : 0;
      copy_elements({made.scale.data.from(cell, 0), 1, across},
                    {result.scale.data.from(begin + r, 0), 1, across});
      if (!result.azp.defined()) continue;
      store_int32(result.azp.data, begin + r, static_cast<std::int32_t>(load_int(made.azp, r, 0)));
    }
    return {};
  }

  const Passes& passes_;
  const ActivateProblem& p_;
  Memory memory_;
  std::int64_t rows_, inner_;
};

}  // namespace

Status activate_by(const Passes& passes, const ActivateProblem& problem, Rows& result, Arena& arena,
                   const ExecContext& context, Memory memory) noexcept {
  return Activation(passes, problem, memory).run(result, arena, context);
}

}  // namespace octavo::host
