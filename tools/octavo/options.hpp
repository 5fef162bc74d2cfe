// SPDX-License-Identifier: Apache-2.0
// Options that several commands have: one spelling, one short form and one group each; and how help
// shows options.
#pragma once

#include <CLI/App.hpp>
#include <array>
#include <string>

namespace octavo::cli {

/// The headings of a command's help, in their order.
namespace heading {
inline constexpr const char* kLayers = "Which layers";
inline constexpr const char* kScheme = "How they are quantised";
inline constexpr const char* kWork = "What is done";
inline constexpr const char* kTiming = "How it is timed";
inline constexpr const char* kMachine = "Which machine";
inline constexpr const char* kOutput = "Output";
inline constexpr std::array kAll{kLayers, kScheme, kWork, kTiming, kMachine, kOutput};
}  // namespace heading

/// -j, --json
void add_json(CLI::App& command, bool& json, const std::string& what);
/// -q, --quiet
void add_quiet(CLI::App& command, bool& quiet, const std::string& what);
/// -t, --threads; 0: all.
void add_threads(CLI::App& command, int& threads,
                 const std::string& what = "How many threads work");
/// --progress
void add_progress(CLI::App& command, std::string& mode);
/// --overwrite
void add_overwrite(CLI::App& command, bool& overwrite, const std::string& what);
/// -v, --verbose
void add_verbose(CLI::App& app);
/// -h, --help, behind the other options.
void add_help(CLI::App& command);

/// An argument that names a model: a path, or a name of the Hub (hub.hpp). `what` is the part that
/// it plays, if its name does not say it.
CLI::Option* add_model(CLI::App& command, const std::string& name, std::string& model,
                       const std::string& what = {});

/// Makes the default executor use that many threads; 0: all. Before its first use.
void use_threads(int threads);

/// How help shows options: "-t,--threads N [0]".
void set_help_form(CLI::App& app);

}  // namespace octavo::cli
