// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/simulated.hpp"

#include <algorithm>
#include <exception>

#include "backends/cuda/dense_product.hpp"
#include "backends/cuda/simulator/machine.hpp"
#include "backends/host/zero.hpp"
#include "core/error.hpp"
#include "core/members.hpp"

namespace octavo::cuda {
namespace {

constexpr std::uint32_t kMostClusters = 2;  // two of them share the tiles, one after the other

template <class Kernel>
void simulate(const DenseParams<TensorMap>& params) {
  const auto tiles = [](std::int32_t extent, int tile) {
    return static_cast<std::uint32_t>((extent + tile - 1) / tile);
  };
  simulator::Launch launch;
  launch.cluster = Kernel::kCluster;
  launch.blocks = launch.cluster * std::min(kMostClusters, tiles(params.m, Kernel::kClusterTile) *
                                                               tiles(params.n, Kernel::kColumns));
  launch.threads = Kernel::kThreads;
  launch.registers = Kernel::kRegisters;
  launch.shared_bytes = Kernel::kSharedBytes;
  simulator::simulate(launch, {}, [&](simulator::Machine m) { Kernel::run(m, params); });
}

struct Instance {
  MmaType type;
  Summing summing;
  int out_bytes, parts;
  void (*run)(const DenseParams<TensorMap>&);
};
constexpr Instance kInstances[] = {
#define OCTAVO_DENSE_INSTANCE(name, type, summing, rows, parts)        \
  {MmaType::type, Summing::summing, 2, parts,                          \
   &simulate<Dense<MmaType::type, Summing::summing, 2, rows, parts>>}, \
      {MmaType::type, Summing::summing, 4, parts,                      \
       &simulate<Dense<MmaType::type, Summing::summing, 4, rows, parts>>},
#include "backends/cuda/kernels/dense_instances.inc"
#undef OCTAVO_DENSE_INSTANCE
};

Status launch(const DenseCall& call, const ExecContext&) noexcept {
  try {
    for (const Instance& instance : kInstances) {
      if (instance.type == call.path.type && instance.summing == call.path.summing &&
          instance.out_bytes == call.out_bytes && instance.parts == call.parts) {
        instance.run(call.params);
        return {};
      }
    }
  } catch (const std::exception& error) {
    return fail(Code::internal, "sm90-sim: {}", error.what());
  }
  return fail(Code::internal, "sm90-sim: no kernel of that type and output");
}

// Passes on host memory are any host backend's.
const Passes& host_passes() noexcept { return find_backend("generic")->passes; }

DenseRunner runner() noexcept { return {&host_passes(), &launch}; }

const char* unavailable() noexcept { return nullptr; }

const char* plan(const MatmulProblem& problem, int, Plan& plan) noexcept {
  plan.how = "no groups, nothing to multiply";
  Member cut;
  for (std::int64_t g = 0; g < distinct_members(problem); ++g) {
    const Member& part = planned_member(problem, g, cut);
    DensePath path;
    if (const char* why = find_dense_path(part, problem.options, path); why != nullptr) return why;
    plan.how = path.how;
    Arena arena(nullptr);
    (void)run_dense(part, problem.options, path, runner(), arena, {}).ok();
    plan.workspace_bytes = std::max(plan.workspace_bytes, arena.used());
  }
  return nullptr;
}

Status run(const MatmulProblem& problem, const Plan&, const ExecContext& context,
           void* workspace) noexcept {
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
    const Member part = member(problem, g);
    DensePath path;
    (void)find_dense_path(part, problem.options, path);
    Arena arena(workspace);
    OCTAVO_TRY(run_dense(part, problem.options, path, runner(), arena, context));
  }
  fill_zero(tail(problem));
  return {};
}

}  // namespace

const Backend kSimulatedBackend{
    .name = "sm90-sim",
    .summary = "Hopper's kernels on a simulator of its multiprocessor: tests",
    .device = DeviceType::cpu,
    .unavailable = &unavailable,
    .plan = &plan,
    .run = &run,
    .passes = host_passes(),
    .layout = [](DType) noexcept -> const WeightLayout* { return nullptr; },
};

}  // namespace octavo::cuda
