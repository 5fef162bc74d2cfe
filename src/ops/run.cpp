// SPDX-License-Identifier: Apache-2.0
// Forced or first backend, cached plans, workspaces.
#include "ops/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <new>

#include "core/cpu_features.hpp"
#include "core/env.hpp"
#include "core/error.hpp"
#include "octavo/backend.hpp"
#include "ops/scratch.hpp"
#include "ops/signature.hpp"

namespace octavo {
namespace {

constexpr std::size_t kCachedPlans = 64;  // a power of two

std::string names_of_backends() {
  std::string names;
  for (const Backend* backend : registry()) {
    names += (names.empty() ? "" : ", ") + std::string(backend->name);
  }
  return names;
}

Device device_of(const MatmulProblem& problem) noexcept {
  const bool list = problem.groups.split == Split::list;
  if (list && problem.groups.list.empty()) return {};
  return (list ? problem.groups.list.front() : problem.single).a.data.device;
}

Status refuse_everything(const MatmulProblem& problem, int threads) {
  std::string reasons;
  for (const Backend* backend : registry()) {
    Plan plan;
    const char* why = ask(*backend, problem, threads, plan);
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", backend->name,
                           why != nullptr ? why : "accepts");
  }
  return fail(Code::unsupported, "{}: the problem must be accepted by a backend; got {}",
              problem.operation, reasons);
}

Result<Plan> choose(const MatmulProblem& problem, int threads, const Backend* forced) {
  Plan plan;
  if (forced != nullptr) {
    const char* why = ask(*forced, problem, threads, plan);
    if (why == nullptr) return plan;
    return fail(Code::unsupported, "{}: backend must accept the problem; got {}, which refuses: {}",
                problem.operation, forced->name, why);
  }
  for (const Backend* backend : registry()) {
    if (ask(*backend, problem, threads, plan) == nullptr) return plan;
  }
  return refuse_everything(problem, threads);
}

struct CachedPlan {
  Signature signature;
  Plan plan;
};
thread_local std::unique_ptr<std::array<CachedPlan, kCachedPlans>> plan_cache;

CachedPlan* cache_slot(const Signature& signature) noexcept {
  if (plan_cache == nullptr)
    plan_cache.reset(new (std::nothrow) std::array<CachedPlan, kCachedPlans>);
  if (plan_cache == nullptr) return nullptr;
  return &(*plan_cache)[signature.hash >> 32 & (kCachedPlans - 1)];
}

void log_choice(const MatmulProblem& problem, const Plan& plan) noexcept {
  std::fprintf(stderr, "octavo: %s: %s, %s, workspace %zu bytes\n", problem.operation,
               plan.backend->name, plan.how, plan.workspace_bytes);
}

}  // namespace

const char* ask(const Backend& backend, const MatmulProblem& problem, int threads,
                Plan& plan) noexcept {
  plan = {};
  plan.backend = &backend;
  if (backend.device != device_of(problem).type) return "the operands are on another device";
  const char* why = backend.unavailable();
  return why != nullptr ? why : backend.plan(problem, threads, plan);
}

Result<const Backend*> forced_backend(const char* operation, const char* argument) {
  if (env::spin() == env::Spin::wrong) {
    return fail(Code::invalid_argument, "{}: OCTAVO_SPIN must be 0 or 1; got '{}'", operation,
                env::get("OCTAVO_SPIN"));
  }
  if (env::num_threads() < 0) {
    return fail(Code::invalid_argument,
                "{}: OCTAVO_NUM_THREADS must be a number of at least 0; got '{}'", operation,
                env::get("OCTAVO_NUM_THREADS"));
  }
  if (!isa_is_known()) {
    return fail(Code::invalid_argument, "{}: OCTAVO_ISA must be one of {}; got '{}'", operation,
                names_of_isas(), env::isa());
  }
  const bool by_argument = argument != nullptr && *argument != '\0';
  const std::string_view wanted = by_argument ? std::string_view(argument) : env::backend();
  if (wanted.empty()) return static_cast<const Backend*>(nullptr);
  const Backend* backend = find_backend(wanted);
  if (backend == nullptr) {
    return fail(Code::invalid_argument, "{}: {} must be one of {}; got '{}'", operation,
                by_argument ? "backend" : "OCTAVO_BACKEND", names_of_backends(), wanted);
  }
  if (const char* why = backend->unavailable(); why != nullptr) {
    return fail(Code::unavailable, "{}: backend must be usable on this machine; got {}: {}",
                operation, wanted, why);
  }
  return backend;
}

Result<const Backend*> backend_for(const char* operation, Device device, const char* argument) {
  OCTAVO_TRY_ASSIGN(const Backend* forced, forced_backend(operation, argument));
  // The environment forces what works on its device: what an operation on that one brings to the
  // host is the host's.
  const bool by_argument = argument != nullptr && *argument != '\0';
  if (forced != nullptr && forced->device != device.type && !by_argument) forced = nullptr;
  for (const Backend* backend : registry()) {
    const bool wanted = forced == nullptr || backend == forced;
    if (!wanted || backend->device != device.type || backend->unavailable() != nullptr) continue;
    return backend;
  }
  if (forced == nullptr) {
    return fail(Code::unavailable, "{}: device {}", operation, device_refusal(device));
  }
  return fail(Code::unsupported,
              "{}: backend must be for the tensors' device; got {}, which is for another",
              operation, forced->name);
}

Result<Plan> make_plan(const MatmulProblem& problem, const ExecContext& context,
                       const char* argument) {
  if (const std::string why = device_refusal(device_of(problem)); !why.empty()) {
    return fail(Code::unavailable, "{}: operands.device {}", problem.operation, why);
  }
  OCTAVO_TRY_ASSIGN(const Backend* forced, forced_backend(problem.operation, argument));
  const auto all = registry();
  const std::int64_t index =
      forced != nullptr ? std::find(all.begin(), all.end(), forced) - all.begin() : -1;
  const int threads = executor_of(context).concurrency();
  const auto key = signature(problem, threads, index);
  CachedPlan* slot = key ? cache_slot(*key) : nullptr;
  if (slot != nullptr && slot->plan.backend != nullptr && slot->signature == *key) {
    return slot->plan;
  }
  const Outline outline(key, problem);
  OCTAVO_TRY_ASSIGN(const Plan plan, choose(outline.problem(), threads, forced));
  if (env::verbose_dispatch()) log_choice(problem, plan);
  if (slot != nullptr) *slot = {*key, plan};
  return plan;
}

Status check_device(const char* operation, const ExecContext& context) {
  const std::string why = device_refusal(context.device);
  if (why.empty()) return {};
  return fail(Code::unavailable, "{}: context.device {}", operation, why);
}

Status run_problem(const MatmulProblem& problem, const ExecContext& context, const char* backend) {
  OCTAVO_TRY(check_device(problem.operation, context));
  PinnedExecutor executor(executor_of(context));
  ExecContext pinned = context;
  pinned.executor = &executor;
  OCTAVO_TRY_ASSIGN(const Plan plan, make_plan(problem, pinned, backend));
  OCTAVO_TRY_ASSIGN(Scratch scratch, find_scratch(problem.operation, plan.workspace_bytes,
                                                  device_of(problem), context));
  Status status = plan.backend->run(problem, plan, pinned, scratch.data);
  keep_scratch(scratch);
  return status;
}

}  // namespace octavo
