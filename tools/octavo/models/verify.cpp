// SPDX-License-Identifier: Apache-2.0
// octavo verify DIR: is every tensor there, finite, and every quantised layer whole?
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <complex>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "commands.hpp"
#include "hub.hpp"
#include "octavo/checkpoint.hpp"
#include "octavo/checkpoint/linear_layers.hpp"
#include "options.hpp"
#include "output.hpp"
#include "stored_types.hpp"

namespace octavo::cli {
namespace {

struct VerifyArguments {
  std::string path;
  bool json = false;
};

/// The first element that is NaN or infinite: "NaN at [1, 2]"; empty: all are finite.
std::string not_finite(const TensorView& tensor) {
  constexpr std::int64_t kRowsAtOnce = 256;
  if (tensor.numel() == 0) return {};
  const std::int64_t columns =
      tensor.rank == 0 ? 1 : tensor.shape[static_cast<std::size_t>(tensor.rank - 1)];
  const TensorView rows(tensor.data, tensor.dtype, {tensor.numel() / columns, columns});
  for (std::int64_t first = 0; first < rows.shape[0]; first += kRowsAtOnce) {
    const std::int64_t end = std::min(first + kRowsAtOnce, rows.shape[0]);
    std::string place;
    with_elements(rows.slice(0, first, end), [&](const auto& values) {
      const auto bad = std::ranges::find_if(values, [](auto v) { return !std::isfinite(v); });
      if (bad == values.end()) return;
      const std::int64_t i = bad - values.begin();
      place = fmt::format("{} in row {}, column {}", std::isnan(*bad) ? "NaN" : "infinity",
                          first + i / columns, i % columns);
    });
    if (!place.empty()) return place;
  }
  return {};
}

/// The same of a tensor of a model that is no layer's; "" where its type has no such elements.
std::string not_finite(const Checkpoint& model, const TensorEntry& entry) {
  if (is_float_type(entry.dtype)) return not_finite(model.tensor(entry.name));
  if (entry.dtype != "C64") return {};
  const std::vector<std::byte> pairs = model.bytes(entry.name);
  const auto count = static_cast<std::int64_t>(pairs.size() / sizeof(std::complex<float>));
  const Tensor parts = Tensor::empty(DType::float32, {count, 2});
  std::ranges::copy(pairs, parts.data_as<std::byte>());
  return not_finite(parts);
}

class Verifier {
 public:
  explicit Verifier(const VerifyArguments& arguments) : arguments_(arguments) {}

  int run() {
    const Checkpoint model = open_checkpoint(find_model("verify", arguments_.path));
    const std::vector<std::string> layers = model.quantized_layers();
    for (const std::string& missing : missing_parts(model)) found(arguments_.path, missing);
    for (const std::string& finding : index_findings(model)) found(arguments_.path, finding);
    for (const TensorEntry& entry : plain_tensors(model)) {
      report(entry.name, [&] { return not_finite(model, entry); });
    }
    for (const std::string& layer : layers) {
      report(layer, [&] { return layer_problem(model.weight(layer)); });
    }
    if (layers.empty() && !model.declarations().empty()) {
      found(model.declarations()[0].where,
            "declares a quantisation, but no layer's codes and scales are there");
    }
    summary(model, layers.size());
    return problems_ == 0 ? kGood : kCheckFailed;
  }

 private:
  static std::string layer_problem(const Weight& weight) {
    if (const std::string scale = not_finite(weight.codes.scale); !scale.empty()) {
      return "a scale is " + scale;
    }
    const bool fp8 = weight.codes.data.dtype() != DType::int8;
    const std::string code = fp8 ? not_finite(weight.codes.data) : std::string();
    return code.empty() ? code : "a code is " + code;
  }

  template <class Look>
  void report(const std::string& name, const Look& look) {
    std::string problem;
    try {
      problem = look();
    } catch (const Error& error) {
      problem = error.what();
    }
    if (!problem.empty()) found(name, problem);
  }

  void found(const std::string& name, const std::string& problem) {
    ++problems_;
    if (arguments_.json) {
      print_json({{"type", "problem"}, {"name", name}, {"problem", problem}});
    } else {
      fmt::print("{}: {}\n", printable(name), printable(problem));
    }
  }

  void summary(const Checkpoint& model, std::size_t layers) const {
    if (arguments_.json) {
      print_json({{"type", "summary"},
                  {"path", arguments_.path},
                  {"files", model.files().size()},
                  {"tensors", model.entries().size()},
                  {"quantized_layers", layers},
                  {"problems", problems_}});
      return;
    }
    fmt::print("{}: {}, {}, {}: {}\n", printable(arguments_.path),
               count_text(std::ssize(model.files()), "file"),
               count_text(std::ssize(model.entries()), "tensor"),
               count_text(static_cast<std::int64_t>(layers), "quantised layer"),
               problems_ == 0 ? "good" : count_text(problems_, "problem"));
  }

  const VerifyArguments& arguments_;
  std::int64_t problems_ = 0;
};

}  // namespace

CommandBody add_verify(CLI::App& command) {
  const auto arguments = std::make_shared<VerifyArguments>();
  add_model(command, "PATH", arguments->path)->required();
  add_json(command, arguments->json, "Print one JSON object per problem and a summary");
  command.footer(
      "Reads everything: the index against the files, what config.json declares against the "
      "tensors, every number. Exit code 1 where something is wrong.");
  return [arguments] { return Verifier(*arguments).run(); };
}

}  // namespace octavo::cli
