// SPDX-License-Identifier: Apache-2.0
// Interleaved rounds of calls that are no products, and the table of their kinds.
#include "kit/timing/measure_call.hpp"

#include <algorithm>

#include "kit/lines/experts_line.hpp"
#include "kit/lines/quantize_line.hpp"
#include "kit/workers.hpp"

namespace octavo::kit {

namespace {

constexpr CallKind kKinds[] = {
    {"quantize", &read_quantize_call, "quantize_figure", "matches_reference",
     "bits of the reference", "NOT THE REFERENCE'S BITS",
     "its codes or scales are not the reference's", true, &quantize_line_help},
    {"fused_experts", &read_experts_call, "experts_figure", "matches_composition",
     "bits of the separate operations", "NOT THE SEPARATE OPERATIONS' BITS",
     "its bits are not those of the separate operations", false, &experts_line_help},
};

}  // namespace

std::span<const CallKind> call_kinds() noexcept { return kKinds; }

const CallKind* call_kind(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  const auto* row =
      std::ranges::find(kKinds, line.substr(0, line.find_first_of(" \t")), &CallKind::operation);
  return row == std::end(kKinds) ? nullptr : row;
}

Timing time_calls(const std::function<void(const ExecContext&)>& call, const Work& work,
                  std::optional<PeakKind> kind, const MeasureOptions& o) {
  const ExecContext all{.executor = o.executor};
  const ExecContext one{.executor = &serial_executor()};
  const auto time = [&](const ExecContext& context) {
    return seconds_per_call([&] { call(context); }, o.sample_seconds);
  };
  Rounds rounds(work, kind, o);
  for (int round = 0; round < o.rounds; ++round) {
    const double seconds = time(all);
    const double again = time(all);
    rounds.end(seconds, again, o.threads > 1 ? std::optional(time(one)) : std::nullopt);
  }
  return rounds.timing();
}

}  // namespace octavo::kit
