// SPDX-License-Identifier: Apache-2.0
// Grouped products: lists of matrices, tensor forms cut by offsets, and batches.
#pragma once

#include <span>
#include <vector>

#include "octavo/matmul.hpp"

namespace octavo {

/// The arguments of the list form beside inputs and weights. Every span is empty or as long as the
/// inputs; an entry may be undefined (no bias, no scale, output allocated).
struct GroupedListOptions {
  // api: GroupedListOptions, of api/operations.toml
  /// one for each entry, where it has one
  std::span<const TensorView> biases{};
  /// of all results
  DType out_dtype = DType::undefined;
  /// one for each entry
  std::span<const Scale> scales_a{};
  std::span<const Scale> scales_b{};
  /// where results go; default: allocated by the call
  std::span<const TensorView> outs{};
  /// what every product takes
  MatmulOptions matmul{};
  /// force a backend by name; default: the best that accepts
  const char* backend = nullptr;
  // api: end
};

/// outputs[i] = cast(inputs[i] @ weights[i] + biases[i])
///
/// Shapes   inputs[i] [k], [p,k] or [...,k]; weights[i] [k,m]; outputs[i] [m], [p,m] or [...,m].
///          Sizes and types are free per entry; lists are not broadcast. An empty list gives an
///          empty list.
/// Types, numerics and errors as scaled_mm; every error names the entry's index.
OCTAVO_API std::vector<Tensor> grouped_mm(std::span<const Operand> inputs,
                                          std::span<const Operand> weights,
                                          const GroupedListOptions& options = {},
                                          const ExecContext& context = {});

/// The arguments of the tensor forms beside the two tensors.
struct GroupedOptions {
  // api: GroupedOptions, of api/operations.toml
  /// int32 or int64 [G]: cumulative ends; [G + 1] from 0 with `offs_prefix`
  TensorView offs{};
  bool offs_prefix = false;
  /// [N] or [G, N]; 3-D by 2-D: [N] of the whole output
  TensorView bias{};
  /// default: as of scaled_mm
  DType out_dtype = DType::undefined;
  /// one element, [M] per row, or what a granularity says
  Scale scale_a{};
  Scale scale_b{};
  /// a number or one element; beta needs c
  Scale alpha{};
  Scale beta{};
  /// the shape of the output; without beta: beta = 1; not added past the last group
  TensorView c{};
  /// a number, one element or [N]; multiplies every output
  Scale scale_result{};
  /// where the result goes; default: allocated by the call. No gradient flows through it
  TensorView out{};
  /// what every product takes
  MatmulOptions matmul{};
  /// force a backend by name; default: the best that accepts
  const char* backend = nullptr;
  // api: end
};

/// One of four products, by the ranks of A and B:
///
/// | A          | B          | offs cut         | out        |
/// |------------|------------|------------------|------------|
/// | [M, K]     | [G, K, N]  | rows of A        | [M, N]     |
/// | [G, M, K]  | [K, N]     | columns of B     | [M, N]     |
/// | [M, K]     | [K, N]     | K of both        | [G, M, N]  |
/// | [G, M, K]  | [G, K, N]  | (none)           | [G, M, N]  |
///
/// Groups may be empty. Rows (columns) past the last offset are zero. An empty group of the third
/// form is a product with K = 0. Types and errors as scaled_mm.
///
/// Scales of automatic granularity are PyTorch's: one element; [M] (scale_a) or [N] (scale_b) for a
/// 2-D operand, [G * M] or [G * N], group after group, in the third form; [G, M] or [G, N] for a
/// 3-D operand. With a declared granularity: `per_tensor()` takes one element or [G], one scale per
/// group; the others take scaled_mm's shape for a 2-D operand, and that shape behind a leading G
/// for a 3-D one.
OCTAVO_API Tensor grouped_mm(const Operand& a, const Operand& b, const GroupedOptions& options = {},
                             const ExecContext& context = {});

/// output[b] = (input[b] @ weight[b]) * scale, strictly 3-D, equal batch and inner sizes.
///
/// `scale` is a number or a one-element tensor; scale = 1 skips the multiply.
struct ScaledGroupedMmOptions {
  // api: ScaledGroupedMmOptions, of api/operations.toml
  /// a number or one element; 1 skips the multiply
  Scale scale{};
  /// default: as of scaled_mm
  DType out_dtype = DType::undefined;
  /// weight is given as [batch, n, k] (attention: keys as they are)
  bool trans_b = false;
  /// where the result goes; default: allocated by the call. No gradient flows through it
  TensorView out{};
  /// what every product takes
  MatmulOptions matmul{};
  /// force a backend by name; default: the best that accepts
  const char* backend = nullptr;
  // api: end
};
/// output[b] = (input[b] @ weight[b]) * scale, strictly 3-D. Throws Error.
OCTAVO_API Tensor scaled_grouped_mm(const Operand& input, const Operand& weight,
                                    const ScaledGroupedMmOptions& options = {},
                                    const ExecContext& context = {});

/// The problem that the tensor form of grouped_mm would run, as scaled_mm_problem. Throws Error.
OCTAVO_API MatmulProblem grouped_mm_problem(const Operand& a, const Operand& b,
                                            const GroupedOptions& options = {});

}  // namespace octavo
