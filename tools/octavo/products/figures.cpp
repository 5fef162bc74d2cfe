// SPDX-License-Identifier: Apache-2.0
// Printing figures.
#include "figures.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "kit/timing/peak.hpp"

namespace octavo::cli {
namespace {

Json peers_json(const kit::Figure& f) {
  Json list = Json::array();
  for (const kit::PeerFigure& p : f.peers) {
    Json object{{"name", p.name}, {"version", p.version}, {"as", nullptr}, {"not_run", nullptr}};
    if (!p.as.empty()) object["as"] = p.as;
    if (!p.not_run.empty()) {
      object["not_run"] = p.not_run;
    } else {
      object["note"] = p.note;
      object["median_us"] = p.median_us;
      object["ratio"] = p.ratio.value;
      object["ratio_low"] = p.ratio.low;
      object["ratio_high"] = p.ratio.high;
      object["roofline_fraction"] = p.roofline.value;
      object["max_error_ratio"] = nullptr;
      if (p.max_error_ratio >= 0.0) object["max_error_ratio"] = p.max_error_ratio;
    }
    list.push_back(std::move(object));
  }
  return list;
}

Json against_json(const kit::Figure& f) {
  if (!f.against) return nullptr;
  const kit::AgainstFigure& a = *f.against;
  return {{"line", a.line},
          {"backend", a.backend},
          {"median_us", a.median_us},
          {"ratio", a.ratio.value},
          {"ratio_low", a.ratio.low},
          {"ratio_high", a.ratio.high},
          {"max_error_ratio", a.max_error_ratio}};
}

void print_against(const kit::AgainstFigure& a) {
  fmt::print("  against {}\n", a.line);
  fmt::print(
      "    {}: median {:.1f} us, the first is {:.3f} [{:.3f}, {:.3f}] times as fast; error {:.3f} "
      "of "
      "the bound\n",
      a.backend, a.median_us, a.ratio.value, a.ratio.low, a.ratio.high, a.max_error_ratio);
}

void print_peer(const kit::PeerFigure& p) {
  std::string name = p.version.empty() ? p.name : p.name + " " + p.version;
  if (!p.as.empty()) name += " as " + p.as;
  if (!p.not_run.empty()) {
    fmt::print("  {}: not run: {}\n", name, p.not_run);
    return;
  }
  const std::string error = p.max_error_ratio < 0.0
                                ? "not comparable"
                                : fmt::format("{:.3f} of the bound", p.max_error_ratio);
  fmt::print("  {}: median {:.1f} us, ours is {:.2f} [{:.2f}, {:.2f}] times as fast; error {}\n",
             name, p.median_us, p.ratio.value, p.ratio.low, p.ratio.high, error);
  fmt::print("    {}{}\n", p.note, p.max_error_ratio > 1.0 ? "; ITS RESULTS ARE WRONG" : "");
}

}  // namespace

Json figure_json(const ProblemLine& line, int threads, const kit::Figure& f) {
  Json figure = {
      {"type", "figure"},
      {"line", to_string(line)},
      {"backend", f.backend},
      {"threads", threads},
      {"cold", f.cold},
      {"median_us", f.median_us},
      {"best_us", f.best_us},
      {"gops", f.gops},
      {"peak_gops", f.peak_gops},
      {"peak_instruction", f.peak_instruction},
      {"peak_instructions_per_cycle", f.peak_per_cycle},
      {"gbps", f.gbps},
      {"read_gbps", f.read_gbps},
      {"roofline_fraction", f.roofline.value},
      {"roofline_low", f.roofline.low},
      {"roofline_high", f.roofline.high},
      {"memory_bound", f.memory_bound},
  };
  add_rounds(figure, f.noise, f.scaling, f.rounds);
  figure["max_error_ratio"] = f.max_error_ratio;
  figure["against"] = against_json(f);
  figure["peers"] = peers_json(f);
  return figure;
}

void add_rounds(Json& figure, const kit::Median& noise, const kit::Median& scaling, int rounds) {
  figure["noise_low"] = noise.low;
  figure["noise_high"] = noise.high;
  figure["scaling"] = scaling.value;
  figure["scaling_low"] = scaling.low;
  figure["scaling_high"] = scaling.high;
  figure["rounds"] = rounds;
}

void print_listed(const std::string& line, const std::string& backend, bool json) {
  if (json) {
    print_json({{"type", "line"}, {"line", line}, {"backend", backend}});
  } else {
    fmt::print("{:<10} {}\n", backend, line);
  }
}

void print_scaling(int threads, const kit::Median& scaling) {
  if (threads < 2) return;
  fmt::print("  {:.2f} [{:.2f}, {:.2f}] times as fast as on one thread\n", scaling.value,
             scaling.low, scaling.high);
}

void print_figure(const ProblemLine& line, int threads, const kit::Figure& f) {
  fmt::print("{}\n", to_string(line));
  fmt::print("  {:<10} {} threads, {}: median {:.1f} us, best {:.1f} us\n", f.backend, threads,
             f.cold ? "cold" : "warm", f.median_us, f.best_us);
  fmt::print("  {:.1f} GOP/s of {:.1f} ({}, {:.2f} a cycle); {:.2f} GB/s of {:.1f}\n", f.gops,
             f.peak_gops, f.peak_instruction, f.peak_per_cycle, f.gbps, f.read_gbps);
  fmt::print(
      "  roofline {:.3f} [{:.3f}, {:.3f}]; error {:.3f} of the bound; A/A [{:.3f}, {:.3f}]\n",
      f.roofline.value, f.roofline.low, f.roofline.high, f.max_error_ratio, f.noise.low,
      f.noise.high);
  print_scaling(threads, f.scaling);
  if (f.against) print_against(*f.against);
  for (const kit::PeerFigure& p : f.peers) print_peer(p);
}

Json cliffs_json(const ProblemLine& line, int threads, const kit::Cliffs& c) {
  return {{"type", "cliffs"},
          {"line", to_string(line)},
          {"threads", threads},
          {"noise", c.noise},
          {"steps", c.steps},
          {"largest_drop", c.drop.size},
          {"largest_drop_after", c.drop.m},
          {"slower_with_fewer", c.slower_fewer.size},
          {"slower_with_fewer_at", c.slower_fewer.m},
          {"n_plus_one", c.n_plus_one},
          {"k_plus_one", c.k_plus_one},
          {"both_plus_one", c.both_plus_one}};
}

void print_cliffs(const ProblemLine& line, int threads, const kit::Cliffs& c) {
  fmt::print("{}\n", to_string(line));
  fmt::print("  {} threads, 1 to {} rows; A/A noise {:.3f}\n", threads, line.m, c.noise);
  if (c.steps == 0) {
    fmt::print("  no drop of efficiency beyond the noise\n");
  } else {
    fmt::print(
        "  {} drops of efficiency beyond the noise, the largest {:.1f} % from {} rows to {}\n",
        c.steps, 100.0 * c.drop.size, c.drop.m, c.drop.m + 1);
  }
  if (c.slower_fewer.m == 0) {
    fmt::print("  no fewer rows take longer\n");
  } else {
    fmt::print("  {} rows take {:.3f} times as long as {}\n", c.slower_fewer.m, c.slower_fewer.size,
               c.slower_fewer.m + 1);
  }
  fmt::print("  efficiency one past a multiple of 64: N {:.3f}, K {:.3f}, both {:.3f}\n",
             c.n_plus_one, c.k_plus_one, c.both_plus_one);
}

Json peaks_json(int threads) {
  constexpr double kSeconds = 0.15;
  constexpr std::array kKinds{std::pair{"int8", kit::PeakKind::int8},
                              std::pair{"bf16", kit::PeakKind::bf16},
                              std::pair{"float32", kit::PeakKind::fp32}};
  Json peaks = Json::array();
  for (const auto& [name, kind] : kKinds) {
    const kit::Peak peak = kit::measure_peak(kind, threads, kSeconds);
    peaks.push_back({{"kind", name},
                     {"instruction", peak.instruction},
                     {"gops", peak.gops},
                     {"instructions_per_cycle", peak.per_cycle}});
  }
  return {{"type", "peaks"},
          {"threads", threads},
          {"peaks", std::move(peaks)},
          {"read_gbps", kit::measure_read_bandwidth(threads, kSeconds)}};
}

Json peer_json(const kit::PeerEntry& p) {
  Json object{{"type", "peer"}, {"name", p.name}, {"version", p.version}, {"not_run", nullptr}};
  if (!p.missing.empty()) object["not_run"] = p.missing;
  return object;
}

}  // namespace octavo::cli
