// SPDX-License-Identifier: Apache-2.0
// octavo inspect PATH: tensors, quantised layers, metadata and totals of a file or folder.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "hub.hpp"
#include "octavo/checkpoint.hpp"
#include "octavo/checkpoint/unapplied.hpp"
#include "options.hpp"
#include "output.hpp"

namespace octavo::cli {
namespace {

struct InspectArguments {
  std::string file;
  bool json = false;
};

/// A quantised layer in words.
struct LayerText {
  std::string name, scheme, dtype, granularity, shape;
  std::int64_t scales = 0;
  std::string reason{};  ///< why it is not read
};

LayerText read(const Checkpoint& file, const std::string& layer) {
  const Weight weight = file.weight(layer);
  return {.name = layer,
          .scheme = weight.scheme,
          .dtype = std::string(name(weight.codes.data.dtype())),
          .granularity = grid_text(weight.codes.grid),
          .shape = shape_string(weight.codes.data),
          .scales = weight.codes.scale.numel()};
}

/// A layer of other codes is listed; one that is not whole ends the command.
LayerText describe(const Checkpoint& file, const std::string& layer) {
  try {
    return read(file, layer);
  } catch (const Error& error) {
    const bool matrix = error.code() != Code::invalid_argument;  // else a convolution
    if (matrix && error.code() != Code::unsupported) throw;
    return {.name = layer,
            .scheme = matrix ? "not read" : "no matrix",
            .dtype = "",
            .granularity = "",
            .shape = "",
            .reason = error.what()};
  }
}

/// The places that say how it is quantised, the one that counts first.
std::vector<std::string> declared_in(const Checkpoint& file) {
  std::vector<std::string> places;
  for (const Declaration& declaration : file.declarations()) places.push_back(declaration.where);
  return places;
}

/// Rules that nothing applies, and what is not there.
std::vector<std::string> warnings_of(const Checkpoint& file) {
  std::vector<std::string> warnings = missing_parts(file);
  for (std::string& finding : index_findings(file)) warnings.push_back(std::move(finding));
  for (std::string& rule : unapplied_rules(file)) warnings.push_back(std::move(rule));
  return warnings;
}

void inspect_json(const InspectArguments& arguments, const Checkpoint& file) {
  for (const TensorEntry& e : file.entries()) {
    print_json({{"type", "tensor"},
                {"name", e.name},
                {"dtype", e.dtype},
                {"shape", e.shape},
                {"file", file.files()[e.file].name},
                {"begin", e.begin},
                {"bytes", e.end - e.begin}});
  }
  const auto layers = file.quantized_layers();
  for (const std::string& layer : layers) {
    const LayerText text = describe(file, layer);
    if (!text.reason.empty()) {
      print_json({{"type", "layer"},
                  {"name", text.name},
                  {"scheme", text.scheme},
                  {"reason", text.reason}});
      continue;
    }
    print_json({{"type", "layer"},
                {"name", text.name},
                {"scheme", text.scheme},
                {"dtype", text.dtype},
                {"granularity", text.granularity},
                {"scales", text.scales}});
  }
  print_json({{"type", "file"},
              {"path", arguments.file},
              {"bytes", file.file_bytes()},
              {"tensors", file.entries().size()},
              {"quantized_layers", layers.size()},
              {"files", file.files().size()},
              {"declared_in", declared_in(file)},
              {"warnings", warnings_of(file)},
              {"metadata", file.metadata()}});
}

void print_tensors(const Checkpoint& file) {
  Table table({{"tensor"}, {"dtype"}, {"shape"}, {"bytes", true}});
  for (const TensorEntry& e : file.entries()) {
    table.add(
        {printable(e.name), e.dtype, shape_text(e.shape), fmt::format("{}", e.end - e.begin)});
  }
  if (!table.empty()) table.print();
}

void print_layers(const Checkpoint& file, const std::vector<std::string>& layers) {
  Table table({{"quantised layer"}, {"scheme"}, {"codes"}, {"granularity"}, {"[N, K]"}});
  std::vector<LayerText> not_read;
  for (const std::string& layer : layers) {
    LayerText text = describe(file, layer);
    table.add({printable(text.name), text.scheme, text.dtype, text.granularity, text.shape});
    if (!text.reason.empty()) not_read.push_back(std::move(text));
  }
  if (table.empty()) return;
  fmt::print("\n");
  table.print();
  if (not_read.empty()) return;
  fmt::print("\nnot read as a matrix of 8 bits: {} (the first: {}: {})\n",
             count_text(std::ssize(not_read), "quantised layer"), printable(not_read[0].name),
             printable(not_read[0].reason));
}

void inspect(const InspectArguments& arguments, const Checkpoint& file) {
  print_tensors(file);
  const auto layers = file.quantized_layers();
  print_layers(file, layers);
  if (!file.metadata().empty()) fmt::print("\nmetadata\n");
  for (const auto& [key, value] : file.metadata()) {
    fmt::print("  {}: {}\n", printable(key), printable(value));
  }
  for (const std::string& place : declared_in(file)) {
    fmt::print("\nquantisation declared in {}\n", printable(place));
  }
  fmt::print("\n{}: {}, {}, {}, {}\n", printable(arguments.file), size_text(file.file_bytes()),
             count_text(std::ssize(file.files()), "file"),
             count_text(std::ssize(file.entries()), "tensor"),
             count_text(std::ssize(layers), "quantised layer"));
}

}  // namespace

CommandBody add_inspect(CLI::App& command) {
  const auto arguments = std::make_shared<InspectArguments>();
  add_model(command, "PATH", arguments->file)->required();
  add_json(command, arguments->json,
           "Print one JSON object per tensor, per quantised layer and for the file");
  command.footer("A quantised layer that is not whole ends with exit code 3 and says which it is.");
  return [arguments] {
    const Checkpoint file = open_checkpoint(find_model("inspect", arguments->file));
    for (const std::string& warning : warnings_of(file)) warn("inspect: " + warning);
    arguments->json ? inspect_json(*arguments, file) : inspect(*arguments, file);
    return static_cast<int>(kGood);
  };
}

}  // namespace octavo::cli
