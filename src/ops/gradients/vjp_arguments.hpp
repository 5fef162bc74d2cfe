// SPDX-License-Identifier: Apache-2.0
// From the arguments of an operation to members with places for their gradients.
//
// A gradient has the shape of its argument, and the argument is read by the operation's own
// lowering. So an operation is lowered a second time, with stand-ins in place of scales, bias and
// factors: float64 sums in the argument's own shape. Whatever the lowering cuts out of a stand-in
// says which sums the elements of a member belong to.
#pragma once

#include <concepts>
#include <vector>

#include "ops/gradients/vjp.hpp"
#include "ops/product/lower.hpp"

namespace octavo {

/// Sums in the shape of an argument.
class StandIn {
 public:
  bool wanted() const noexcept { return sums_.defined(); }
  /// Zeroed sums like this argument. A number has no dimensions.
  Status make(const VjpMemory& memory, const TensorView& argument);
  Status make_number(const VjpMemory& memory);
  /// What the lowering reads in the argument's place: its shape and type, never its elements.
  const TensorView& argument() const noexcept { return argument_; }
  /// The sums at what the lowering cut out of the argument.
  ScaleView cells(const ScaleView& cut) const noexcept;
  ScaleView cells(const Elements& cut) const noexcept;  ///< one for each element, or shared
  const TensorView& sums() const noexcept { return sums_; }
  /// The gradient: each sum rounded to float32 once.
  Result<Tensor> round(const VjpMemory& memory) const;

 private:
  Elements place(const Elements& cut) const noexcept;
  TensorView argument_;
  Tensor sums_;
};

struct StandIns {
  StandIn scale_a, scale_b, bias, alpha, beta, scale_result;
};

/// The arguments that stand-ins replace.
struct VjpArguments {
  Operand &a, &b;
  Scale &scale_a, &scale_b;
  TensorView& bias;
  Scale &alpha, &beta, &scale_result;
};

/// Puts stand-ins in the place of the arguments whose gradients are wanted. One that was not given
/// is an error, or, in `optional` arguments of lists, has no gradient.
Status put_stand_ins(const Site& site, const VjpMemory& memory, const MatmulWanted& wanted,
                     bool optional, const VjpArguments& arguments, StandIns& stand_ins);

/// grad: float32, bfloat16 or float16, of that shape.
Status check_grad(const Site& site, const TensorView& grad, std::span<const std::int64_t> shape);
/// The type of the gradients of a, b and c, or undefined: each argument's own.
Status check_gradient_options(const char* operation, const GradientOptions& options);
DType gradient_dtype(const GradientOptions& options, DType argument, DType grad) noexcept;

/// An operation whose gradients are on their way.
struct VjpEntry {
  MatmulGradients gradients;
  StandIns stand_ins;
  Lowered forward;
  FlatRows a, grad;           ///< as matrices, of operands of any rank
  std::vector<Tensor> owned;  ///< what members refer to: unpacked and quantised operands
  bool transposed_a = false, transposed_b = false;  ///< as the caller gave them
};

/// Allocates the gradients of a, b and c, and appends the operation's members. `shadow` is the
/// operation lowered with stand-ins; `a` the operand as the caller gave it.
Status add_members(const Site& site, const VjpMemory& memory, const MatmulWanted& wanted,
                   const GradientOptions& options, const TensorView& a, const TensorView& b,
                   const TensorView& c, const MatmulProblem& shadow, VjpEntry& entry,
                   std::vector<VjpMember>& members);

/// Rounds the sums to the gradients they are.
Status finish_gradients(const VjpMemory& memory, VjpEntry& entry);

}  // namespace octavo
