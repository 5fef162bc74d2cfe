// SPDX-License-Identifier: Apache-2.0
// octavo plan DIR --ranks N: what a model's layers cost a group of ranks, by a stated model.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cmath>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>

#include "commands.hpp"
#include "hub.hpp"
#include "kit/timing/peak.hpp"
#include "octavo/backend.hpp"
#include "octavo/checkpoint/rank_plan.hpp"
#include "octavo/context.hpp"
#include "options.hpp"
#include "output.hpp"

namespace octavo::cli {
namespace {

struct PlanArguments {
  std::string model, network = "200Gb", latency = "10us", device;
  std::int64_t ranks = 1, rows = 1;
  int threads = 0;
  bool json = false;
};

struct Unit {
  const char* name;
  double factor;
};

/// "200Gb", "1.5ms": a number and one of these units.
template <std::size_t count>
double quantity(const char* option, const std::string& text, const std::array<Unit, count>& units) {
  std::size_t length = 0;
  double number = -1;
  try {
    number = std::stod(text, &length);
  } catch (const std::exception&) {
    length = 0;
  }
  for (const Unit& unit : units) {
    if (std::isfinite(number) && length > 0 && text.substr(length) == unit.name)
      return number * unit.factor;
  }
  std::string known;
  for (const Unit& unit : units) known += fmt::format("{}{}", known.empty() ? "" : ", ", unit.name);
  throw Error(
      {Code::invalid_argument, fmt::format("plan: {} must be a number and one of {}; got {}",
                                           option, known, printable(text))});
}

constexpr std::array<Unit, 3> kRates{{{"Gb", 1.0}, {"Mb", 1e-3}, {"Tb", 1e3}}};
constexpr std::array<Unit, 3> kTimes{{{"us", 1.0}, {"ms", 1e3}, {"s", 1e6}}};

/// This machine's, measured for a moment each; fp8 products are those of bfloat16 here.
MachineRates measured(int threads) {
  constexpr double kSeconds = 0.2;
  const auto peak = [&](kit::PeakKind kind) {
    return kit::measure_peak(kind, threads, kSeconds).gops;
  };
  MachineRates rates;
  rates.name = fmt::format("{}, {}", cpu_name(), count_text(threads, "thread"));
  rates.read_gbps = kit::measure_read_bandwidth(threads, kSeconds);
  rates.int8_gops = peak(kit::PeakKind::int8);
  rates.float16_gops = rates.float8_gops = peak(kit::PeakKind::bf16);
  rates.float32_gops = peak(kit::PeakKind::fp32);
  return rates;
}

MachineRates machine_of(const PlanArguments& arguments) {
  if (!arguments.device.empty()) return *device_rates(arguments.device);
  const int all = default_executor().concurrency();
  return measured(arguments.threads > 0 ? arguments.threads : all);
}

std::string time_text(double seconds) {
  return seconds < 1e-3  ? fmt::format("{:.1f} us", seconds * 1e6)
         : seconds < 1.0 ? fmt::format("{:.2f} ms", seconds * 1e3)
                         : fmt::format("{:.2f} s", seconds);
}

void print_plan_json(const RankPlanOptions& o, const RankPlan& plan) {
  for (const RankPlanGroup& g : plan.groups) {
    print_json({{"type", "layers"},
                {"name", g.name},
                {"split", rank_split_name(g.split)},
                {"dtype", g.dtype},
                {"n", g.n},
                {"k", g.k},
                {"layers", g.layers},
                {"experts", g.experts},
                {"bytes", g.bytes},
                {"bytes_read", g.bytes_read},
                {"operations", g.operations},
                {"bytes_sent", g.bytes_sent},
                {"messages", g.messages},
                {"compute_seconds", g.compute_seconds},
                {"communication_seconds", g.communication_seconds}});
  }
  print_json({{"type", "plan"},
              {"ranks", o.ranks},
              {"rows", o.rows},
              {"network_gbits", o.network_gbits},
              {"latency_us", o.latency_us},
              {"machine", o.machine.name},
              {"simulated", o.machine.simulated},
              {"read_gbps", o.machine.read_gbps},
              {"int8_gops", o.machine.int8_gops},
              {"float8_gops", o.machine.float8_gops},
              {"float16_gops", o.machine.float16_gops},
              {"float32_gops", o.machine.float32_gops},
              {"bytes", plan.bytes},
              {"other_bytes", plan.other_bytes},
              {"compute_seconds", plan.compute_seconds},
              {"communication_seconds", plan.communication_seconds},
              {"seconds", plan.compute_seconds + plan.communication_seconds}});
}

void print_plan(const RankPlanOptions& o, const RankPlan& plan) {
  Table table({{"layers"},
               {"split"},
               {"codes"},
               {"[N, K]"},
               {"count", true},
               {"a rank holds", true},
               {"compute", true},
               {"communication", true}});
  for (const RankPlanGroup& g : plan.groups) {
    table.add(
        {printable(g.name), std::string(rank_split_name(g.split)), g.dtype,
         fmt::format("[{}, {}]", g.n, g.k),
         g.experts > 0 ? fmt::format("{} x {}", g.layers, g.experts) : fmt::format("{}", g.layers),
         size_text(g.bytes), time_text(g.compute_seconds), time_text(g.communication_seconds)});
  }
  if (!table.empty()) table.print();
  fmt::print("\n{} of {}{}: {:.0f} GB/s read, {:.0f} GOP/s int8, {:.0f} fp8, {:.0f} bf16\n",
             count_text(o.ranks, "rank"), printable(o.machine.name),
             o.machine.simulated ? " (simulated: a data sheet's rates)" : "", o.machine.read_gbps,
             o.machine.int8_gops, o.machine.float8_gops, o.machine.float16_gops);
  fmt::print("network: {:g} Gb/s each way, {:g} us a message\n", o.network_gbits, o.latency_us);
  const double seconds = plan.compute_seconds + plan.communication_seconds;
  fmt::print("a rank holds {}; {} in {}: {} compute, {} communication\n", size_text(plan.bytes),
             count_text(o.rows, "row"), time_text(seconds), time_text(plan.compute_seconds),
             time_text(plan.communication_seconds));
}

int run(const PlanArguments& arguments) {
  RankPlanOptions o;
  o.ranks = arguments.ranks;
  o.rows = arguments.rows;
  o.network_gbits = quantity("--network", arguments.network, kRates);
  o.latency_us = quantity("--latency", arguments.latency, kTimes);
  const Checkpoint model = open_checkpoint(find_model("plan", arguments.model));
  o.machine = machine_of(arguments);
  const RankPlan plan = plan_ranks(model, o);
  arguments.json ? print_plan_json(o, plan) : print_plan(o, plan);
  return kGood;
}

}  // namespace

CommandBody add_plan(CLI::App& command) {
  const auto arguments = std::make_shared<PlanArguments>();
  add_model(command, "PATH", arguments->model)->required();
  const auto add = [&](const char* name, auto& value, const char* type, const char* what) {
    return command.add_option(name, value, what)->type_name(type)->group(heading::kMachine);
  };
  add("--ranks", arguments->ranks, "N", "How many processes share the model")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20));
  add("--rows", arguments->rows, "N", "Tokens of a batch")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  add("--network", arguments->network, "RATE", "Each rank's link, each way: Mb, Gb or Tb a second");
  add("--latency", arguments->latency, "TIME", "Of a message: us, ms or s");
  add("--device", arguments->device, "NAME", "Rates of a data sheet instead of this machine's")
      ->check(CLI::IsMember({"h200"}));
  add_threads(command, arguments->threads, "Of a rank on this machine");
  add_json(command, arguments->json, "Print one JSON object per kind of layer and a summary");
  command.footer(
      "Headers are read, and no weights. docs/specification.md, section 11, states the model.");
  return [arguments] { return run(*arguments); };
}

}  // namespace octavo::cli
