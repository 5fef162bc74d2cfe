// SPDX-License-Identifier: Apache-2.0
// What can run a problem, what will, and how far the result may be off.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/data/cells.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "core/problem/members.hpp"
#include "core/problem/operand.hpp"
#include "core/scales/grid.hpp"
#include "octavo/backend.hpp"
#include "octavo/packed.hpp"
#include "ops/run.hpp"
#include "ops/signature.hpp"

namespace octavo {
namespace {

constexpr double kUnit = 0x1p-24;  // float32's unit roundoff

// The shortest range of K over which no scale changes; K itself where none does.
std::int64_t shortest_group(const Member& p, std::int64_t inner) noexcept {
  std::int64_t shortest = inner;
  for (const ScaleView& s : p.a.scale) {
    if (varies_along_k(s, Side::a)) shortest = std::min(shortest, s.cols);
  }
  for (const ScaleView& s : p.b.scale) {
    if (varies_along_k(s, Side::b)) shortest = std::min(shortest, s.rows);
  }
  return std::max<std::int64_t>(shortest, 1);
}

double member_bound(const Member& p, const MatmulOptions& options) noexcept {
  const std::int64_t inner = p.a.data.shape[1];
  const DType b = weight_dtype(p.b);
  const bool integer = is_integer8(product_dtype(p.a)) && is_integer8(b);
  const std::int64_t group = shortest_group(p, inner);
  if (integer && group >= inner) return 0.0;
  const std::int64_t groups = cells(inner, group) + sum_chunks(p, options).count - 1;
  const double n = static_cast<double>((integer ? 0 : inner) + groups + 8);
  // As many roundings as float32 has steps in a unit: the sum may have lost every digit.
  if (n * kUnit >= 1.0) return std::numeric_limits<double>::infinity();
  return n * kUnit / (1.0 - n * kUnit);
}

// LLM.int8: what a problem's first member multiplies in float.
std::string outliers_of(const MatmulProblem& problem) {
  if (group_count(problem) == 0 || has_offsets(problem)) return {};  // such members have no rules
  const Member first = member(problem, 0);
  const ActivationQuant* rule = first.a.quantize;
  if (rule == nullptr || !rule->vectorwise) return {};
  const std::int64_t fixed = rule->outlier_columns.view().shape[0];
  const float threshold = rule->outlier_threshold;
  std::string text;
  if (threshold > 0.0F && problem.options.batch_invariant) {
    text = fmt::format("elements of {} and more, each row's own (batch_invariant)", threshold);
  } else if (threshold > 0.0F) {
    text = fmt::format("columns with an element of {} and more in any row{}", threshold,
                       rule->whole_columns ? ", which stay out of row statistics" : "");
  }
  if (fixed > 0) text += fmt::format("{}{} fixed columns", text.empty() ? "" : "; ", fixed);
  if (!text.empty() && first.epilogue.outliers.weight.defined()) text += "; original weights";
  return text;
}

// The block of a problem's first member; all members of a list have their own rules.
std::int32_t rotation_of(const MatmulProblem& problem) noexcept {
  if (group_count(problem) == 0 || has_offsets(problem)) return 0;
  const ActivationQuant* rule = member(problem, 0).a.quantize;
  return rule != nullptr ? rule->rotation : 0;
}

Candidate judge(const Plan& plan, const char* why, const Backend* forced,
                const std::string& first) {
  Candidate c;
  c.backend = plan.backend->name;
  c.accepts = why == nullptr;
  if (why != nullptr) {
    c.reason = why;
  } else if (forced != nullptr && forced != plan.backend) {
    c.reason = fmt::format("{} is forced", forced->name);
  } else if (!first.empty() && forced == nullptr) {
    c.reason = fmt::format("{} comes first", first);
  } else {
    c.chosen = true;
    c.reason = plan.how;
    if (forced != nullptr) c.reason += " (forced)";
  }
  return c;
}

}  // namespace

double error_bound(const MatmulProblem& problem) noexcept {
  const Split split = problem.groups.split;
  const std::int64_t count = group_count(problem);
  const bool inner = split == Split::inner && on_host(problem.groups.offs);
  double most = 0.0;
  Member cut;
  if (split == Split::list || inner) {
    for (std::int64_t g = 0; g < count; ++g) {
      most = std::max(most, member_bound(member_in(problem, g, cut), problem.options));
    }
    return most;
  }
  // Members that are alike in K and along it, or that a device cuts: none exceeds the whole.
  return count == 0 ? most : member_bound(planned_member(problem, 0, cut), problem.options);
}

std::vector<BackendInfo> backends() {
  std::vector<BackendInfo> rows;
  for (const Backend* backend : registry()) {
    const char* why = backend->unavailable();
    const bool chosen = why == nullptr && backend->extensions != nullptr;
    const Extensions extensions = chosen ? backend->extensions() : Extensions{};
    rows.push_back({backend->name, backend->summary, why == nullptr, why != nullptr ? why : "",
                    extensions.used, extensions.more, extensions.caches});
  }
  return rows;
}

Explanation explain(const MatmulProblem& problem, const ExecContext& context,
                    const char* argument) {
  return at_edge("explain", [&]() -> Result<Explanation> {
    OCTAVO_TRY_ASSIGN(const Backend* forced, forced_backend("explain", argument));
    const int threads = executor_of(context).concurrency();
    const Outline outline(signature(problem, threads, -1), problem);
    Explanation e;
    std::string first;
    for (const Backend* backend : registry()) {
      Plan plan;
      const char* why = ask(*backend, outline.problem(), threads, plan);
      // Of another device's backend what is wanting tells more than that it is another's.
      if (const char* missing = backend->unavailable(); missing != nullptr) why = missing;
      e.candidates.push_back(judge(plan, why, forced, first));
      const Candidate& c = e.candidates.back();
      if (c.accepts && first.empty()) first = c.backend;
      if (!c.chosen) continue;
      e.workspace_bytes = plan.workspace_bytes;
      e.flushes_subnormals = plan.flushes;
      e.error_bound = plan.sum_error;
      if (plan.weight != nullptr) e.weight = plan.weight;
    }
    e.executor =
        context.executor != nullptr
            ? fmt::format("{} threads of the caller's executor", context.executor->concurrency())
            : fmt::format("{} threads, {}", default_executor().concurrency(),
                          default_executor_reason());
    e.error_bound = std::max(e.error_bound, error_bound(problem));
    e.outliers = outliers_of(problem);
    e.rotation = rotation_of(problem);
    return e;
  });
}

namespace {

// A line for each verdict and reason, with the backends that have them: what runs, what could, what
// does not.
std::string candidate_lines(const std::vector<Candidate>& candidates) {
  std::string text;
  for (const char* verdict : {"runs", "could", "no"}) {
    std::vector<std::pair<std::string, std::string>> lines;  // a reason, and whose it is
    for (const Candidate& c : candidates) {
      if (std::string_view(c.chosen ? "runs" : c.accepts ? "could" : "no") != verdict) continue;
      const auto line = std::ranges::find(lines, c.reason, [](const auto& l) { return l.first; });
      if (line == lines.end()) {
        lines.emplace_back(c.reason, c.backend);
      } else {
        line->second += ", " + c.backend;
      }
    }
    for (const auto& [reason, backends] : lines) {
      text += fmt::format("{:<11}{}: {}\n", verdict, backends, reason);
    }
  }
  return text;
}

}  // namespace

std::string Explanation::to_string() const {
  std::string text = candidate_lines(candidates);
  if (error_bound == 0.0) {
    text += "error      the sum is exact; then one rounding per step of the epilogue\n";
  } else if (std::isinf(error_bound)) {
    text += "error      unbounded: K is 2^24 and more, where float32 sums may lose every digit\n";
  } else {
    text += fmt::format("error      at most {:.1e} of sum |A||B|, then one rounding to out\n",
                        error_bound);
  }
  if (flushes_subnormals) {
    text +=
        "flushes    bfloat16 elements, products and sums below 2^-126 (not with "
        "subnormals=exact)\n";
  }
  if (!weight.empty()) text += fmt::format("weight     {}\n", weight);
  if (rotation != 0) {
    text += fmt::format("rotation   of A in blocks of {} along K, before its scales are found\n",
                        rotation);
  }
  if (!outliers.empty()) text += fmt::format("outliers   {}\n", outliers);
  text += fmt::format("workspace  {} bytes\n", workspace_bytes);
  text += fmt::format("threads    {}\n", executor);
  return text;
}

}  // namespace octavo
