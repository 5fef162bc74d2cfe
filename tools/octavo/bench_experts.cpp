// SPDX-License-Identifier: Apache-2.0
// Figures and checks of fused experts.
#include "bench_experts.hpp"

#include <fmt/format.h>

#include "commands.hpp"
#include "figures.hpp"
#include "kit/measure_experts.hpp"
#include "output.hpp"

namespace octavo::cli {
namespace {

int time_experts(const kit::ExpertsLine& line, const kit::MeasureOptions& o, bool json) {
  const kit::ExpertsFigure f = kit::measure_experts(line, o);
  const int code = f.matches_composition ? kGood : kCheckFailed;
  if (json) {
    Json figure = {
        {"type", "experts_figure"},       {"line", to_string(line)},
        {"backend", f.backend},           {"threads", o.threads},
        {"touched_experts", f.touched},   {"median_us", f.median_us},
        {"best_us", f.best_us},           {"gops", f.gops},
        {"peak_gops", f.peak_gops},       {"gbps", f.gbps},
        {"read_gbps", f.read_gbps},       {"roofline_fraction", f.roofline.value},
        {"roofline_low", f.roofline.low}, {"roofline_high", f.roofline.high},
        {"memory_bound", f.memory_bound},
    };
    add_rounds(figure, f.noise, f.scaling, f.rounds);
    figure["matches_composition"] = f.matches_composition;
    print_json(figure);
    return code;
  }
  fmt::print("{}\n", to_string(line));
  fmt::print("  {:<10} {} threads, cold, {} of {} experts: median {:.1f} us, best {:.1f} us\n",
             f.backend, o.threads, f.touched, line.experts, f.median_us, f.best_us);
  fmt::print("  {:.1f} GOP/s of {:.1f}; {:.2f} GB/s of {:.1f}\n", f.gops, f.peak_gops, f.gbps,
             f.read_gbps);
  fmt::print("  roofline {:.3f} [{:.3f}, {:.3f}]; A/A [{:.3f}, {:.3f}]; {}\n", f.roofline.value,
             f.roofline.low, f.roofline.high, f.noise.low, f.noise.high,
             f.matches_composition ? "bits of the separate operations"
                                   : "NOT THE SEPARATE OPERATIONS' BITS");
  print_scaling(o.threads, f.scaling);
  return code;
}

int check_experts(const kit::ExpertsLine& line, const std::string& forced, bool json) {
  const bool same = kit::experts_match_composition(line, forced);
  const std::string backend = kit::experts_backend(line, forced);
  if (json) {
    print_json({{"type", "check"},
                {"line", to_string(line)},
                {"backend", backend},
                {"passed", same},
                {"max_error_ratio", 0.0},
                {"matches_reference", nullptr},
                {"failure", same ? "" : "its bits are not those of the separate operations"}});
  } else {
    fmt::print("{}  {:<10} {}  {}\n", same ? "pass" : "FAIL", backend,
               same ? "bits of the separate operations" : "NOT THE SEPARATE OPERATIONS' BITS",
               to_string(line));
  }
  return same ? kGood : kCheckFailed;
}

}  // namespace

int bench_experts(const std::string& text, QuantizeVerb verb, const kit::MeasureOptions& options,
                  bool json) {
  const kit::ExpertsLine line = kit::parse_experts_line(text);
  if (verb == QuantizeVerb::time) return time_experts(line, options, json);
  if (verb == QuantizeVerb::check) return check_experts(line, options.backend, json);
  const std::string backend = kit::experts_backend(line, options.backend);
  if (json) {
    print_json({{"type", "line"}, {"line", to_string(line)}, {"backend", backend}});
  } else {
    fmt::print("{:<10} {}\n", backend, to_string(line));
  }
  return kGood;
}

}  // namespace octavo::cli
