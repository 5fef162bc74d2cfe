// SPDX-License-Identifier: Apache-2.0
// octavo evaluate QUANTISED --against FLOAT --text FILE: what quantising cost on a text, by the
// Python package.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "commands.hpp"
#include "hub.hpp"
#include "octavo/status.hpp"
#include "options.hpp"
#include "output.hpp"
#include "python_child.hpp"

namespace octavo::cli {
namespace {

struct EvaluateArguments {
  std::string quantised, against, text;
  std::int64_t length = 512;
  bool json = false;
};

/// Prints the packages that are missing; nothing is imported.
constexpr const char* kMissing = R"(
from importlib.util import find_spec
print(" ".join(name for name in ("octavo", "torch", "transformers") if find_spec(name) is None))
)";

void require_packages() {
  const PythonAnswer answer = ask_python({"-c", kMissing}, Errors::dropped);
  const std::string missing = printable(answer.output.substr(0, answer.output.find('\n')));
  if (answer.exit_code == 0 && missing.empty()) return;
  throw Error(Status(
      Code::unavailable,
      fmt::format("evaluate: there must be python3 with the package octavo[transformers] (pip "
                  "install 'octavo[transformers]'); got {}",
                  answer.exit_code == kNoPython ? "no python3"
                  : answer.exit_code == 0       ? "one without " + missing
                                                : "one that does not start")));
}

std::string absolute(const std::string& path) { return std::filesystem::absolute(path).string(); }

int run(const EvaluateArguments& arguments) {
  require_packages();
  std::vector<std::string> words{"-m",
                                 "octavo.evaluate",
                                 absolute(find_model("evaluate", arguments.quantised)),
                                 "--against",
                                 absolute(find_model("evaluate", arguments.against)),
                                 "--text",
                                 absolute(arguments.text),
                                 "--length",
                                 fmt::format("{}", arguments.length)};
  if (arguments.json) words.insert(words.end(), {"--json", "-"});
  const int exit_code = run_python(std::move(words), {}, Errors::shown);
  if (exit_code == 0) return kGood;
  throw Error(Status(Code::invalid_argument,
                     fmt::format("evaluate: python3 must evaluate '{}' by what is said above; got "
                                 "its exit code {}",
                                 printable(arguments.quantised), exit_code)));
}

}  // namespace

CommandBody add_evaluate(CLI::App& command) {
  const auto arguments = std::make_shared<EvaluateArguments>();
  add_model(command, "QUANTISED", arguments->quantised, "The quantised model")->required();
  add_model(command, "--against", arguments->against, "The float model that it was made of")
      ->required()
      ->group(heading::kWork);
  command.add_option("--text", arguments->text, "A file of UTF-8 text")
      ->type_name("FILE")
      ->required()
      ->group(heading::kWork);
  command.add_option("--length", arguments->length, "Tokens at a time")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30))
      ->group(heading::kWork);
  add_json(command, arguments->json, "Print one JSON object");
  command.footer(
      "Runs python3 -m octavo.evaluate; no code of the models runs. Perplexity, loss and KL "
      "against\nthe float model, and what each layer does to its outputs.\n"
      "Example: octavo evaluate Llama-3-8B-int8 --against Llama-3-8B --text book.txt");
  return [arguments] { return run(*arguments); };
}

}  // namespace octavo::cli
