// SPDX-License-Identifier: Apache-2.0
// Activations on their way into the products of experts.
#pragma once

#include <cstdint>

#include "backends/backend.hpp"
#include "backends/host/arena.hpp"
#include "core/matrix.hpp"
#include "layers/routing.hpp"

namespace octavo {

/// What a product reads of its rows: elements, scale, zero points ([R, 1], stride 0 for one).
struct Rows {
  TensorView data;
  ScaleView scale;
  TensorView azp;

  /// Operand A over `count` of the rows, without addresses.
  Operand outline(std::int64_t count) const noexcept;
  /// Gives it rows [begin, ...).
  void place(std::int64_t begin, Operand& operand) const noexcept;
};

/// Does the rule treat every row for itself?
bool rows_apart(const ActivationQuant& rule) noexcept;

/// Quantises x [R, K] by a rule in `arena`; over a counting arena it only reserves.
Result<Rows> quantise(const Backend& backend, const ActivationQuant& rule, const TensorView& x,
                      Arena& arena, const ExecContext& context) noexcept;

/// The rows of `tokens` that routes name, in memory of `arena`. What all rows share stays shared.
Rows gather(const Rows& tokens, const Routing& routing, Arena& arena,
            const ExecContext& context) noexcept;

/// Rows of x's type, each multiplied by its route's factor.
Result<TensorView> apply_factors(const Backend& backend, const TensorView& rows,
                                 const Routing& routing, Arena& arena,
                                 const ExecContext& context) noexcept;

/// silu_and_mul of float32 rows h [R, 2 I], quantised by a rule (null: converted to `dtype`).
class Activation {
 public:
  Activation(const Backend& backend, const ActivationQuant* rule, DType dtype, std::int64_t rows,
             std::int64_t inner) noexcept
      : backend_(backend), rule_(rule), dtype_(dtype), rows_(rows), inner_(inner) {}

  /// Takes what `run` needs and what it leaves behind. Afterwards `result` has its shapes.
  Status take(Arena& arena, const ExecContext& context) noexcept;
  /// `arena` is the one that `take` carved from.
  Status run(const TensorView& h, Arena& arena, const ExecContext& context) noexcept;
  const Rows& result() const noexcept { return result_; }

 private:
  Status take_blocks(Arena& arena, const ExecContext& context) noexcept;
  Status run_blocks(const TensorView& h, const ExecContext& context) noexcept;
  Status run_block(const TensorView& h, std::int64_t begin, std::int64_t end,
                   char* scratch) const noexcept;

  const Backend& backend_;
  const ActivationQuant* rule_;
  DType dtype_;
  std::int64_t rows_, inner_;
  Rows result_;
  TensorView floats_;        // of a rule that looks at all rows, or of none
  char* scratch_ = nullptr;  // of the bands, `band_bytes_` each
  std::int64_t bands_ = 1, band_bytes_ = 0;
};

}  // namespace octavo
