// SPDX-License-Identifier: Apache-2.0
// A norm, an activation function or a rotation and the quantiser behind it, a block of rows at a
// time where rows have scales of their own or given ones.
#include <algorithm>
#include <mutex>

#include "backends/host/passes.hpp"
#include "core/error.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::host {
namespace {

constexpr std::int64_t kRowsAtOnce = 16;
constexpr std::int64_t kBytesAtOnce = 128 << 10;  // of rows between: part of a second-level cache
constexpr std::int64_t kWork = 6;  // elements that a row's work is worth, of each of its own

class RowsQuantizer {
 public:
  RowsQuantizer(const Passes& passes, const QuantizeRowsProblem& problem) noexcept
      : passes_(passes),
        p_(problem),
        between_(problem.quantize.x),
        rows_(between_.shape[0]),
        row_bytes_(between_.shape[1] * element_bytes(between_.dtype)) {}

  Status run(Arena& arena, const ExecContext& context) const noexcept {
    if (!rows_apart()) {
      const MatrixView floats = take(arena, rows_);
      return arena.counting() ? Status() : block(0, rows_, floats, context);
    }
    const std::int64_t most = std::clamp<std::int64_t>(
        kBytesAtOnce / std::max<std::int64_t>(row_bytes_, 1), 1, kRowsAtOnce);
    const std::int64_t bands = bands_of(context, rows_, rows_ * between_.shape[1] * kWork);
    auto* scratch = arena.take<char>(bands * block_bytes(most));
    if (arena.counting()) return {};
    Status first;
    std::mutex joining;
    for_each_band(context, bands, rows_,
                  [&](std::int64_t band, std::int64_t begin, std::int64_t end) noexcept {
                    Status status = blocks(begin, end, most, scratch + band * block_bytes(most));
                    if (status.ok()) return;
                    const std::lock_guard lock(joining);
                    first = std::move(status);
                  });
    return first;
  }

 private:
  bool rows_apart() const noexcept {
    const QuantizeProblem& q = p_.quantize;
    return q.grid.rows == 1 || (q.static_scales && q.grid.rows >= rows_);
  }

  MatrixView take(Arena& arena, std::int64_t rows) const noexcept {
    return take_matrix(arena, between_.dtype, rows, between_.shape[1], between_.device);
  }
  std::int64_t block_bytes(std::int64_t rows) const noexcept {
    Arena counter(nullptr);
    (void)take(counter, rows);
    return static_cast<std::int64_t>(counter.used());
  }

  Status blocks(std::int64_t begin, std::int64_t end, std::int64_t most,
                char* scratch) const noexcept {
    const ExecContext alone{.executor = &serial_executor()};
    for (std::int64_t r = begin; r < end; r += most) {
      const std::int64_t stop = std::min(end, r + most);
      Arena arena(scratch);
      OCTAVO_TRY(block(r, stop, take(arena, stop - r), alone));
    }
    return {};
  }

  Status make(std::int64_t begin, std::int64_t end, const MatrixView& floats,
              const ExecContext& context) const noexcept {
    if (p_.norm.x.defined()) {
      RmsNormProblem norm = p_.norm;
      norm.x = norm.x.slice(0, begin, end);
      if (norm.residual.defined()) norm.residual = norm.residual.slice(0, begin, end);
      norm.out = floats;
      return passes_.rms_norm(norm, context);
    }
    if (p_.silu.x.defined()) {
      SiluProblem silu = p_.silu;
      silu.x = silu.x.slice(0, begin, end);
      silu.out = floats;
      return passes_.silu_and_mul(silu, context);
    }
    return passes_.rotate({p_.rotate.x.slice(0, begin, end), p_.rotate.block, floats}, context);
  }

  // Rows [begin, end), by way of `floats`.
  Status block(std::int64_t begin, std::int64_t end, const MatrixView& floats,
               const ExecContext& context) const noexcept {
    OCTAVO_TRY(make(begin, end, floats, context));
    QuantizeProblem q = p_.quantize;
    q.x = floats;
    q.codes = q.codes.slice(0, begin, end);
    if (q.grid.rows == 1) {
      q.scales = q.scales.slice(0, begin, end);
      if (q.azp.defined()) q.azp = q.azp.slice(0, begin, end);
      if (q.shown_scales.defined()) q.shown_scales = q.shown_scales.slice(0, begin, end);
    }
    return passes_.quantize(q, context);
  }

  const Passes& passes_;
  const QuantizeRowsProblem& p_;
  MatrixView between_;
  std::int64_t rows_, row_bytes_;
};

}  // namespace

Status quantize_rows_by(const Passes& passes, const QuantizeRowsProblem& problem, Arena& arena,
                        const ExecContext& context) noexcept {
  return RowsQuantizer(passes, problem).run(arena, context);
}

}  // namespace octavo::host
