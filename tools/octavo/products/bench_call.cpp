// SPDX-License-Identifier: Apache-2.0
// Figures and checks of quantisers and experts.

#include <fmt/format.h>

#include <memory>

#include "commands.hpp"
#include "figures.hpp"
#include "output.hpp"

namespace octavo::cli {
namespace {

Json figure_of(const kit::CallKind& kind, const std::string& line, int threads,
               const kit::CallFigure& f) {
  Json figure = {
      {"type", kind.figure}, {"line", line}, {"backend", f.backend}, {"threads", threads}};
  if (f.experts > 0) figure["touched_experts"] = f.touched;
  figure["median_us"] = f.median_us;
  figure["best_us"] = f.best_us;
  if (f.gops > 0.0) {
    figure["gops"] = f.gops;
    figure["peak_gops"] = f.peak_gops;
  } else {
    figure["bytes"] = f.bytes;
  }
  figure["gbps"] = f.gbps;
  figure["read_gbps"] = f.read_gbps;
  figure["roofline_fraction"] = f.roofline.value;
  figure["roofline_low"] = f.roofline.low;
  figure["roofline_high"] = f.roofline.high;
  if (f.gops > 0.0) figure["memory_bound"] = f.memory_bound;
  add_rounds(figure, f.noise, f.scaling, f.rounds);
  figure[kind.verdict] = f.right;
  return figure;
}

void print_figure(const kit::CallKind& kind, const std::string& line, int threads,
                  const kit::CallFigure& f) {
  const std::string experts =
      f.experts > 0 ? fmt::format(", {} of {} experts", f.touched, f.experts) : "";
  const std::string compute =
      f.gops > 0.0 ? fmt::format("\n  {:.1f} GOP/s of {:.1f}", f.gops, f.peak_gops) : "";
  fmt::print("{}\n  {:<10} {} threads, cold{}: median {:.1f} us, best {:.1f} us{}", line, f.backend,
             threads, experts, f.median_us, f.best_us, compute);
  fmt::print("; {:.2f} GB/s of {:.1f}\n", f.gbps, f.read_gbps);
  fmt::print("  roofline {:.3f} [{:.3f}, {:.3f}]; A/A [{:.3f}, {:.3f}]; {}\n", f.roofline.value,
             f.roofline.low, f.roofline.high, f.noise.low, f.noise.high,
             f.right ? kind.right : kind.wrong);
  print_scaling(threads, f.scaling);
}

Json check_of(const kit::CallKind& kind, const std::string& line, const std::string& backend,
              bool right) {
  return {{"type", "check"},
          {"line", line},
          {"backend", backend},
          {"passed", right},
          {"max_error_ratio", 0.0},
          {"matches_reference", kind.against_reference ? Json(right) : Json(nullptr)},
          {"failure", right ? "" : kind.failure}};
}

}  // namespace

int bench_call(const kit::CallKind& kind, const std::string& text, CallVerb verb,
               const kit::MeasureOptions& options, bool json) {
  const std::unique_ptr<kit::CallLine> call = kind.read(text);
  const std::string line = call->text();
  if (verb == CallVerb::time) {
    const kit::CallFigure f = call->measure(options);
    if (json) {
      print_json(figure_of(kind, line, options.threads, f));
    } else {
      print_figure(kind, line, options.threads, f);
    }
    return f.right ? kGood : kCheckFailed;
  }
  const std::string backend = call->backend(options.backend);
  if (verb == CallVerb::list) {
    print_listed(line, backend, json);
    return kGood;
  }
  const bool right = call->right(options.backend);
  if (json) {
    print_json(check_of(kind, line, backend, right));
  } else {
    fmt::print("{}  {:<10} {}  {}\n", right ? "pass" : "FAIL", backend,
               right ? kind.right : kind.wrong, line);
  }
  return right ? kGood : kCheckFailed;
}

}  // namespace octavo::cli
