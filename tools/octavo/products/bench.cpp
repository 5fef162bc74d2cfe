// SPDX-License-Identifier: Apache-2.0
// octavo bench LINE...: times problems beside the machine's peaks, or checks them.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "commands.hpp"
#include "figures.hpp"
#include "kit/oracle/check.hpp"
#include "kit/timing/measure.hpp"
#include "octavo/backend.hpp"
#include "octavo/context.hpp"
#include "options.hpp"
#include "output.hpp"
#include "read_line.hpp"
#include "words.hpp"

namespace octavo::cli {
namespace {

constexpr double kSampleSeconds = 0.05;  // the least that makes a figure
constexpr double kScanSeconds = 0.003;   // hundreds of samples, three times

struct BenchArguments {
  std::vector<std::string> lines;
  std::string backend, against;
  int threads = 0;
  int rounds = 9;
  bool cold = false, check = false, bitwise = false, list = false, json = false;
  bool no_peers = false, no_float32 = false, cliffs = false;
  double seconds = 0.0;  // of a sample; 0: what the measurement asks for
};

std::vector<std::string> backends_to_check(const BenchArguments& arguments) {
  if (!arguments.backend.empty()) return {arguments.backend};
  std::vector<std::string> names;
  for (const BackendInfo& backend : backends()) {
    if (backend.usable) names.push_back(backend.name);
  }
  return names;
}

// Why a backend does not take the line; empty: it does.
std::string refusal(const ProblemLine& line, const std::string& backend) {
  for (const Candidate& c : explain(line, {}, backend.c_str()).candidates) {
    if (c.backend == backend && !c.accepts) return c.reason;
  }
  return {};
}

void show_refusal(const ProblemLine& line, const std::string& backend, const std::string& why,
                  bool json) {
  if (json) {
    print_json(
        {{"type", "refusal"}, {"line", to_string(line)}, {"backend", backend}, {"reason", why}});
  } else {
    fmt::print("none  {:<10} {}  {}\n", backend, why, to_string(line));
  }
}

int check_line(const ProblemLine& line, const BenchArguments& arguments) {
  int code = kGood;
  for (const std::string& backend : backends_to_check(arguments)) {
    const std::string why = arguments.backend.empty() ? refusal(line, backend) : std::string();
    if (!why.empty()) {
      show_refusal(line, backend, why, arguments.json);
      continue;
    }
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

void list_line(const ProblemLine& line, const BenchArguments& arguments) {
  const Explanation e =
      explain(line, {}, arguments.backend.empty() ? nullptr : arguments.backend.c_str());
  std::string chosen = "none";
  for (const Candidate& c : e.candidates) {
    if (c.chosen) chosen = c.backend;
  }
  print_listed(to_string(line), chosen, arguments.json);
}

std::optional<ProblemLine> against(const BenchArguments& arguments) {
  if (arguments.against.empty()) return std::nullopt;
  return read_line(arguments.against);
}

void time_line(const ProblemLine& line, int threads, const BenchArguments& arguments) {
  const double seconds = arguments.seconds > 0.0 ? arguments.seconds : kSampleSeconds;
  const kit::Figure figure = kit::measure(line, {.backend = arguments.backend,
                                                 .threads = threads,
                                                 .rounds = arguments.rounds,
                                                 .sample_seconds = seconds,
                                                 .cold = arguments.cold,
                                                 .peers = !arguments.no_peers,
                                                 .float32_peers = !arguments.no_float32,
                                                 .against = against(arguments)});
  if (arguments.json) {
    print_json(figure_json(line, threads, figure));
  } else {
    print_figure(line, threads, figure);
  }
}

void scan_line(const ProblemLine& line, int threads, const BenchArguments& arguments) {
  const double seconds = arguments.seconds > 0.0 ? arguments.seconds : kScanSeconds;
  const kit::Cliffs cliffs = kit::find_cliffs(
      line, {.backend = arguments.backend, .threads = threads, .sample_seconds = seconds});
  if (arguments.json) {
    print_json(cliffs_json(line, threads, cliffs));
  } else {
    print_cliffs(line, threads, cliffs);
  }
}

// A line of a quantiser or of experts.
int other_line(const kit::CallKind& kind, const std::string& text, int threads,
               const BenchArguments& a) {
  if (a.cliffs) {
    throw Error(
        Status(Code::unsupported, "bench: the line of --cliffs must be a scaled_mm; got " + text));
  }
  const CallVerb verb = a.list                 ? CallVerb::list
                        : a.check || a.bitwise ? CallVerb::check
                                               : CallVerb::time;
  return bench_call(kind, text, verb,
                    {.backend = a.backend,
                     .threads = threads,
                     .rounds = a.rounds,
                     .sample_seconds = a.seconds > 0.0 ? a.seconds : kSampleSeconds},
                    a.json);
}

int run(const BenchArguments& arguments) {
  use_threads(arguments.threads);
  const int threads = default_executor().concurrency();
  int code = kGood;
  for (const std::string& text : lines_of(arguments.lines)) {
    if (const kit::CallKind* kind = kit::call_kind(text); kind != nullptr) {
      code = std::max(code, other_line(*kind, text, threads, arguments));
      continue;
    }
    const ProblemLine line = read_line(text);
    if (arguments.list) {
      list_line(line, arguments);
    } else if (arguments.cliffs) {
      scan_line(line, threads, arguments);
    } else if (arguments.check || arguments.bitwise) {
      code = std::max(code, check_line(line, arguments));
    } else {
      time_line(line, threads, arguments);
    }
  }
  return code;
}

}  // namespace

CommandBody add_bench(CLI::App& command) {
  const auto arguments = std::make_shared<BenchArguments>();
  command.add_option("LINE", arguments->lines, "Problems, in quotes or not (octavo help lines)")
      ->required();
  const auto flag = [&](const char* group, const char* name, bool& value, const char* what) {
    command.add_flag(name, value, what)->group(group);
  };
  flag(heading::kWork, "--check", arguments->check, "Check against both oracles instead of timing");
  flag(heading::kWork, "--bitwise", arguments->bitwise,
       "Check, and compare bits between runs and thread counts");
  flag(heading::kWork, "--cliffs", arguments->cliffs,
       "Scan 1 to M rows for sizes at which a little more work takes much more time");
  flag(heading::kWork, "--list", arguments->list, "Only say what would run each line");
  command.add_option("--backend", arguments->backend, "Force a backend by name")
      ->type_name("NAME")
      ->group(heading::kWork);
  CLI::Option* const against =
      command
          .add_option("--against", arguments->against,
                      "Another problem, timed in the same rounds: how many times as fast LINE is")
          ->type_name("LINE")
          ->group(heading::kTiming);
  command.add_option("--rounds", arguments->rounds, "Interleaved samples")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->group(heading::kTiming);
  command.add_option("--seconds", arguments->seconds, "Of one sample")
      ->type_name("S")
      ->default_str(fmt::format("{}; --cliffs: {}", kSampleSeconds, kScanSeconds))
      ->check(between(0.0, 60.0))
      ->group(heading::kTiming);
  flag(heading::kTiming, "--cold", arguments->cold,
       "Rotate weights through 256 MB (always so for M = 1)");
  flag(heading::kTiming, "--no-peers", arguments->no_peers, "Leave out other libraries");
  flag(heading::kTiming, "--no-float32", arguments->no_float32,
       "Leave out the peers that multiply in float32");
  for (const char* untimed : {"--cliffs", "--check", "--bitwise", "--list"}) {
    against->excludes(command.get_option(untimed));
  }
  add_threads(command, arguments->threads);
  add_json(command, arguments->json, "Print one JSON object per line");
  command.footer(
      "An operation begins a line; octavo help lines has the grammar.\n"
      "Example: octavo bench scaled_mm int8:int8:bf16 scale=token:channel prepacked 16x4096x4096");
  return [arguments] { return run(*arguments); };
}

}  // namespace octavo::cli
