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
  // api: ScaledMmOptions, of api/operations.toml
  /// decode multipliers: undefined (the scale that the operand carries, else none), null
  /// (explicitly none), a number, or a tensor (float32, bfloat16, float16, float8_e8m0fnu). Without
  /// a granularity a tensor is broadcast: a 1-D scale_a has K elements, a 1-D scale_b N
  Scale scale_a{};
  Scale scale_b{};
  /// float type: N elements (or 1, or [1, N]), one for each row [M, 1], or [M, N]
  TensorView bias{};
  /// a number, one element or [N]; multiplies every output, whatever its type
  Scale scale_result{};
  /// default: that of a 16- or 32-bit float type with itself or with 8 bits, bfloat16 for fp8 with
  /// fp8, else float32. int32: the exact sum of integers
  DType out_dtype = DType::undefined;
  /// a number or one element
  Scale alpha{};
  /// a number or one element; needs c; the number 0: c is not read
  Scale beta{};
  /// [M, N], any float type; without beta: beta = 1
  TensorView c{};
  /// zero points of an integer A: int32, int8 or uint8; one element or [M]
  TensorView azp{};
  /// A is given as [K, M]
  bool trans_a = false;
  /// B is given as [N, K]
  bool trans_b = false;
  /// where the result goes; default: allocated by the call. No gradient flows through it
  TensorView out{};
  /// what every product takes
  MatmulOptions matmul{};
  /// force a backend by name (reference, ...); default: the best that accepts
  const char* backend = nullptr;
  // api: end
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
/// arguments' memory. Without `out` the output is what the call would allocate, but has no memory
/// (set_output gives it some, to run it). Throws Error.
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
