// SPDX-License-Identifier: Apache-2.0
// octavo info: this build, this processor, and the backends usable on it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "commands.hpp"
#include "environment.hpp"
#include "figures.hpp"
#include "kit/peers/peers.hpp"
#include "octavo/backend.hpp"
#include "octavo/context.hpp"
#include "options.hpp"
#include "output.hpp"

namespace octavo::cli {
namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "clang " __clang_version__;
#else
constexpr const char* kCompiler = "gcc " __VERSION__;
#endif

std::vector<int> thread_counts() {
  const int all = default_executor().concurrency();
  return all > 1 ? std::vector<int>{1, all} : std::vector<int>{1};
}

void print_info_json(bool peaks) {
  for (const CpuFeature& feature : cpu_features()) {
    print_json({{"type", "cpu_feature"},
                {"name", feature.name},
                {"present", feature.present},
                {"left_out", feature.left_out}});
  }
  for (const BackendInfo& backend : backends()) {
    print_json({{"type", "backend"},
                {"name", backend.name},
                {"summary", backend.summary},
                {"usable", backend.usable},
                {"uses", backend.uses},
                {"more", backend.more},
                {"caches", backend.caches},
                {"unavailable", backend.unavailable}});
  }
  for (const Variable& variable : kVariables) {
    if (variable.reader == kDevelopment) continue;
    const char* value = std::getenv(variable.name.data());  // NOLINT(concurrency-mt-unsafe)
    print_json({{"type", "variable"},
                {"name", variable.name},
                {"value", value == nullptr ? Json(nullptr) : Json(value)},
                {"reader", variable.reader},
                {"unset", variable.unset},
                {"meaning", variable.meaning}});
  }
  if (peaks) {
    for (const kit::PeerEntry& peer : kit::installed_peers()) print_json(peer_json(peer));
    for (const int threads : thread_counts()) print_json(peaks_json(threads));
  }
  print_json({{"type", "build"},
              {"version", OCTAVO_VERSION},
              {"compiler", kCompiler},
              {"cpu", cpu_name()},
              {"threads", default_executor().concurrency()},
              {"executor", default_executor_reason()}});
}

void print_peaks() {
  fmt::print("\n");
  for (const kit::PeerEntry& peer : kit::installed_peers()) {
    fmt::print("peer      {}: {}\n", peer.name,
               peer.peer == nullptr ? "not run: " + peer.missing : peer.version);
  }
  for (const int threads : thread_counts()) {
    const Json object = peaks_json(threads);
    for (const Json& peak : object.at("peaks")) {
      fmt::print("peak      {:<8} {}: {:.1f} GOP/s ({}, {:.2f} a cycle)\n",
                 peak.at("kind").get<std::string>(), count_text(threads, "thread"),
                 peak.at("gops").get<double>(), peak.at("instruction").get<std::string>(),
                 peak.at("instructions_per_cycle").get<double>());
    }
    fmt::print("read      {}: {:.1f} GB/s\n", count_text(threads, "thread"),
               object.at("read_gbps").get<double>());
  }
}

void print_variables() {
  Table table({{"variable"}, {"value"}, {"meaning"}});
  for (const Variable& variable : kVariables) {
    if (variable.reader == kDevelopment) continue;
    const char* value = std::getenv(variable.name.data());  // NOLINT(concurrency-mt-unsafe)
    table.add({std::string(variable.name), value == nullptr ? "-" : printable(value),
               std::string(variable.meaning)});
  }
  fmt::print("\n");
  table.print();
}

void print_info() {
  std::string present, absent, left_out;
  for (const CpuFeature& feature : cpu_features()) {
    std::string& list = feature.present ? present : feature.left_out ? left_out : absent;
    list += (list.empty() ? "" : " ") + feature.name;
  }
  fmt::print("octavo    {}, compiled by {}\n", OCTAVO_VERSION, kCompiler);
  fmt::print("cpu       {}\n", cpu_name());
  fmt::print("has       {}\n", present.empty() ? "-" : present);
  fmt::print("has not   {}\n", absent.empty() ? "-" : absent);
  if (!left_out.empty()) fmt::print("left out  {} (OCTAVO_ISA)\n", left_out);
  fmt::print("executor  {} threads: {}\n\n", default_executor().concurrency(),
             default_executor_reason());
  Table table({{"backend"}, {"usable"}, {"what it is, or why it is not usable"}});
  for (const BackendInfo& backend : backends()) {
    std::string what = backend.usable ? backend.summary : backend.unavailable;
    if (!backend.uses.empty()) what += "; here by " + backend.uses;
    if (!backend.more.empty()) what += "; could use " + backend.more;
    if (!backend.caches.empty()) what += "; caches of " + backend.caches;
    table.add({backend.name, backend.usable ? "yes" : "no", what});
  }
  table.print();
  print_variables();
}

}  // namespace

CommandBody add_info(CLI::App& command) {
  struct Arguments {
    bool json = false, peaks = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  add_json(command, arguments->json,
           "Print one JSON object per feature, backend and variable, and for the build");
  command
      .add_flag("--peaks", arguments->peaks,
                "Measure this machine's peaks and list the bench's peers, too")
      ->group(heading::kWork);
  return [arguments] {
    if (arguments->json) {
      print_info_json(arguments->peaks);
    } else {
      print_info();
      if (arguments->peaks) print_peaks();
    }
    return static_cast<int>(kGood);
  };
}

}  // namespace octavo::cli
