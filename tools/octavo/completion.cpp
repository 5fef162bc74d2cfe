// SPDX-License-Identifier: Apache-2.0
// octavo completion SHELL: a script made of the commands and options that there are.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "commands.hpp"
#include "topics.hpp"
#include "words.hpp"

namespace octavo::cli {
namespace {

/// What may follow `octavo help`.
std::vector<std::string> helped(const CLI::App& app) {
  std::vector<std::string> names = command_names(app);
  for (const Topic& topic : kTopics) names.emplace_back(topic.name);
  return names;
}

void bash(const CLI::App& app) {
  fmt::print(
      "_octavo() {{\n  local word=${{COMP_WORDS[COMP_CWORD]}} words\n"
      "  case ${{COMP_WORDS[1]}} in\n");
  for (const std::string& name : command_names(app)) {
    fmt::print("    {}) words='{}' ;;\n", name,
               fmt::join(option_names(*app.get_subcommand(name)), " "));
  }
  fmt::print(
      "    help) words='{}' ;;\n  esac\n  ((COMP_CWORD == 1)) && words='{} help'\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}}\n"
      "complete -o default -F _octavo octavo\n",
      fmt::join(helped(app), " "), fmt::join(command_names(app), " "));
}

void fish(const CLI::App& app) {
  for (const std::string& name : command_names(app)) {
    const CLI::App& command = *app.get_subcommand(name);
    fmt::print("complete -c octavo -n __fish_use_subcommand -a {} -d \"{}\"\n", name,
               command.get_description());
    for (const CLI::Option* option : command.get_options()) {
      const std::vector<std::string>& short_names = option->get_snames();
      const std::string letter = short_names.empty() ? "" : " -s " + short_names[0];
      for (const std::string& long_name : option->get_lnames()) {
        fmt::print("complete -c octavo -n '__fish_seen_subcommand_from {}' -l {}{}\n", name,
                   long_name, letter);
      }
    }
  }
  fmt::print("complete -c octavo -n __fish_use_subcommand -a help\n");
  fmt::print("complete -c octavo -n '__fish_seen_subcommand_from help' -a '{}'\n",
             fmt::join(helped(app), " "));
}

}  // namespace

CommandBody add_completion(CLI::App& command) {
  const auto shell = std::make_shared<std::string>();
  command.add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command.footer("Example: source <(octavo completion bash)");
  return [shell, app = command.get_parent()] {
    if (*shell == "zsh")
      fmt::print("#compdef octavo\nautoload -U +X bashcompinit && bashcompinit\n");
    *shell == "fish" ? fish(*app) : bash(*app);
    return static_cast<int>(kGood);
  };
}

}  // namespace octavo::cli
