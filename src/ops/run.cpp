// SPDX-License-Identifier: Apache-2.0
// Forced or first backend, cached plans, workspaces.
#include "ops/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <new>

#include "core/env.hpp"
#include "core/error.hpp"
#include "core/parallel.hpp"
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

Status refuse_everything(const MatmulProblem& problem, const ExecContext& context) {
  std::string reasons;
  for (const Backend* backend : registry()) {
    const char* why = backend->unavailable();
    if (why == nullptr) why = backend->supports(problem, context);
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", backend->name,
                           why != nullptr ? why : "accepts");
  }
  return fail(Code::unsupported, "{}: the problem must be accepted by a backend; got {}",
              problem.operation, reasons);
}

Result<const Backend*> choose(const MatmulProblem& problem, const ExecContext& context,
                              const Backend* forced) {
  if (forced != nullptr) {
    const char* why = forced->supports(problem, context);
    if (why == nullptr) return forced;
    return fail(Code::unsupported, "{}: backend must accept the problem; got {}, which refuses: {}",
                problem.operation, forced->name, why);
  }
  for (const Backend* backend : registry()) {
    if (backend->unavailable() != nullptr) continue;
    if (backend->supports(problem, context) == nullptr) return backend;
  }
  return refuse_everything(problem, context);
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
               plan.backend->name, plan.backend->how(problem), plan.workspace_bytes);
}

Result<Plan> new_plan(const MatmulProblem& problem, const ExecContext& context,
                      const Backend* forced) {
  Plan plan;
  OCTAVO_TRY_ASSIGN(plan.backend, choose(problem, context, forced));
  plan.workspace_bytes = plan.backend->workspace_bytes(problem, context);
  if (env::verbose_dispatch()) log_choice(problem, plan);
  return plan;
}

}  // namespace

Result<const Backend*> forced_backend(const char* operation, const char* argument) {
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

Result<const Backend*> first_backend(const char* operation, const char* argument) {
  OCTAVO_TRY_ASSIGN(const Backend* backend, forced_backend(operation, argument));
  if (backend != nullptr) return backend;
  for (const Backend* candidate : registry()) {
    if (candidate->unavailable() == nullptr) return candidate;
  }
  return fail(Code::internal, "{}: the reference backend must be usable; got a refusal", operation);
}

Result<Plan> make_plan(const MatmulProblem& problem, const ExecContext& context,
                       const char* argument) {
  OCTAVO_TRY_ASSIGN(const Backend* forced, forced_backend(problem.operation, argument));
  const auto all = registry();
  const std::int64_t index =
      forced != nullptr ? std::find(all.begin(), all.end(), forced) - all.begin() : -1;
  const auto key = signature(problem, executor_of(context).concurrency(), index);
  CachedPlan* slot = key ? cache_slot(*key) : nullptr;
  if (slot != nullptr && slot->plan.backend != nullptr && slot->signature == *key) {
    return slot->plan;
  }
  OCTAVO_TRY_ASSIGN(const Plan plan, new_plan(problem, context, forced));
  if (slot != nullptr) *slot = {*key, plan};
  return plan;
}

Status check_device(const char* operation, const ExecContext& context) {
  if (context.device.type == DeviceType::cpu) return {};
  return fail(Code::unavailable,
              "{}: context.device must be cpu (no CUDA backend is built); got cuda:{}", operation,
              context.device.index);
}

Status run_problem(const MatmulProblem& problem, const ExecContext& context, const char* backend) {
  OCTAVO_TRY(check_device(problem.operation, context));
  PinnedExecutor executor(executor_of(context));
  ExecContext pinned = context;
  pinned.executor = &executor;
  OCTAVO_TRY_ASSIGN(const Plan plan, make_plan(problem, pinned, backend));
  OCTAVO_TRY_ASSIGN(Scratch scratch,
                    find_scratch(problem.operation, plan.workspace_bytes, context.workspace));
  Status status = plan.backend->run(problem, pinned, scratch.data);
  keep_scratch(scratch);
  return status;
}

}  // namespace octavo
