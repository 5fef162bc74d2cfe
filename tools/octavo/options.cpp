// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <utility>

namespace octavo::cli {
namespace {

constexpr std::size_t kIndent = 30;  // where descriptions begin
constexpr std::size_t kWidth = 100;  // where they end

/// "left" in a column of its own, and the text beside it, broken between words.
std::string beside(const std::string& left, const std::string& text) {
  std::string line = "  " + left;
  line += line.size() + 2 > kIndent ? "\n" + std::string(kIndent, ' ')
                                    : std::string(kIndent - line.size(), ' ');
  std::size_t column = kIndent;
  std::istringstream words(text);
  for (std::string word; words >> word; column += word.size() + 1) {
    if (column > kIndent && column + word.size() > kWidth) {
      line.back() = '\n';
      line += std::string(kIndent, ' ');
      column = kIndent;
    }
    line += word + " ";
  }
  line.back() = '\n';
  return line;
}

/// What stands behind an option's name: a word for its value, the values that it may have, its
/// default.
std::string value_of(const CLI::Option& option) {
  if (!option.get_option_text().empty()) return option.get_option_text();
  if (option.get_type_size() == 0 || option.get_items_expected_max() == 0) return {};
  const std::string type = option.get_type_name();  // "TEXT:{a,b}", "N:INT in [0 - 9]"
  const std::size_t values = type.find('{');
  std::string text =
      " " + (values == std::string::npos ? type.substr(0, type.find(':')) : type.substr(values));
  const std::string& by_default = option.get_default_str();
  if (!by_default.empty() && by_default != "[]") text += " [" + by_default + "]";
  return option.get_required() ? text + " (required)" : text;
}

/// "-t,--threads N [0]"
std::string option_line(const CLI::Option& option) {
  const std::string name = option.get_name(false, true);
  return beside(name.substr(0, name.find('{')) + value_of(option), option.get_description());
}

/// CLI11's help, with options under headings in their order.
class HelpForm : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    const std::string footer = app->get_footer();
    return app->get_description() + "\n" + make_usage(app, std::move(name)) + arguments(*app) +
           make_subcommands(app, mode) + options(*app) +
           (footer.empty() ? "" : "\n" + footer + "\n");
  }

 private:
  static std::string arguments(const CLI::App& app) {
    std::string text;
    for (const CLI::Option* option :
         app.get_options([](const CLI::Option* o) { return o->get_positional(); })) {
      text += beside(option->get_name(true, false), option->get_description());
    }
    return text.empty() ? text : "\nArguments:\n" + text;
  }

  static std::string options(const CLI::App& app) {
    std::string text;
    for (const char* title : heading::kAll) {
      std::string lines;
      for (const CLI::Option* option : app.get_options([&](const CLI::Option* o) {
             return o->get_group() == title && o->nonpositional();
           })) {
        lines += option_line(*option);
      }
      if (!lines.empty()) text += std::string("\n") + title + ":\n" + lines;
    }
    return text;
  }
};

}  // namespace

void set_help_form(CLI::App& app) {
  app.formatter(std::make_shared<HelpForm>());
  app.get_formatter()->column_width(kIndent);
  app.option_defaults()->always_capture_default();
  app.get_help_ptr()->group(heading::kOutput);
}

void add_json(CLI::App& command, bool& json, const std::string& what) {
  command.add_flag("-j,--json", json, what)->group(heading::kOutput);
}

void add_quiet(CLI::App& command, bool& quiet, const std::string& what) {
  command.add_flag("-q,--quiet", quiet, what)->group(heading::kOutput);
}

void add_threads(CLI::App& command, int& threads, const std::string& what) {
  command.add_option("-t,--threads", threads, what + "; 0: all")
      ->type_name("N")
      ->check(CLI::Range(0, 4096))
      ->group(heading::kMachine);
}

void add_progress(CLI::App& command, std::string& mode) {
  command
      .add_option("--progress", mode,
                  "auto: a bar where standard error is a terminal; never; json: a line for each "
                  "step, on standard error")
      ->check(CLI::IsMember({"auto", "never", "json"}))
      ->group(heading::kOutput);
}

void add_overwrite(CLI::App& command, bool& overwrite, const std::string& what) {
  command.add_flag("--overwrite", overwrite, what)->group(heading::kOutput);
}

void add_verbose(CLI::App& app) {
  app.add_flag_callback(
         "-v,--verbose", [] { ::setenv("OCTAVO_VERBOSE", "dispatch", 1); },  // NOLINT: one thread
         "Say on standard error which backend and kernel each product goes to")
      ->group(heading::kOutput);
}

void add_help(CLI::App& command) {
  command.set_help_flag();  // its place is the last
  command.set_help_flag("-h,--help", "Print this help and exit")->group(heading::kOutput);
}

CLI::Option* add_model(CLI::App& command, const std::string& name, std::string& model,
                       const std::string& what) {
  const std::string kinds =
      "a safetensors file, its index, a model's folder, or its name on the Hugging Face Hub";
  const std::string text = what.empty() ? "A" + kinds.substr(1) : what + ": " + kinds;
  return command.add_option(name, model, text)->type_name("MODEL");
}

void use_threads(int threads) {
  // The default executor reads the variable when it is first used.
  if (threads > 0) ::setenv("OCTAVO_NUM_THREADS", std::to_string(threads).c_str(), 1);  // NOLINT
}

}  // namespace octavo::cli
