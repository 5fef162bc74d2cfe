// SPDX-License-Identifier: Apache-2.0
// Rows of the table of simulated kernels: a file for each family, since they take long to compile.
#pragma once

#include <span>

#include "simulator/kernels/every_kernel.hpp"
#include "simulator/machine.hpp"

namespace octavo::cuda::simulated {

/// In the order of KernelId, one family behind the other.
std::span<const KernelRow> dense_rows() noexcept;
std::span<const KernelRow> few_rows_rows() noexcept;
std::span<const KernelRow> mma_rows() noexcept;
std::span<const KernelRow> pass_rows() noexcept;

template <class Kernel, class Params>
simulator::Counters run(const simulator::Launch& launch, const simulator::Options& options,
                        const void* params) {
  return simulator::simulate(launch, options, [params](simulator::Machine m) {
    Kernel::run(m, *static_cast<const Params*>(params));
  });
}

template <class Kernel, class Params>
constexpr KernelRow hopper_row() {
  return {true,
          sizeof(Params),
          Kernel::kCluster,
          Kernel::kThreads,
          Kernel::kSharedBytes,
          Kernel::kRegisters,
          &run<Kernel, Params>};
}
template <class Kernel>
constexpr KernelRow plain_row() {
  using Params = typename Kernel::Params;
  constexpr std::uint32_t kRegisters = 32;  // of no consequence: none of them changes it
  return {false,      sizeof(Params),      1, Kernel::kThreads, Kernel::kSharedBytes,
          kRegisters, &run<Kernel, Params>};
}

}  // namespace octavo::cuda::simulated
