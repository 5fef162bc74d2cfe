// SPDX-License-Identifier: Apache-2.0
// Gradients of products, member by member: how every operation's gradients are computed.
//
// Every operation lowers to members (a single product has one). The gradients of a and of b are
// products themselves, one list problem each, which run_problem gives to the fast backends;
// gradients of everything else are sums over cells (reduce).
#pragma once

#include <span>
#include <vector>

#include "backends/backend.hpp"
#include "octavo/context.hpp"
#include "octavo/gradient.hpp"
#include "octavo/problem.hpp"
#include "octavo/status.hpp"

namespace octavo {

/// Where a call's own tensors lie.
struct VjpMemory {
  const char* operation;
  Place place;
};

/// What all members of a call share.
struct VjpCall : VjpMemory {
  MatmulOptions matmul;
  bool float32 = false;      ///< GradientOptions
  bool dequantized = false;  ///< GradientOptions
  ExecContext context;
  const char* backend = nullptr;  ///< of products
  const Backend* on = nullptr;    ///< who rescales and sums: the first that can
};

/// One product, and where its gradients go. What is not wanted is undefined, or a scale of no kind.
/// Sums are float64 cells that the gradients are added to.
struct VjpMember {
  Member forward;                      ///< as it ran; `out` is not used
  DType out_dtype = DType::undefined;  ///< of its result
  OperandView a, b;                    ///< what was multiplied: quantised, unpacked
  MatrixView grad;                     ///< [M, N]
  MatrixView c;                        ///< C, [M, N], even where beta is 0
  MatrixView grad_a, grad_b, grad_c;   ///< [M, K], [K, N], [M, N]
  ScaleView scale_a, scale_b;          ///< sums over the grids of a.scale[0], b.scale[0]
  ScaleView bias, scale_result;        ///< sums over columns
  ScaleView alpha, beta;               ///< one sum
};
Status run_vjp(const VjpCall& call, std::span<VjpMember> members);

/// One of the two products of a member: out[R, K] = (grad[R, S] * result) @ x[S, K] * own * alpha.
/// For a: R = M, S = N, x = b transposed, own = a. For b, transposed: R = N, S = M, x = a.
struct VjpProduct {
  MatrixView grad;
  OperandView x;     ///< with zero points, if it has any
  OperandView own;   ///< the operand whose gradient this is
  ScaleView result;  ///< scale_result over grad
  Factor alpha;
  MatrixView out;  ///< undefined: only the sums are wanted
  ScaleView sums;  ///< of own.scale[0]
};
Status run_products(const VjpCall& call, std::span<const VjpProduct> products);

/// The gradient of b under LLM.int8, into m.grad_b; `result` is scale_result over grad.
Status llm_int8_weight_gradient(const VjpCall& call, const VjpMember& m, const ScaleView& result);

/// A packed weight as the operand that it holds, in memory that is added to `owned`; everything
/// else as it is.
Result<Operand> plain_weight(const VjpCall& call, const Operand& b, std::vector<Tensor>& owned);

/// A tensor without holes whose dimensions lie in memory in the order of `like`'s.
Result<Tensor> empty_like(const VjpMemory& memory, const TensorView& like, DType dtype);

/// A row-major matrix that no caller sees.
Result<Tensor> plane(const VjpMemory& memory, DType dtype, std::int64_t rows, std::int64_t columns);

}  // namespace octavo
