// SPDX-License-Identifier: Apache-2.0
#include "simulator/every_kernel.hpp"

#include <array>

#include "backends/cuda/kernels/passes.hpp"
#include "backends/cuda/kernels/sm80/mma.hpp"
#include "backends/cuda/kernels/sm90/dense.hpp"
#include "backends/cuda/kernels/sm90/few_rows.hpp"
#include "simulator/machine.hpp"

namespace octavo::cuda::simulated {
namespace {

using simulator::Machine;

template <class Kernel, class Params>
simulator::Counters run(const simulator::Launch& launch, const simulator::Options& options,
                        const void* params) {
  return simulator::simulate(launch, options, [params](Machine m) {
    Kernel::run(m, *static_cast<const Params*>(params));
  });
}

template <class Kernel>
constexpr KernelRow dense_row() {
  using Params = DenseParams<TensorMap>;
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

// Its length is not deduced: that would be a template of as many arguments.
constexpr std::array<KernelRow, static_cast<std::size_t>(KernelId::count)> kRows{
#define OCTAVO_DENSE_INSTANCE(name, type, summing, ...) \
  dense_row<Dense<MmaType::type, Summing::summing, __VA_ARGS__>>(),
#include "backends/cuda/kernels/sm90/dense_instances.inc"
#undef OCTAVO_DENSE_INSTANCE
#define OCTAVO_FEW_ROWS_INSTANCE(name, type, summing, ...) \
  dense_row<FewRows<MmaType::type, Summing::summing, __VA_ARGS__>>(),
#include "backends/cuda/kernels/sm90/few_rows_instances.inc"
#undef OCTAVO_FEW_ROWS_INSTANCE
#define OCTAVO_MMA_INSTANCE(name, type, terms)                  \
  plain_row<Mma<MmaType::type, kLargeTile, MmaTerms::terms>>(), \
      plain_row<Mma<MmaType::type, kSmallTile, MmaTerms::terms>>(),
#include "backends/cuda/kernels/sm80/mma_instances.inc"
#undef OCTAVO_MMA_INSTANCE
#define OCTAVO_PASS_KERNEL(name, kernel) plain_row<kernel>(),
#include "backends/cuda/kernels/pass_instances.inc"
#undef OCTAVO_PASS_KERNEL
};
static_assert(kRows.back().run != nullptr, "a row for each kernel");

}  // namespace

const KernelRow& kernel_row(KernelId kernel) noexcept {
  return kRows[static_cast<std::size_t>(kernel)];
}

}  // namespace octavo::cuda::simulated
