// SPDX-License-Identifier: Apache-2.0
// Figures and checks of quantisers.
#include "bench_quantize.hpp"

#include <fmt/format.h>

#include "commands.hpp"
#include "figures.hpp"
#include "kit/measure_quantize.hpp"
#include "output.hpp"

namespace octavo::cli {
namespace {

int time_quantizer(const kit::QuantizeLine& line, const kit::MeasureOptions& o, bool json) {
  const kit::QuantizeFigure f = kit::measure_quantize(line, o);
  const int code = f.matches_reference ? kGood : kCheckFailed;
  if (json) {
    Json figure = {
        {"type", "quantize_figure"},
        {"line", to_string(line)},
        {"backend", f.backend},
        {"threads", o.threads},
        {"median_us", f.median_us},
        {"best_us", f.best_us},
        {"bytes", f.bytes},
        {"gbps", f.gbps},
        {"read_gbps", f.read_gbps},
        {"roofline_fraction", f.roofline.value},
        {"roofline_low", f.roofline.low},
        {"roofline_high", f.roofline.high},
    };
    add_rounds(figure, f.noise, f.scaling, f.rounds);
    figure["matches_reference"] = f.matches_reference;
    print_json(figure);
    return code;
  }
  fmt::print("{}\n", to_string(line));
  fmt::print("  {:<10} {} threads, cold: median {:.1f} us, best {:.1f} us; {:.2f} GB/s of {:.1f}\n",
             f.backend, o.threads, f.median_us, f.best_us, f.gbps, f.read_gbps);
  fmt::print("  roofline {:.3f} [{:.3f}, {:.3f}]; A/A [{:.3f}, {:.3f}]; {}\n", f.roofline.value,
             f.roofline.low, f.roofline.high, f.noise.low, f.noise.high,
             f.matches_reference ? "bits of the reference" : "NOT THE REFERENCE'S BITS");
  print_scaling(o.threads, f.scaling);
  return code;
}

int check_quantizer(const kit::QuantizeLine& line, const std::string& backend, bool json) {
  const bool same = kit::quantize_matches_reference(line, backend);
  if (json) {
    print_json({{"type", "check"},
                {"line", to_string(line)},
                {"backend", backend},
                {"passed", same},
                {"max_error_ratio", 0.0},
                {"matches_reference", same},
                {"failure", same ? "" : "its codes or scales are not the reference's"}});
  } else {
    fmt::print("{}  {:<10} {}  {}\n", same ? "pass" : "FAIL", backend,
               same ? "bits of the reference" : "NOT THE REFERENCE'S BITS", to_string(line));
  }
  return same ? kGood : kCheckFailed;
}

}  // namespace

int bench_quantize(const std::string& text, QuantizeVerb verb, const kit::MeasureOptions& options,
                   bool json) {
  const kit::QuantizeLine line = kit::parse_quantize_line(text);
  if (verb == QuantizeVerb::time) return time_quantizer(line, options, json);
  const std::string backend = kit::quantize_backend(options.backend);
  if (verb == QuantizeVerb::check) return check_quantizer(line, backend, json);
  if (json) {
    print_json({{"type", "line"}, {"line", to_string(line)}, {"backend", backend}});
  } else {
    fmt::print("{:<10} {}\n", backend, to_string(line));
  }
  return kGood;
}

}  // namespace octavo::cli
