// SPDX-License-Identifier: Apache-2.0
// octavo info: this build, this processor, and the backends usable on it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "commands.hpp"
#include "octavo/backend.hpp"
#include "octavo/context.hpp"
#include "output.hpp"

namespace octavo::cli {
namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "clang " __clang_version__;
#else
constexpr const char* kCompiler = "gcc " __VERSION__;
#endif

void print_info_json() {
  for (const CpuFeature& feature : cpu_features()) {
    print_json({{"type", "cpu_feature"}, {"name", feature.name}, {"present", feature.present}});
  }
  for (const BackendInfo& backend : backends()) {
    print_json({{"type", "backend"},
                {"name", backend.name},
                {"summary", backend.summary},
                {"usable", backend.usable},
                {"unavailable", backend.unavailable}});
  }
  print_json({{"type", "build"},
              {"version", OCTAVO_VERSION},
              {"compiler", kCompiler},
              {"cpu", cpu_name()},
              {"threads", default_executor().concurrency()},
              {"executor", default_executor_reason()}});
}

void print_info() {
  std::string present, absent;
  for (const CpuFeature& feature : cpu_features()) {
    std::string& list = feature.present ? present : absent;
    list += (list.empty() ? "" : " ") + feature.name;
  }
  fmt::print("octavo    {}, compiled by {}\n", OCTAVO_VERSION, kCompiler);
  fmt::print("cpu       {}\n", cpu_name());
  fmt::print("has       {}\n", present.empty() ? "-" : present);
  fmt::print("has not   {}\n", absent.empty() ? "-" : absent);
  fmt::print("executor  {} threads: {}\n\n", default_executor().concurrency(),
             default_executor_reason());
  Table table({{"backend"}, {"usable"}, {"what it is, or why it is not usable"}});
  for (const BackendInfo& backend : backends()) {
    table.add({backend.name, backend.usable ? "yes" : "no",
               backend.usable ? backend.summary : backend.unavailable});
  }
  table.print();
}

}  // namespace

Run add_info(CLI::App& command) {
  const auto json = std::make_shared<bool>(false);
  command.add_flag("--json", *json,
                   "Print one JSON object per feature, per backend and for the build");
  return [json] {
    *json ? print_info_json() : print_info();
    return static_cast<int>(kGood);
  };
}

}  // namespace octavo::cli
