// SPDX-License-Identifier: Apache-2.0
// octavo quantize IN OUT --scheme NAME: quantises the linear layers of a file or folder.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "commands.hpp"
#include "hub.hpp"
#include "octavo/checkpoint.hpp"
#include "options.hpp"
#include "output.hpp"
#include "quantize_summary.hpp"
#include "scheme_facts.hpp"
#include "transfer.hpp"
#include "words.hpp"

namespace octavo::cli {
namespace {

constexpr const char* kOfTheFile = "file";  // --smoothquant without a value
constexpr const char* kAsLoaded = "as-loaded";
const std::map<std::string, Experts> kExperts{
    {kAsLoaded, Experts::as_loaded}, {"float", Experts::in_float}, {"separate", Experts::separate}};

struct QuantizeArguments : TransferArguments {
  std::string scheme{scheme_name(Scheme::int8_dynamic)};
  std::vector<std::string> ignore;
  std::string calibration;  ///< a file
  std::string smoothquant;  ///< empty: no; kOfTheFile; or an alpha
  bool gptq = false;
  std::optional<double> damp;
  bool static_scales = false;
  std::int32_t rotation = 0;
  std::optional<float> threshold;
  bool whole_columns = false;
  bool requantize = false;
  bool guess = false;
  std::string experts = kAsLoaded;
  bool head = false;
  bool dry_run = false;
};

std::string known_schemes() {
  std::string text;
  for (const Scheme scheme : kSchemes) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", scheme_name(scheme));
  }
  return text;
}

/// A line for each scheme, under a heading.
std::string scheme_lines() {
  std::string text = "Schemes (octavo schemes says what each costs):\n";
  for (const SchemeFacts& facts : kSchemeFacts) {
    text += fmt::format("  {:<28}{}; {}; {:.2f} bits; loaded by {}\n", scheme_name(facts.scheme),
                        facts.weight, facts.activations, 8.0 * facts.bytes_per_weight(4096, 4096),
                        facts.loaders);
  }
  return text + "\n";
}

std::string unknown_scheme(const std::string& name) {
  std::vector<std::string> known;
  for (const Scheme scheme : kSchemes) known.emplace_back(scheme_name(scheme));
  const std::string near = nearest(name, known);
  return fmt::format("must be one of {}; got {}{}", known_schemes(), printable(name),
                     near.empty() ? "" : fmt::format(": did you mean {}?", near));
}

int predict(const QuantizeArguments& arguments, QuantizeFileOptions options) {
  options.threads = arguments.threads;
  options.layout = arguments.layout;
  const QuantizeEstimate estimate =
      estimate_quantization(find_model("quantize", arguments.in), options);
  for (const std::string& warning : estimate.warnings) warn(warning);
  if (arguments.json) {
    print_json({{"type", "estimate"},
                {"in", arguments.in},
                {"scheme", arguments.scheme},
                {"layers", estimate.layers},
                {"file_bytes_before", estimate.bytes_before},
                {"file_bytes_after", estimate.bytes_after},
                {"memory_bytes", estimate.memory_bytes},
                {"seconds", estimate.seconds}});
  } else {
    fmt::print(
        "{} would be quantised as {}: {} -> {}, about {} of memory and {:.1f} s beside writing\n",
        count_text(estimate.layers, "layer"), scheme_name(options.scheme),
        size_text(estimate.bytes_before), size_text(estimate.bytes_after),
        size_text(estimate.memory_bytes), estimate.seconds);
  }
  return kGood;
}

/// The number behind --smoothquant=; nothing without one. The parser has checked it.
std::optional<double> alpha_of(const std::string& text) {
  if (text.empty() || text == kOfTheFile) return std::nullopt;
  return std::stod(text);
}

std::string check_alpha(const std::string& text) {
  double alpha = 0;
  if (text == kOfTheFile) return {};
  if (CLI::detail::lexical_cast(text, alpha) && alpha >= 0 && alpha <= 1) return {};
  return fmt::format("must be a number in 0..1; got {}", printable(text));
}

int run(const QuantizeArguments& arguments) {
  check_files("quantize", arguments);
  const Scheme scheme = *scheme_from_name(arguments.scheme);
  QuantizeFileOptions options{.scheme = scheme,
                              .ignore = arguments.ignore,
                              .guess = arguments.guess,
                              .experts = kExperts.at(arguments.experts),
                              .head = arguments.head,
                              .calibration = arguments.calibration,
                              .smoothquant = !arguments.smoothquant.empty(),
                              .smooth_alpha = alpha_of(arguments.smoothquant),
                              .gptq = arguments.gptq,
                              .damp = arguments.damp,
                              .static_scales = arguments.static_scales,
                              .rotation = arguments.rotation,
                              .outlier_threshold = arguments.threshold,
                              .whole_columns = arguments.whole_columns,
                              .requantize = arguments.requantize};
  if (arguments.dry_run) return predict(arguments, options);
  Transfer transfer("quantize", arguments);
  transfer.watch(options, arguments);
  QuantizeReport report = quantize_file(transfer.in(), transfer.out(), options);
  transfer.end(report);
  const bool blocks = transfer.out().ends_with(".gguf");
  const std::string_view made = blocks ? "Q8_0" : scheme_name(scheme);
  if (arguments.json) {
    print_summary_json(arguments, made, report);
  } else if (!arguments.quiet) {
    print_summary(arguments, made, report);
  }
  return kGood;
}

void add_layer_options(CLI::App& command, QuantizeArguments& arguments) {
  command
      .add_option("--ignore", arguments.ignore,
                  "A layer to leave alone: its name, or re:EXPRESSION, matched at the start of the "
                  "name; may be given again")
      ->type_name("LAYER")
      ->take_all()
      ->expected(1)
      ->group(heading::kLayers);
  command
      .add_option("--experts", arguments.experts,
                  "Experts that the model's class keeps in one tensor, of which transformers loads "
                  "no 8-bit form: float (they stay), separate (a layer each: Octavo and vLLM load "
                  "the folder) or as-loaded (they are refused)")
      ->check(CLI::IsMember(kExperts))
      ->group(heading::kLayers);
  command
      .add_flag("--head", arguments.head,
                "Quantise the output head, too; one that shares the embeddings' weight becomes a "
                "tensor of its own (not fp8-block, llm-int8)")
      ->group(heading::kLayers);
  command
      .add_flag("--guess", arguments.guess,
                "Take tensors of a model whose class is not known by their names, where these "
                "leave open whether they are linear layers")
      ->group(heading::kLayers);
  command
      .add_flag("--requantize", arguments.requantize,
                "Quantise layers that are quantised already by the values that they stand for")
      ->group(heading::kLayers);
}

void add_scheme_options(CLI::App& command, QuantizeArguments& arguments) {
  command
      .add_option("--scheme", arguments.scheme,
                  "One of those below; FP8_DYNAMIC, FP8_BLOCK and W8A8 are understood, too")
      ->type_name("NAME")
      ->check([](const std::string& name) {
        return scheme_from_name(name) ? std::string() : unknown_scheme(name);
      })
      ->group(heading::kScheme);
  command
      .add_option("--calibration", arguments.calibration,
                  "What octavo.torch.calibrate saved: outlier columns of llm-int8, and what "
                  "--smoothquant, --gptq and --static need")
      ->type_name("FILE")
      ->group(heading::kScheme);
  command
      .add_flag(fmt::format("--smoothquant{{{}}}", kOfTheFile), arguments.smoothquant,
                "Divide norms by the calibration's factors and multiply the weights behind them; "
                "ALPHA (0..1) makes the factors anew")
      ->option_text("[=ALPHA]")
      ->check(check_alpha)
      ->group(heading::kScheme);
  command
      .add_flag("--gptq", arguments.gptq,
                "int8: codes by GPTQ from the calibration's Hessians (needs LAPACK)")
      ->group(heading::kScheme);
  command
      .add_option("--damp", arguments.damp,
                  "GPTQ: added to a Hessian's diagonal, in units of its mean")
      ->type_name("D")
      ->default_str("0.01")
      ->group(heading::kScheme);
  command
      .add_flag("--static", arguments.static_scales,
                "int8-dynamic, fp8-dynamic: one static scale for a layer's activations")
      ->group(heading::kScheme);
  command
      .add_option("--rotate", arguments.rotation,
                  "int8-dynamic, a single file: rotate layers in blocks of so many columns, 16, 64 "
                  "or 256, as ComfyUI's files (convrot) are")
      ->type_name("BLOCK")
      ->group(heading::kScheme);
  command
      .add_option("--threshold", arguments.threshold,
                  "llm-int8: columns with an element of that magnitude stay in float; 0: only "
                  "those of the calibration")
      ->type_name("T")
      ->default_str("6")
      ->group(heading::kScheme);
  command
      .add_flag("--whole-columns", arguments.whole_columns,
                "llm-int8: all of an outlier column stays out of the statistics of rows")
      ->group(heading::kScheme);
}

}  // namespace

CommandBody add_quantize(CLI::App& command) {
  const auto arguments = std::make_shared<QuantizeArguments>();
  add_transfer_options(command, *arguments);
  add_layer_options(command, *arguments);
  add_scheme_options(command, *arguments);
  command
      .add_flag("--dry-run", arguments->dry_run,
                "Write nothing: say how large the output would be, and what it would take")
      ->group(heading::kOutput);
  command.footer(
      scheme_lines() +
      "Embeddings, norms, routers of experts and, without --head, output heads are left alone: by "
      "the\n"
      "model's class where transformers has it, else by names, and a line says so.\n"
      "An OUT that ends in .gguf is a file of llama.cpp's, in blocks of type Q8_0.\n"
      "Example: octavo quantize Llama-3-8B Llama-3-8B-fp8 --scheme fp8-dynamic --ignore "
      "'re:.*down_proj$'");
  return [arguments] { return run(*arguments); };
}

}  // namespace octavo::cli
