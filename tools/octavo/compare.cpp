// SPDX-License-Identifier: Apache-2.0
// octavo compare A B: how far apart two models' weights are, whatever form each is in.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "commands.hpp"
#include "octavo/checkpoint.hpp"
#include "octavo/linear_layers.hpp"
#include "output.hpp"

namespace octavo::cli {
namespace {

constexpr std::size_t kShown = 10;

struct CompareArguments {
  std::string a, b;
  double least_db = -std::numeric_limits<double>::infinity();
  bool json = false;
};

/// How far B's tensor is from A's.
struct ComparedRow {
  std::string name;
  std::string shape;
  double cosine = 1, sqnr_db = 0, max_error = 0;
};

/// The values of a tensor by its name in a float model: a layer's weight is dequantised, stacked
/// experts are layers, and a Conv1D's weight [K, N] is read as [N, K], as quantised ones are.
class Values {
 public:
  explicit Values(const Checkpoint& model) : model_(model) {
    for (std::string& layer : model.quantized_layers()) layers_.insert(std::move(layer));
    for (const std::string& stack : model.quantized_experts()) stacks_.insert(stack);
    for (LinearLayer& layer : linear_layers(model)) {
      const bool own = layer.tensor == layer.name + ".weight";
      if (own && layer.at.row_step == layer.at.k) continue;
      if (!own) stacks_.insert(layer.tensor);
      matrices_.emplace(layer.name, std::move(layer));
    }
  }
  /// The names that both kinds of models have: weights of layers, and all float tensors.
  std::set<std::string> names() const {
    std::set<std::string> all;
    for (const std::string& layer : layers_) all.insert(layer + ".weight");
    for (const auto& [name, layer] : matrices_) all.insert(name + ".weight");
    for (const TensorEntry& entry : model_.entries()) {
      const bool is_float = entry.dtype == "F32" || entry.dtype == "BF16" || entry.dtype == "F16";
      if (is_float && !is_part(entry.name)) all.insert(entry.name);
    }
    return all;
  }
  Tensor get(const std::string& name) const {
    const std::string layer = name.substr(0, name.rfind('.'));
    if (const auto found = matrices_.find(layer);
        found != matrices_.end() && name.ends_with(".weight")) {
      return copy(float_weight(model_, found->second), DType::float32);
    }
    if (!layers_.contains(layer) || !name.ends_with(".weight"))
      return copy(model_.tensor(name), DType::float32);
    return float_values(model_.weight(layer));
  }

 private:
  bool is_part(const std::string& name) const {
    if (std::ranges::any_of(stacks_, [&](const std::string& stack) {
          return name == stack || (name.starts_with(stack + "_") && !name.ends_with("_bias"));
        })) {
      return true;
    }
    const std::size_t dot = name.rfind('.');
    return dot != std::string::npos && layers_.contains(name.substr(0, dot)) &&
           name.substr(dot + 1) != "bias";
  }

  const Checkpoint& model_;
  std::set<std::string> layers_;
  std::map<std::string, LinearLayer> matrices_;  ///< float layers that are no tensor as it lies
  std::set<std::string> stacks_;
};

ComparedRow row_of(const std::string& name, const Tensor& a, const Tensor& b) {
  ComparedRow row{.name = name, .shape = shape_string(a)};
  double aa = 0, bb = 0, ab = 0, noise = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const double x = static_cast<double>(a.data_as<float>()[i]);
    const double y = static_cast<double>(b.data_as<float>()[i]);
    aa += x * x;
    bb += y * y;
    ab += x * y;
    noise += (x - y) * (x - y);
    row.max_error = std::max(row.max_error, std::abs(x - y));
  }
  if (aa > 0 || bb > 0) row.cosine = ab / std::sqrt(aa * bb);
  row.sqnr_db = noise == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(aa / noise);
  return row;
}

class Comparison {
 public:
  explicit Comparison(const CompareArguments& arguments)
      : arguments_(arguments), a_(open_checkpoint(arguments.a)), b_(open_checkpoint(arguments.b)) {}

  int run() {
    const Values a(a_), b(b_);
    const std::set<std::string> in_a = a.names(), in_b = b.names();
    for (const std::string& name : in_a) {
      if (!in_b.contains(name)) {
        missing(name, arguments_.b);
        continue;
      }
      const Tensor x = a.get(name), y = b.get(name);
      if (shape_string(x) != shape_string(y)) {
        missing(name + " " + shape_string(x), arguments_.b);
        continue;
      }
      rows_.push_back(row_of(name, x, y));
    }
    for (const std::string& name : in_b) {
      if (!in_a.contains(name)) missing(name, arguments_.a);
    }
    std::ranges::stable_sort(rows_, {}, &ComparedRow::sqnr_db);
    arguments_.json ? print_lines() : print_table();
    const bool good = missing_ == 0 && std::ranges::all_of(rows_, [&](const ComparedRow& row) {
                        return row.sqnr_db >= arguments_.least_db;
                      });
    return good ? kGood : kCheckFailed;
  }

 private:
  void missing(const std::string& name, const std::string& model) {
    ++missing_;
    if (arguments_.json) {
      print_json({{"type", "missing"}, {"name", name}, {"model", model}});
    } else {
      fmt::print("{}: no such tensor in {}\n", printable(name), printable(model));
    }
  }
  void print_lines() const {
    for (const ComparedRow& row : rows_) {
      print_json({{"type", "tensor"},
                  {"name", row.name},
                  {"shape", row.shape},
                  {"cosine", row.cosine},
                  {"sqnr_db", row.sqnr_db},
                  {"max_error", row.max_error}});
    }
    print_json({{"type", "summary"},
                {"a", arguments_.a},
                {"b", arguments_.b},
                {"tensors", rows_.size()},
                {"missing", missing_},
                {"least_sqnr_db", rows_.empty() ? Json(nullptr) : Json(rows_[0].sqnr_db)}});
  }
  void print_table() const {
    const auto exact =
        std::ranges::count_if(rows_, [](const ComparedRow& row) { return row.max_error == 0; });
    fmt::print("{}, {} of them exact\n", count_text(std::ssize(rows_), "tensor"), exact);
    Table table({{"tensor"}, {"shape"}, {"cosine", true}, {"SQNR dB", true}, {"max error", true}});
    for (std::size_t i = 0; i < std::min(kShown, rows_.size()); ++i) {
      const ComparedRow& row = rows_[i];
      if (row.max_error == 0 && !std::isnan(row.sqnr_db)) break;
      table.add({printable(row.name), row.shape, fmt::format("{:.6f}", row.cosine),
                 db_text(row.sqnr_db), fmt::format("{:.3g}", row.max_error)});
    }
    if (!table.empty()) table.print();
  }

  const CompareArguments& arguments_;
  Checkpoint a_, b_;
  std::vector<ComparedRow> rows_;
  std::int64_t missing_ = 0;
};

}  // namespace

Run add_compare(CLI::App& command) {
  const auto arguments = std::make_shared<CompareArguments>();
  command.add_option("A", arguments->a, "A file or folder, the one that counts as right")
      ->required();
  command.add_option("B", arguments->b, "A file or folder")->required();
  command.add_option("--least-sqnr", arguments->least_db,
                     "End with exit code 1 where a tensor's SQNR is below this, in dB");
  command.add_flag("--json", arguments->json, "Print one JSON object per tensor and a summary");
  command.footer(
      "Quantised layers are compared by the values that they stand for. Exit code 1, too, where a "
      "tensor is in one of them only.\n"
      "Example: octavo compare model model-fp8 --least-sqnr 25");
  return [arguments] { return Comparison(*arguments).run(); };
}

}  // namespace octavo::cli
