// SPDX-License-Identifier: Apache-2.0
// The command line: look words up by meaning, evaluate quantised models, or show token ids.
#include <CLI/CLI.hpp>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>

#include "commands.hpp"
#include "errors.hpp"
#include "octavo/status.hpp"
#include "ranks.hpp"

namespace reverse_dictionary {
namespace {

constexpr int kUsage = 2;
constexpr int kBadInput = 3;
constexpr int kMissingResource = 4;
constexpr int kFault = 1;

int exit_code(octavo::Code code) {
  if (code == octavo::Code::unavailable || code == octavo::Code::io) return kMissingResource;
  return code == octavo::Code::out_of_memory || code == octavo::Code::internal ? kFault : kBadInput;
}

void add_sources(CLI::App& command, Sources& sources) {
  command.add_option(
      "--vocab", sources.vocabulary,
      "vocabulary (default: vocab.txt beside the model); config.json lies beside it");
  command.add_option("--wordnet", sources.wordnet, "directory of WordNet's data files")
      ->capture_default_str();
}

int run(int argc, char** argv) {
  CLI::App app("Finds words by their meaning, with a sentence encoder on Octavo's linear layers.");
  app.name("reverse_dictionary");
  LookUpOptions look_up;
  std::vector<std::string> queries;
  app.add_option("query", queries, "descriptions of the words looked for");
  app.add_option("--model", look_up.model,
                 "safetensors file, or directory with model.safetensors (default: "
                 "$OCTAVO_MINILM_DIR, else build/demo)");
  add_sources(app, look_up.sources);
  app.add_option("--top", look_up.top, "words to print")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--cache", look_up.cache,
                 "file of the glosses' embeddings (default: beside the model)");
  app.add_flag("--no-cache", look_up.no_cache, "neither read nor write that file");

  EvaluateCommand evaluate;
  CLI::App* evaluating = app.add_subcommand("evaluate", "compare quantised models with float32");
  evaluating->add_option("--models", evaluate.models, "SCHEME=FILE, float32 first")->required();
  add_sources(*evaluating, evaluate.sources);
  evaluating->add_option("--queries", evaluate.queries, "lines of word, tab, definition")
      ->required();
  evaluating->add_option("--examples", evaluate.examples,
                         "the same; each definition is answered by every model");
  evaluating->add_option("--json", evaluate.json, "file for the results");
  evaluating->add_option("--glosses", evaluate.glosses, "glosses to search in, at least")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  evaluating->add_flag("--all", evaluate.all, "search in every gloss");
  bool ranks = false;
  evaluating->add_flag("--on-ranks", ranks,
                       "the processes that mpiexec started share the quantised models");

  std::filesystem::path token_vocabulary;
  CLI::App* tokenizing = app.add_subcommand("tokenize", "print the token ids of stdin's lines");
  tokenizing->group("");  // for the tests
  tokenizing->add_option("--vocab", token_vocabulary, "vocabulary (default: that of the model)");

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
  if (app.get_subcommands().empty() && queries.empty()) {
    throw UsageError("needs a query or a subcommand; see --help");
  }
  if (evaluating->parsed()) {
    if (!ranks) {
      run_evaluate(evaluate, std::cout);
    } else {
      on_ranks([&](const Ranks& all) {
        evaluate.ranks = all;
        run_evaluate(evaluate, std::cout);
      });
    }
  } else if (tokenizing->parsed()) {
    run_tokenize(token_vocabulary, std::cin, std::cout);
  } else {
    run_look_up(look_up, queries, std::cout);
  }
  return 0;
}

int guarded(int argc, char** argv) {
  const auto fail = [](const std::exception& error, int code) {
    std::cerr << "reverse_dictionary: " << error.what() << "\n";
    return code;
  };
  try {
    return run(argc, argv);
  } catch (const UsageError& error) {
    return fail(error, kUsage);
  } catch (const BadInput& error) {
    return fail(error, kBadInput);
  } catch (const MissingResource& error) {
    return fail(error, kMissingResource);
  } catch (const octavo::Error& error) {
    return fail(error, exit_code(error.code()));
  } catch (const std::exception& error) {
    return fail(error, kFault);
  }
}

}  // namespace
}  // namespace reverse_dictionary

int main(int argc, char** argv) { return reverse_dictionary::guarded(argc, argv); }
