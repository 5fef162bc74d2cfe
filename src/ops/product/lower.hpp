// SPDX-License-Identifier: Apache-2.0
// Lowering: from the arguments of an operation to a validated problem.
#pragma once

#include <vector>

#include "octavo/grouped.hpp"
#include "octavo/linear.hpp"
#include "octavo/matmul.hpp"
#include "ops/rules.hpp"

namespace octavo {

/// A problem on its way. Its output is undefined where the call is to allocate it; type and shape
/// are in `out_dtype` and `extents`.
struct Lowered {
  MatmulProblem problem;
  Extents extents;
  DType out_dtype = DType::undefined;
  TensorView out;  ///< options.out
  Tensor offs;     ///< what problem.groups.offs looks at
};

/// A single product.
Result<Lowered> lower_product(const Site& site, const Operand& a, const Operand& b,
                              const ScaledMmOptions& options);

/// The offsets of a call, copied once: another thread may be writing the caller's. What was read is
/// what is checked, planned for and run. Those of a device stay there, unread.
Result<Tensor> read_offsets(const Site& site, const TensorView& offs, const ExecContext& context);

/// The same on the host, waited for: for what has to know where groups begin.
Result<Tensor> host_offsets(const Site& site, const TensorView& offs, const ExecContext& context);

/// A tensor-form grouped product; `reading` says how a scale without granularity is read.
Result<Lowered> lower_grouped(const Site& site, const Operand& a, const Operand& b,
                              const GroupedOptions& options, ScaleReading reading,
                              const ExecContext& context);

/// A batch with one scale: the strict 3-D form.
Result<Lowered> lower_batch(const Site& site, const Operand& input, const Operand& weight,
                            const ScaledGroupedMmOptions& options, const ExecContext& context);

/// The shape of the output of a lowered problem.
std::array<std::int64_t, 3> out_shape(const Lowered& lowered, int* rank) noexcept;

/// The problem with its output: the caller's, or the type, shape and strides of what the call would
/// allocate, without memory.
MatmulProblem outlined(const Lowered& lowered);

/// Allocates the output where none was supplied, runs, and returns the output.
Result<Tensor> run_lowered(Lowered& lowered, const ExecContext& context, const char* backend);

/// A tensor of any rank as a matrix of its last dimension: a view where its leading dimensions
/// merge, else a copy.
struct FlatRows {
  TensorView view;
  Tensor copy;
};
Result<FlatRows> flatten_rows(const char* operation, const TensorView& view,
                              const ExecContext& context);

/// linear as the arguments of a single product: x as a matrix, quantised as the weight says.
struct LinearArguments {
  FlatRows rows;
  Operand a;
  ScaledMmOptions options;
};
Result<LinearArguments> linear_arguments(const Site& site, const TensorView& x,
                                         const Operand& weight, const ActivationQuant* rule,
                                         const LinearOptions& options, const ExecContext& context);

/// LLM.int8: the rule of an activation operand with what one call adds to it, which has to outlive
/// the call.
struct CallRule {
  ActivationQuant rule;
  std::vector<std::int64_t> columns;  ///< the rule's, on the host
  Tensor found, count;                ///< where the call lists columns, and how many
};
Status extend_rule(const char* operation, const LinearOptions& options, std::int64_t k,
                   const ExecContext& context, CallRule& call, Operand& a);

/// The list form: lists of one length, an entry's input as a matrix, and its other arguments.
Status check_lists(const char* operation, std::span<const Operand> inputs,
                   std::span<const Operand> weights, const GroupedListOptions& options);
Result<FlatRows> flatten_input(const Site& site, const TensorView& input,
                               const ExecContext& context);
ScaledMmOptions entry_options(const GroupedListOptions& options, std::size_t i);

/// The output of a product whose A has any rank: A's leading dimensions, then n.
struct FlatOut {
  Tensor tensor;  ///< what the caller gets
  FlatRows rows;  ///< the matrix that the product writes
  /// Brings the result to the caller's tensor where the matrix is a copy.
  Status finish(const char* operation, const ExecContext& context) const;
};
/// Checks the supplied output, or allocates where it is undefined.
Result<FlatOut> flatten_out(const Site& site, const TensorView& a, std::int64_t n, DType dtype,
                            const TensorView& supplied, const ExecContext& context);

}  // namespace octavo
