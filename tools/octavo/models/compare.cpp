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
#include <type_traits>
#include <utility>
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
  /// Elements that are NaN or infinite in one of them and not the same in the other.
  std::int64_t not_finite = 0;

  bool exact() const noexcept { return max_error == 0 && not_finite == 0; }
};

/// The tensors of a model by their names in a float model: a layer's weight is dequantised, stacked
/// experts are layers, and a Conv1D's weight [K, N] is read as [N, K], as quantised ones are.
class Values {
 public:
  explicit Values(const Checkpoint& model) : model_(model) {
    for (std::string& layer : model.quantized_layers()) layers_.insert(std::move(layer));
    std::set<std::string> stacks;
    for (LinearLayer& layer : linear_layers(model)) {
      const bool own = layer.tensor == layer.name + ".weight";
      if (own && layer.at.row_step == layer.at.k) continue;
      if (!own) stacks.insert(layer.tensor);
      matrices_.emplace(layer.name, std::move(layer));
    }
    for (TensorEntry& entry : plain_tensors(model)) {
      if (!stacks.contains(entry.name)) plain_.emplace(entry.name, std::move(entry));
    }
  }
  std::set<std::string> names() const {
    std::set<std::string> all;
    for (const std::string& layer : layers_) all.insert(layer + ".weight");
    for (const auto& [name, layer] : matrices_) all.insert(name + ".weight");
    for (const auto& [name, entry] : plain_) all.insert(name);
    return all;
  }
  /// Whether a tensor's elements are real numbers; else they are bytes.
  bool is_float(const std::string& name) const {
    const auto found = plain_.find(name);
    return found == plain_.end() || is_float_type(found->second.dtype);
  }
  Tensor get(const std::string& name) const {
    const std::string layer = name.substr(0, name.rfind('.'));
    const bool weight = name.ends_with(".weight");
    const auto found = matrices_.find(layer);
    if (weight && found != matrices_.end()) return float_weight(model_, found->second);
    if (weight && layers_.contains(layer)) return float_values(model_.weight(layer));
    return model_.tensor(name);
  }
  /// A tensor that is no float, to be compared with another: its type, shape and bytes.
  std::string type_and_shape(const std::string& name) const {
    const auto found = plain_.find(name);
    if (found == plain_.end()) return "floats";
    return found->second.dtype + " " + shape_text(found->second.shape);
  }
  std::vector<std::byte> bytes(const std::string& name) const { return model_.bytes(name); }

 private:
  const Checkpoint& model_;
  std::set<std::string> layers_;
  std::map<std::string, LinearLayer> matrices_;  ///< float layers that are no tensor as it lies
  std::map<std::string, TensorEntry> plain_;     ///< others than weights of layers
};

/// Sums over the elements of two tensors, in long double where squares of theirs leave double.
template <class Sum>
struct Sums {
  Sum aa = 0, bb = 0, ab = 0, noise = 0;
  double max_error = 0;
  std::int64_t not_finite = 0;

  void add(double x, double y) {
    if (!std::isfinite(x) || !std::isfinite(y)) {
      not_finite += x == y || (std::isnan(x) && std::isnan(y)) ? 0 : 1;
      return;
    }
    const Sum a = x, b = y;
    aa += a * a;
    bb += b * b;
    ab += a * b;
    noise += (a - b) * (a - b);
    max_error = std::max(max_error, std::abs(x - y));
  }
};

ComparedRow row_of(const std::string& name, const Tensor& a, const Tensor& b) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  ComparedRow row{.name = name, .shape = shape_string(a)};
  const auto measure = [&](const auto& x, const auto& y) {
    constexpr bool wide = sizeof(x[0]) + sizeof(y[0]) > 2 * sizeof(float);
    Sums<std::conditional_t<wide, long double, double>> sums;
    for (std::size_t i = 0; i < x.size(); ++i) {
      sums.add(static_cast<double>(x[i]), static_cast<double>(y[i]));
    }
    row.max_error = sums.max_error;
    row.not_finite = sums.not_finite;
    if (sums.aa > 0 || sums.bb > 0) {
      row.cosine = static_cast<double>(sums.ab / (std::sqrt(sums.aa) * std::sqrt(sums.bb)));
    }
    row.sqnr_db =
        sums.noise == 0 ? kInfinity : static_cast<double>(10 * std::log10(sums.aa / sums.noise));
  };
  with_elements(a, [&](const auto& x) { with_elements(b, [&](const auto& y) { measure(x, y); }); });
  if (row.not_finite > 0) {
    row.cosine = std::numeric_limits<double>::quiet_NaN();
    row.sqnr_db = -kInfinity;
    row.max_error = kInfinity;
  }
  return row;
}

class Comparison {
 public:
  explicit Comparison(const CompareArguments& arguments)
      : arguments_(arguments),
        a_(open_checkpoint(find_model("compare", arguments.a))),
        b_(open_checkpoint(find_model("compare", arguments.b))) {}

  int run() {
    for (const Checkpoint* model : {&a_, &b_}) {
      for (const std::string& part : missing_parts(*model)) warn("compare: " + part);
    }
    const Values a(a_), b(b_);
    const std::set<std::string> in_a = a.names(), in_b = b.names();
    for (const std::string& name : in_a) {
      if (in_b.contains(name)) {
        compare(name, a, b);
      } else {
        missing(name, arguments_.b);
      }
    }
    for (const std::string& name : in_b) {
      if (!in_a.contains(name)) missing(name, arguments_.a);
    }
    std::ranges::stable_sort(rows_, {}, &ComparedRow::sqnr_db);
    arguments_.json ? print_lines() : print_table();
    const bool good =
        missing_ == 0 && different_ == 0 && std::ranges::all_of(rows_, [&](const ComparedRow& row) {
          return row.not_finite == 0 && row.sqnr_db >= arguments_.least_db;
        });
    return good ? kGood : kCheckFailed;
  }

 private:
  void compare(const std::string& name, const Values& a, const Values& b) {
    if (a.is_float(name) && b.is_float(name)) {
      const Tensor x = a.get(name), y = b.get(name);
      if (shape_string(x) == shape_string(y)) {
        rows_.push_back(row_of(name, x, y));
      } else {
        different(name, "shape " + shape_string(x), "shape " + shape_string(y));
      }
      return;
    }
    const std::string x = a.type_and_shape(name), y = b.type_and_shape(name);
    if (x != y) return different(name, x, y);
    if (a.bytes(name) != b.bytes(name)) different(name, x, "other values");
  }
  void missing(const std::string& name, const std::string& model) {
    ++missing_;
    if (arguments_.json) {
      print_json({{"type", "missing"}, {"name", name}, {"model", model}});
    } else {
      fmt::print("{}: no such tensor in {}\n", printable(name), printable(model));
    }
  }
  void different(const std::string& name, const std::string& a, const std::string& b) {
    ++different_;
    if (arguments_.json) {
      print_json({{"type", "different"}, {"name", name}, {"a", a}, {"b", b}});
    } else {
      fmt::print("{}: {} in {}, {} in {}\n", printable(name), a, printable(arguments_.a), b,
                 printable(arguments_.b));
    }
  }
  void print_lines() const {
    for (const ComparedRow& row : rows_) {
      print_json({{"type", "tensor"},
                  {"name", row.name},
                  {"shape", row.shape},
                  {"cosine", row.cosine},
                  {"sqnr_db", row.sqnr_db},
                  {"max_error", row.max_error},
                  {"not_finite", row.not_finite}});
    }
    print_json({{"type", "summary"},
                {"a", arguments_.a},
                {"b", arguments_.b},
                {"tensors", rows_.size()},
                {"missing", missing_},
                {"different", different_},
                {"not_finite", not_finite()},
                {"least_sqnr_db", rows_.empty() ? Json(nullptr) : Json(rows_[0].sqnr_db)}});
  }
  /// How many tensors have such elements.
  std::int64_t not_finite() const {
    return std::ranges::count_if(rows_, [](const ComparedRow& row) { return row.not_finite > 0; });
  }
  void print_table() const {
    const auto exact = std::ranges::count_if(rows_, &ComparedRow::exact);
    fmt::print("{}, {} of them exact", count_text(std::ssize(rows_), "tensor"), exact);
    if (not_finite() > 0) fmt::print(", {} with NaN or infinity in one model", not_finite());
    fmt::print("\n");
    Table table({{"tensor"}, {"shape"}, {"cosine", true}, {"SQNR dB", true}, {"max error", true}});
    for (std::size_t i = 0; i < std::min(kShown, rows_.size()); ++i) {
      const ComparedRow& row = rows_[i];
      if (row.exact()) break;
      table.add({printable(row.name), row.shape, fmt::format("{:.6f}", row.cosine),
                 db_text(row.sqnr_db), fmt::format("{:.3g}", row.max_error)});
    }
    if (!table.empty()) table.print();
  }

  const CompareArguments& arguments_;
  Checkpoint a_, b_;
  std::vector<ComparedRow> rows_;
  std::int64_t missing_ = 0, different_ = 0;
};

}  // namespace

CommandBody add_compare(CLI::App& command) {
  const auto arguments = std::make_shared<CompareArguments>();
  add_model(command, "A", arguments->a, "The model that counts as right")->required();
  add_model(command, "B", arguments->b, "The other")->required();
  command
      .add_option("--least-sqnr", arguments->least_db,
                  "End with exit code 1 where a tensor's SQNR is below this, in dB")
      ->type_name("DB")
      ->group(heading::kWork);
  add_json(command, arguments->json, "Print one JSON object per tensor and a summary");
  command.footer(
      "Quantised layers are compared by the values that they stand for, tensors that are no floats "
      "bit\nfor bit. Exit code 1, too, where a tensor is in one of them only, has another shape, "
      "or "
      "has\nNaN or infinity where the other has not.\n"
      "Example: octavo compare model model-fp8 --least-sqnr 25");
  return [arguments] { return Comparison(*arguments).run(); };
}

}  // namespace octavo::cli
