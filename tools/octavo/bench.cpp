// SPDX-License-Identifier: Apache-2.0
// octavo bench LINE...: times problems beside the machine's peaks, or checks them.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "commands.hpp"
#include "kit/check.hpp"
#include "kit/measure.hpp"
#include "octavo/backend.hpp"
#include "octavo/context.hpp"
#include "output.hpp"

namespace octavo::cli {
namespace {

struct Arguments {
  std::vector<std::string> lines;
  std::string backend;
  int threads = 0;
  int rounds = 9;
  bool cold = false, check = false, bitwise = false, list = false, json = false;
  bool no_peers = false;
  double seconds = 0.05;
};

std::vector<std::string> backends_to_check(const Arguments& arguments) {
  if (!arguments.backend.empty()) return {arguments.backend};
  std::vector<std::string> names;
  for (const BackendInfo& backend : backends()) {
    if (backend.usable) names.push_back(backend.name);
  }
  return names;
}

int check_line(const ProblemLine& line, const Arguments& arguments) {
  int code = kGood;
  for (const std::string& backend : backends_to_check(arguments)) {
    const kit::CheckResult r = kit::check(line, backend, {.bitwise = arguments.bitwise});
    if (!r.passed) code = kCheckFailed;
    if (arguments.json) {
      Json object{{"type", "check"},
                  {"line", to_string(line)},
                  {"backend", r.backend},
                  {"passed", r.passed},
                  {"max_error_ratio", r.max_error_ratio},
                  {"matches_reference", nullptr},
                  {"failure", r.failure}};
      if (r.reference_compared) object["matches_reference"] = r.matches_reference;
      print_json(object);
      continue;
    }
    fmt::print("{}  {:<10} error {:.3f} of the bound{}  {}\n", r.passed ? "pass" : "FAIL",
               r.backend, r.max_error_ratio, r.matches_reference ? ", bits of the reference" : "",
               to_string(line));
    if (r.passed) continue;
    fmt::print("      {}\n      repro: octavo bench --check --backend={} \"{}\"\n", r.failure,
               r.backend, to_string(line));
  }
  return code;
}

void list_line(const ProblemLine& line, const Arguments& arguments) {
  const Explanation e =
      explain(line, {}, arguments.backend.empty() ? nullptr : arguments.backend.c_str());
  std::string chosen = "none";
  for (const Candidate& c : e.candidates) {
    if (c.chosen) chosen = c.backend;
  }
  if (arguments.json) {
    print_json({{"type", "line"}, {"line", to_string(line)}, {"backend", chosen}});
  } else {
    fmt::print("{:<10} {}\n", chosen, to_string(line));
  }
}

Json peers_json(const kit::Figure& f) {
  Json list = Json::array();
  for (const kit::PeerFigure& p : f.peers) {
    Json object{{"name", p.name}, {"version", p.version}, {"not_run", nullptr}};
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

void print_peer(const kit::PeerFigure& p) {
  const std::string name = p.version.empty() ? p.name : p.name + " " + p.version;
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

void time_line(const ProblemLine& line, int threads, const Arguments& arguments) {
  const kit::Figure f = kit::measure(line, {.backend = arguments.backend,
                                            .threads = threads,
                                            .rounds = arguments.rounds,
                                            .sample_seconds = arguments.seconds,
                                            .cold = arguments.cold,
                                            .peers = !arguments.no_peers});
  if (arguments.json) {
    print_json({{"type", "figure"},
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
                {"roofline_fraction", f.roofline_fraction},
                {"roofline_low", f.roofline_low},
                {"roofline_high", f.roofline_high},
                {"memory_bound", f.memory_bound},
                {"noise_low", f.noise.low},
                {"noise_high", f.noise.high},
                {"rounds", f.rounds},
                {"max_error_ratio", f.max_error_ratio},
                {"peers", peers_json(f)}});
    return;
  }
  fmt::print("{}\n", to_string(line));
  fmt::print("  {:<10} {} threads, {}: median {:.1f} us, best {:.1f} us\n", f.backend, threads,
             f.cold ? "cold" : "warm", f.median_us, f.best_us);
  fmt::print("  {:.1f} GOP/s of {:.1f} ({}, {:.2f} a cycle); {:.2f} GB/s of {:.1f}\n", f.gops,
             f.peak_gops, f.peak_instruction, f.peak_per_cycle, f.gbps, f.read_gbps);
  fmt::print(
      "  roofline {:.3f} [{:.3f}, {:.3f}]; error {:.3f} of the bound; A/A [{:.3f}, {:.3f}]\n",
      f.roofline_fraction, f.roofline_low, f.roofline_high, f.max_error_ratio, f.noise.low,
      f.noise.high);
  for (const kit::PeerFigure& p : f.peers) print_peer(p);
}

int run(const Arguments& arguments) {
  // The default executor reads the variable when it is first used: now.
  if (arguments.threads > 0) {
    ::setenv("OCTAVO_NUM_THREADS", std::to_string(arguments.threads).c_str(), 1);
  }
  const int threads = default_executor().concurrency();
  int code = kGood;
  for (const std::string& text : arguments.lines) {
    const ProblemLine line = parse_problem_line(text);
    if (arguments.list) {
      list_line(line, arguments);
    } else if (arguments.check || arguments.bitwise) {
      code = std::max(code, check_line(line, arguments));
    } else {
      time_line(line, threads, arguments);
    }
  }
  return code;
}

}  // namespace

Run add_bench(CLI::App& command) {
  const auto arguments = std::make_shared<Arguments>();
  command.add_option("LINE", arguments->lines, "Problems, each one argument in quotes")->required();
  command.add_option("--backend", arguments->backend, "Force a backend by name");
  command.add_option("--threads", arguments->threads, "Threads (default: all)")
      ->check(CLI::Range(1, 4096));
  command.add_option("--rounds", arguments->rounds, "Interleaved samples (default 9)")
      ->check(CLI::Range(1, 1000));
  command.add_flag("--cold", arguments->cold,
                   "Rotate weights through 256 MB (always so for M = 1)");
  command.add_flag("--no-peers", arguments->no_peers, "Leave out other libraries");
  command
      .add_option("--seconds", arguments->seconds, "Of one sample (default 0.05, a figure's least)")
      ->check(CLI::Range(0.0, 60.0));
  command.add_flag("--check", arguments->check, "Check against both oracles instead of timing");
  command.add_flag("--bitwise", arguments->bitwise,
                   "Check, and compare bits between runs and thread counts");
  command.add_flag("--list", arguments->list, "Only say what would run each line");
  command.add_flag("--json", arguments->json, "Print one JSON object per line");
  return [arguments] { return run(*arguments); };
}

}  // namespace octavo::cli
