// SPDX-License-Identifier: Apache-2.0
// scaled_mm: one product with scales, zero points, bias and every output type.
#pragma once

#include <cstddef>

#include "octavo/context.hpp"
#include "octavo/packed.hpp"
#include "octavo/problem.hpp"

namespace octavo {

/// The arguments of scaled_mm beside the two matrices, in the order of the operation's definition.
struct ScaledMmOptions {
  Scale scale_a{};
  Scale scale_b{};
  TensorView bias{};                   ///< float type; [N], [1, N], one element, [M, 1] or [M, N]
  Scale scale_result{};                ///< a number, one element or [N]; multiplies every output
  DType out_dtype = DType::undefined;  ///< undefined: the default of the operand types

  Scale alpha{};         ///< a number or one element
  Scale beta{};          ///< a number or one element; needs `c`; the number 0: c is not read
  TensorView c{};        ///< [M, N], any float type; without beta: beta = 1
  TensorView azp{};      ///< zero points of an integer A: int32, int8 or uint8; one element or [M]
  bool trans_a = false;  ///< A is given as [K, M]
  bool trans_b = false;  ///< B is given as [N, K]
  TensorView out{};      ///< where the result goes; undefined: allocated by the call
  MatmulOptions matmul{};
  const char* backend = nullptr;  ///< force a backend by name; null: the best that accepts
};

/// out = cast(((A * scale_a) @ (B * scale_b) * alpha + beta * C + bias) * scale_result)
///
/// Shapes   A [M,K], B [K,N], strictly 2-D, any strides; M, N, K may be 0 (K = 0 sums to 0).
/// Types    any of int8, uint8, fp8, bfloat16, float16, float32 @ any other: all widen exactly, and
///          integers by integers sum exactly. Default out_dtype: default_out_dtype(a, b). int32
///          output: integer operands, nothing but azp.
/// Scales   see Scale and Granularity. A 1-D scale_a has K elements (broadcasting); say
///          `{scale, per_token()}` for one of M. A 1-D scale_b has N elements.
/// Numerics integer sums are exact; floating sums are float32 in ascending k. The sequence of
///          roundings is the specification's section 3, the bound its section 9.
/// Errors   invalid_argument, unsupported, unavailable (forced backend), out_of_memory.
OCTAVO_API Tensor scaled_mm(const Operand& a, const Operand& b, const ScaledMmOptions& options = {},
                            const ExecContext& context = {});

/// The problem that scaled_mm would run, for `explain` and `workspace_bytes`. It refers to the
/// arguments' memory; `out` may be undefined. Throws Error.
OCTAVO_API MatmulProblem scaled_mm_problem(const Operand& a, const Operand& b,
                                           const ScaledMmOptions& options = {});

/// The out_dtype of a product that names none: that of 16- or 32-bit floats multiplied by their own
/// type or by 8 bits, bfloat16 for fp8, else float32.
OCTAVO_API DType default_out_dtype(DType a, DType b) noexcept;

/// Runs a problem that one of the `..._problem` functions made and whose `out` is set. The memory
/// it refers to must still be there. Throws Error.
OCTAVO_API void run(const MatmulProblem& problem, const ExecContext& context = {},
                    const char* backend = nullptr);

/// Scratch memory that running this problem takes on this context, in bytes. Throws Error.
OCTAVO_API std::size_t workspace_bytes(const MatmulProblem& problem,
                                       const ExecContext& context = {},
                                       const char* backend = nullptr);

}  // namespace octavo
