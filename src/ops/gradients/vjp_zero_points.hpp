// SPDX-License-Identifier: Apache-2.0
// Zero points far outside the codes, in gradients: x[s, k] - azp[s] is then no number of 8 bits.
//
//   x - azp = (x - near) + (near - azp)        near = azp, cut to the range of x's codes
//
// Both parts have one sign, so their sums cancel nothing. The first is a product of small integers;
// the second does not depend on k: its sums over s, one a row of grad, are split into kRestPieces
// numbers of the working type and enter the product as columns of grad that meet rows of ones.
#pragma once

#include "octavo/problem.hpp"
#include "octavo/status.hpp"
#include "ops/gradients/vjp.hpp"

namespace octavo {

/// bfloat16 numbers that hold as much as one float32.
inline constexpr std::int64_t kRestPieces = 3;

/// The zero points of a right operand x [S, K], in two parts.
struct FarZeroPoints {
  Tensor near;  ///< int32 [S, 1]; undefined: all are near enough
  Tensor rest;  ///< float32 [S]: near - azp

  bool present() const noexcept { return near.defined(); }
};

/// Is every code less its zero point an integer of magnitude 256 at most, exact in bfloat16? The
/// host waits for a device's.
Result<bool> near_zero_points(const VjpCall& call, const OperandView& x);

Result<FarZeroPoints> split_zero_points(const VjpCall& call, const OperandView& x);

/// grad [R, S] times the rest, into the kRestPieces columns of `pieces` [R, kRestPieces].
Status sum_rest(const VjpCall& call, const MatrixView& grad, const Tensor& rest,
                const MatrixView& pieces);

}  // namespace octavo
