// SPDX-License-Identifier: Apache-2.0
// octavo: the command line. One row per subcommand; every failure is one sentence and an exit code.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "octavo/status.hpp"
#include "options.hpp"
#include "output.hpp"
#include "renamed.hpp"
#include "topics.hpp"
#include "words.hpp"

namespace octavo::cli {
namespace {

constexpr const char* kWrite = "Write models";
constexpr const char* kLook = "Look into models";
constexpr const char* kProducts = "Products";
constexpr const char* kProgram = "This program";

struct Command {
  const char* group;
  const char* name;
  const char* summary;
  CommandBody (*add)(CLI::App& command);
};

constexpr std::array<Command, 15> kCommands{{
    {kWrite, "quantize", "Quantise the linear layers of a model", add_quantize},
    {kWrite, "convert", "Write quantised layers in another tool's format", add_convert},
    {kWrite, "dequantize", "Write quantised layers as float weights", add_dequantize},
    {kWrite, "schemes", "List the schemes: bytes, loss, who loads them", add_schemes},
    {kLook, "inspect", "Show what a model's folder or file holds", add_inspect},
    {kLook, "verify", "Check that a model is whole and finite", add_verify},
    {kLook, "compare", "Show how far apart the weights of two models are", add_compare},
    {kLook, "report", "Say what each scheme would do to each layer", add_report},
    {kLook, "evaluate", "Say what quantising a model cost on a text", add_evaluate},
    {kLook, "plan", "Say what a model costs a group of machines, by its shapes", add_plan},
    {kProducts, "explain", "Say what would run a problem, and why", add_explain},
    {kProducts, "bench", "Time problems beside the machine's peaks, or check them", add_bench},
    {kProducts, "try", "See this machine's int8 products beside its peaks in less than a minute",
     add_try},
    {kProgram, "info", "Show this build, this processor and the backends usable on it", add_info},
    {kProgram, "completion", "Print a script that completes this command line in a shell",
     add_completion},
}};

struct ExitRow {
  Code code;
  ExitCode exit;
};
constexpr std::array<ExitRow, 8> kExitCodes{{
    {Code::invalid_argument, kBadInput},
    {Code::unsupported, kBadInput},
    {Code::corrupt_data, kBadInput},
    {Code::unavailable, kMissingResource},
    {Code::out_of_memory, kMissingResource},
    {Code::io, kMissingResource},
    {Code::device, kMissingResource},
    {Code::internal, kCheckFailed},
}};

int exit_code(Code code) {
  const auto row = std::ranges::find(kExitCodes, code, &ExitRow::code);
  return row == kExitCodes.end() ? kCheckFailed : row->exit;
}

int complain(std::string sentence, int exit) {
  std::ranges::replace(sentence, '\n', ' ');
  put_error(fmt::format("octavo: {}\n", sentence));
  return exit;
}

/// Takes the numbers of standard streams that are closed, so that no file that is opened later gets
/// one and sentences are written into it. Writing there fails, as it would have.
void keep_standard_descriptors() noexcept {
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(number, F_GETFD) != -1) continue;
    (void)::open("/dev/null", number == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // the least is free
  }
}

/// Runs what was asked for; nothing is good before standard output has taken it all.
int run(const std::function<int()>& body) {
  try {
    const int code = body();
    const bool flushed = std::fflush(stdout) == 0;
    // What did not fit the buffer has failed before.
    if (!flushed || std::ferror(stdout) != 0) {
      throw std::system_error(flushed ? EIO : errno, std::generic_category(), "stdout");
    }
    return code;
  } catch (const Error& error) {
    return complain(error.what(), exit_code(error.code()));
  } catch (const std::bad_alloc&) {
    return complain("memory must be available; got none", kMissingResource);
  } catch (const std::system_error& error) {
    return complain(fmt::format("cannot write the output: {}", error.what()), kMissingResource);
  }
}

/// The command that was written; `app` where there is none.
const CLI::App& command_of(const CLI::App& app) {
  const CLI::App* command = &app;
  for (const CLI::App* used : app.get_subcommands()) command = used;
  return *command;
}

/// "octavo quantize --help says more"
std::string more_help(const CLI::App& app) {
  const CLI::App& command = command_of(app);
  return fmt::format("octavo {}--help says more", &command == &app ? "" : command.get_name() + " ");
}

/// What was written that is none, by what is there.
std::string unknown(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* command = &command_of(app);
  for (const std::string& word : words) {
    const bool option = word.starts_with("-");
    const std::string name = word.substr(0, word.find('='));
    const bool letter = name.size() <= 2;  // any other is as near
    const std::string near =
        letter ? "" : nearest(name, option ? option_names(*command) : command_names(app));
    return fmt::format("{} {} is unknown{} ({})",
                       option            ? "option"
                       : command == &app ? "command"
                                         : "argument",
                       printable(name), near.empty() ? "" : fmt::format(": did you mean {}?", near),
                       more_help(app));
  }
  return {};
}

/// "help VERB" is "VERB --help"; options are spelled as they are now.
std::vector<std::string> words_of(std::vector<std::string> words) {
  if (!words.empty() && words[0] == "help") {
    words.erase(words.begin());
    words.emplace_back("--help");
  }
  for (std::string& word : words) word = current_spelling(words[0], std::move(word));
  std::ranges::reverse(words);  // as CLI11 takes them
  return words;
}

std::string footer() {
  std::string text = "octavo help COMMAND: a command's options.";
  for (const Topic& topic : kTopics) {
    text += fmt::format(" octavo help {}: {}.", topic.name, topic.summary);
  }
  return text +
         "\nExit codes: 0 good, 1 a check failed, 2 usage, 3 bad input, 4 a resource is missing.";
}

/// "help NAME" of no command: a topic's text, or a sentence. Nothing: CLI11 has the help.
std::optional<int> help_of(const CLI::App& app, const std::vector<std::string>& words) {
  if (words.size() < 2 || words[0] != "help" || words[1].starts_with("-")) return std::nullopt;
  const auto topic = std::ranges::find(kTopics, words[1], &Topic::name);
  std::vector<std::string> known = command_names(app);
  const bool is_command = std::ranges::find(known, words[1]) != known.end();
  if (words.size() > 2) {
    return complain(
        fmt::format("help explains a command or topic at a time; got {}", printable(words[2])),
        kUsage);
  }
  if (is_command) return std::nullopt;
  if (topic == kTopics.end()) {
    for (const Topic& row : kTopics) known.emplace_back(row.name);
    const std::string near = nearest(words[1], known);
    return complain(
        fmt::format("help knows no {}{} (octavo --help lists what it knows)", printable(words[1]),
                    near.empty() ? "" : fmt::format(": did you mean {}?", near)),
        kUsage);
  }
  return run([&] {
    topic->print();
    return static_cast<int>(kGood);
  });
}

int dispatch(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  CLI::App app("8-bit matrix multiplication: quantise checkpoints, look into them, ask what runs.",
               "octavo");
  set_help_form(app);
  app.set_version_flag("-V,--version", "octavo " OCTAVO_VERSION, "Print the version and exit")
      ->group(heading::kOutput);
  add_verbose(app);
  app.require_subcommand(0, 1);  // none is reported below, after a wrong word has been
  app.footer(footer());

  std::vector<std::pair<CLI::App*, CommandBody>> commands;
  for (const Command& row : kCommands) {
    CLI::App* command = app.add_subcommand(row.name, row.summary);
    command->group(row.group);
    commands.emplace_back(command, row.add(*command));
    add_verbose(*command);
    add_help(*command);
  }
  if (const auto code = help_of(app, words)) return *code;
  try {
    app.parse(words_of(words));
  } catch (const CLI::Success& request) {
    return run([&] { return app.exit(request); });  // --help or --version
  } catch (const CLI::ExtrasError&) {
    return complain(unknown(app, app.remaining(true)), kUsage);
  } catch (const CLI::ParseError& error) {
    if (const std::string why = unknown(app, app.remaining(true)); !why.empty()) {
      return complain(why, kUsage);
    }
    return complain(fmt::format("{} ({})", error.what(), more_help(app)), kUsage);
  }
  const auto chosen =
      std::ranges::find_if(commands, [](const auto& entry) { return entry.first->parsed(); });
  if (chosen == commands.end()) {
    return run([&] {
      fmt::print("{}", app.help());
      return static_cast<int>(kGood);
    });
  }
  return run(chosen->second);
}

}  // namespace
}  // namespace octavo::cli

int main(int argc, char** argv) {
  octavo::cli::keep_standard_descriptors();
  try {
    return octavo::cli::dispatch(argc, argv);
  } catch (const std::bad_alloc&) {  // while arguments were read, or a sentence was made
    octavo::cli::put_error("octavo: memory must be available; got none\n");
    return octavo::cli::kMissingResource;
  }
}
