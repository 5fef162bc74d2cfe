// SPDX-License-Identifier: Apache-2.0
// From a member to calls of the dense kernel, whoever runs it: a device, or the simulator.
//
//   activations are quantised (prologue)
//   operands that TMA cannot take (K not contiguous, rows or addresses not at multiples of 16) are
//   copied the kernel finishes what it can: scales of rows and columns, a bias of columns, 16-bit
//   and float32 outputs; of all else it stores the sums, and the `finish` pass does the rest
#pragma once

#include <cstddef>

#include "backends/arena.hpp"
#include "backends/cuda/kernels/dense.hpp"
#include "backends/passes.hpp"
#include "octavo/problem.hpp"

namespace octavo::cuda {

/// What a member's types come to.
struct DensePath {
  MmaType type = MmaType::s8_s8;
  Summing summing = Summing::plain;
  const char* how = "";  ///< for explain
};

/// Null and the path where the dense kernel multiplies such members, else one static sentence.
const char* find_dense_path(const Member& member, const MatmulOptions& options,
                            DensePath& path) noexcept;

/// One launch: tiles of `tile` rows and columns, in clusters of kCluster.
struct DenseCall {
  DensePath path;
  int out_bytes = 2;
  int parts = 1;  ///< of K, in a cluster
  DenseParams<TensorMap> params;
};

/// Who runs products: where kernels run, and the passes beside them.
struct DenseRunner {
  const Passes* passes;
  Status (*launch)(const DenseCall& call, const ExecContext& context) noexcept;
};

/// Multiplies one member. Over an arena that counts nothing runs, and what it takes depends on no
/// address.
Status run_dense(Member member, const MatmulOptions& options, const DensePath& path,
                 const DenseRunner& runner, Arena& arena, const ExecContext& context) noexcept;

}  // namespace octavo::cuda
