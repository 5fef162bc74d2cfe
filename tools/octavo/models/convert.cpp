// SPDX-License-Identifier: Apache-2.0
// octavo convert IN OUT --to FORMAT and octavo dequantize IN OUT: quantised layers in other terms.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <memory>
#include <string>

#include "commands.hpp"
#include "octavo/checkpoint.hpp"
#include "options.hpp"
#include "output.hpp"
#include "transfer.hpp"

namespace octavo::cli {
namespace {

struct ConvertArguments : TransferArguments {
  std::string format;
};
struct DequantizeArguments : TransferArguments {
  std::string dtype = "auto";
};

void print_summary(const TransferArguments& arguments, std::string_view what,
                   const QuantizeReport& report) {
  if (arguments.json) {
    print_json({{"type", "summary"},
                {"in", arguments.in},
                {"out", arguments.out},
                {"to", what},
                {"tensors_copied", report.tensors_copied},
                {"file_bytes_before", report.file_bytes_before},
                {"file_bytes_after", report.file_bytes_after},
                {"warnings", report.warnings}});
  } else if (!arguments.quiet) {
    fmt::print("{}: {}, {} -> {}\n", printable(arguments.out), what,
               size_text(report.file_bytes_before), size_text(report.file_bytes_after));
  }
}

int convert(const ConvertArguments& arguments) {
  check_files("convert", arguments);
  ConvertFileOptions options{.format = *format_from_name(arguments.format)};
  Transfer transfer("convert", arguments);
  transfer.watch(options, arguments);
  QuantizeReport report = convert_file(transfer.in(), transfer.out(), options);
  transfer.end(report);
  print_summary(arguments, arguments.format, report);
  return kGood;
}

int dequantize_to(const DequantizeArguments& arguments) {
  check_files("dequantize", arguments);
  DequantizeFileOptions options;
  if (arguments.dtype != "auto") options.dtype = dtype_from_name(arguments.dtype);
  Transfer transfer("dequantize", arguments);
  transfer.watch(options, arguments);
  QuantizeReport report = dequantize_file(transfer.in(), transfer.out(), options);
  transfer.end(report);
  print_summary(arguments, "float weights", report);
  return kGood;
}

}  // namespace

CommandBody add_convert(CLI::App& command) {
  const auto arguments = std::make_shared<ConvertArguments>();
  add_transfer_options(command, *arguments);
  command
      .add_option("--to", arguments->format,
                  "The format: fp8 is vLLM's, fp8-block that of transformers and DeepSeek")
      ->required()
      ->check(CLI::IsMember({"compressed-tensors", "fp8", "fp8-block", "bitsandbytes"}))
      ->group(heading::kScheme);
  command.footer(
      "IN may be of any dialect. Codes and scales that the format can say stay as they are, bit "
      "for\nbit; a warning says of how many layers something is lost, and what.\n"
      "Example: octavo convert model-bnb model-ct --to compressed-tensors");
  return [arguments] { return convert(*arguments); };
}

CommandBody add_dequantize(CLI::App& command) {
  const auto arguments = std::make_shared<DequantizeArguments>();
  add_transfer_options(command, *arguments);
  command
      .add_option("--dtype", arguments->dtype,
                  "The type of the weights; auto: what config.json says, else bfloat16")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16"}))
      ->group(heading::kScheme);
  command.footer("Example: octavo dequantize model-fp8 model-bf16");
  return [arguments] { return dequantize_to(*arguments); };
}

}  // namespace octavo::cli
