// SPDX-License-Identifier: Apache-2.0
// octavo report PATH: what quantising costs and gains each linear layer.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "float_weights.hpp"
#include "input.hpp"
#include "layer.hpp"
#include "models/output_place.hpp"
#include "octavo/backend.hpp"
#include "octavo/checkpoint/calibrated_inputs.hpp"
#include "octavo/checkpoint/linear_layers.hpp"
#include "octavo/context.hpp"
#include "options.hpp"
#include "output.hpp"
#include "page.hpp"
#include "progress.hpp"
#include "recommendation.hpp"
#include "speed.hpp"
#include "text.hpp"
#include "words.hpp"

namespace octavo::cli {
namespace {

constexpr double kSpeedSeconds = 15;  // of timing; making the weights comes on top

struct ReportArguments {
  std::string path, against, calibration, html;
  std::vector<std::string> schemes;
  double least_db = 28;
  bool no_speed = false;
  bool json = false;
  int threads = 0;
  bool overwrite = false;
  std::string progress = "auto";
};

using Shape = std::pair<std::int64_t, std::int64_t>;

/// A layer of the model: quantised, or in float.
struct Layer {
  std::string name;
  std::int64_t k;
  std::optional<LinearLayer> in_float;
};

class Reporter {
 public:
  explicit Reporter(const ReportArguments& arguments)
      : arguments_(arguments), weights_(arguments.path), progress_(arguments.progress) {
    if (!arguments.against.empty()) against_.emplace(arguments.against);
    if (!arguments.calibration.empty()) inputs_.emplace(arguments.calibration, "report");
    for (const std::string& name : arguments.schemes) schemes_.push_back(*scheme_from_name(name));
    if (schemes_.empty()) schemes_.assign(kSchemes.begin(), kSchemes.end());
  }

  int run() {
    if (!arguments_.html.empty()) {
      refuse_existing("report", "--html", arguments_.html, arguments_.overwrite);
      require_page_maker();
    }
    find_layers();
    Json list = Json::array();
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      progress_.at(layers_[i].name);
      list.push_back(layers_[i].in_float ? float_layer(layers_[i]) : quantized_layer(layers_[i]));
      progress_.update(done_, weights_.model().file_bytes());
    }
    progress_.clear();
    Json names = Json::array(), speed = Json::array();
    for (const Scheme scheme : schemes_) names.push_back(scheme_name(scheme));
    for (const auto& [shape, times] : speeds_) speed.push_back(times.json());
    const Json report{{"type", "report"},
                      {"path", arguments_.path},
                      {"against", against_ ? Json(arguments_.against) : Json(nullptr)},
                      {"calibration", inputs_ ? Json(arguments_.calibration) : Json(nullptr)},
                      {"octavo", OCTAVO_VERSION},
                      {"cpu", cpu_name()},
                      {"threads", default_executor().concurrency()},
                      {"least_sqnr_db", arguments_.least_db},
                      {"schemes", std::move(names)},
                      {"file_bytes", weights_.model().file_bytes()},
                      {"layers", std::move(list)},
                      {"speed", arguments_.no_speed ? Json(nullptr) : std::move(speed)}};
    show(report);
    return kGood;
  }

 private:
  void show(const Json& report) const {
    if (!arguments_.html.empty()) return write_page(report, arguments_.html);
    if (arguments_.json) return print_json(report);
    if (::isatty(STDOUT_FILENO) != 0) return print_report(report);
    warn("report: JSON without --json goes with 1.0: say --json");
    print_json(report);
  }

  void find_layers() {
    const Checkpoint& model = weights_.model();
    for (const LinearLayer& layer : linear_layers(model)) {
      layers_.push_back({layer.name, layer.at.k, layer});
      shapes_.insert({layer.at.n, layer.at.k});
    }
    for (const std::string& name : model.quantized_layers()) {
      const TensorView codes = model.weight(name).codes.data;
      layers_.push_back({name, codes.shape[1], std::nullopt});
      shapes_.insert({codes.shape[0], codes.shape[1]});
    }
    if (layers_.empty()) {
      throw Error(
          Status(Code::invalid_argument,
                 fmt::format("report: '{}' must hold linear layers; got none among {} tensors",
                             printable(arguments_.path), model.entries().size())));
    }
    const auto has_input = [&](const Layer& layer) { return input_of(layer).has_value(); };
    if (!inputs_ || std::ranges::any_of(layers_, has_input)) return;
    throw Error(
        Status(Code::invalid_argument,
               fmt::format("report: calibration '{}' must have layers of '{}'; got none of its {}",
                           printable(arguments_.calibration), printable(arguments_.path),
                           layers_.size())));
  }

  std::optional<CalibratedInput> input_of(const Layer& layer) const {
    return inputs_ ? inputs_->find(layer.name, layer.k) : std::nullopt;
  }

  Json input_of_json(const Layer& layer) const {
    const std::optional<CalibratedInput> input = input_of(layer);
    return input ? input_json(*input) : Json(nullptr);
  }

  /// The times of a shape, measured with the first layer that has it.
  const ShapeSpeed* speed(const Tensor& weight, const std::vector<SchemeResult>& results) {
    if (arguments_.no_speed) return nullptr;
    const Shape shape{weight.size(0), weight.size(1)};
    auto found = speeds_.find(shape);
    if (found == speeds_.end()) {
      const double share = kSpeedSeconds / static_cast<double>(shapes_.size());
      found = speeds_.emplace(shape, ShapeSpeed(weight, results, share)).first;
    }
    return &found->second;
  }

  std::vector<SchemeResult> add_schemes(Json& object, const Layer& layer, const Tensor& weight,
                                        const Tensor* stored) const {
    const Tensor values = weight.to(DType::float32);
    const std::optional<CalibratedInput> input = input_of(layer);
    std::optional<OutputErrors> outputs;
    if (input && !input->hessian.empty()) outputs.emplace(*inputs_, *input, layer.name, values);
    const auto output_db = [&](const Tensor& got, bool keeps_outliers) {
      return outputs ? Json(outputs->sqnr_db(got, keeps_outliers)) : Json(nullptr);
    };
    std::vector<SchemeResult> results;
    Json list = Json::array();
    for (const Scheme scheme : schemes_) {
      results.push_back(try_scheme(layer.name, weight, scheme));
      list.push_back(scheme_json(results.back()));
      list.back()["output_sqnr_db"] =
          output_db(float_values(results.back().weight), scheme == Scheme::llm_int8);
    }
    if (stored != nullptr) object["error"]["output_sqnr_db"] = output_db(*stored, false);
    object["schemes"] = std::move(list);
    object["histogram"] = histogram_json(values);
    object["columns"] = columns_json(values);
    return results;
  }

  Json float_layer(const Layer& layer) {
    const Tensor weight = weights_.get(*layer.in_float);
    const std::int64_t bytes = weight.numel() * element_bytes(weight.dtype());
    done_ += bytes;
    Json object{{"name", layer.name},
                {"shape", weight.view().dims()},
                {"dtype", name(weight.dtype())},
                {"scheme", "none"},
                {"bytes", bytes},
                {"error", nullptr},
                {"input", input_of_json(layer)}};
    const std::vector<SchemeResult> results = add_schemes(object, layer, weight, nullptr);
    object["recommendation"] = recommend(results, arguments_.least_db, speed(weight, results));
    return object;
  }

  Json quantized_layer(const Layer& layer) {
    const Weight stored = weights_.model().weight(layer.name);
    const Quantized& codes = stored.codes;
    const std::int64_t bytes = codes.data.numel() * element_bytes(codes.data.dtype()) +
                               codes.scale.numel() * element_bytes(codes.scale.dtype());
    done_ += bytes;
    Json object{{"name", layer.name},
                {"shape", codes.data.view().dims()},
                {"dtype", name(codes.data.dtype())},
                {"scheme", stored.scheme},
                {"bytes", bytes},
                {"error", nullptr},
                {"input", input_of_json(layer)}};
    const Tensor values = float_values(stored);
    if (!against_) {
      object["schemes"] = object["histogram"] = object["columns"] = nullptr;
      (void)speed_of(layer.name, values);
      object["recommendation"] =
          advice("keep", "its float weights are unknown; --against names a model that has them");
      return object;
    }
    const Tensor right = float_weight(layer.name, values);
    const Tensor wide = right.to(DType::float32);
    object["error"] = distance_json(wide, values);
    const std::vector<SchemeResult> results = add_schemes(object, layer, right, &values);
    const ShapeSpeed* times = speed(right, results);
    const double db = sqnr_db(wide, values);
    object["recommendation"] = db >= arguments_.least_db
                                   ? advice("keep", fmt::format("{} has at least {:g} dB",
                                                                stored.scheme, arguments_.least_db))
                                   : recommend(results, arguments_.least_db, times);
    return object;
  }

  const ShapeSpeed* speed_of(const std::string& layer, const Tensor& values) {
    const Shape shape{values.size(0), values.size(1)};
    if (arguments_.no_speed || speeds_.contains(shape)) return nullptr;
    std::vector<SchemeResult> results;
    for (const Scheme scheme : schemes_) results.push_back(try_scheme(layer, values, scheme));
    return speed(values, results);
  }

  Tensor float_weight(const std::string& layer, const Tensor& values) {
    const LinearLayer* there = against_->find(layer);
    if (there != nullptr && there->at.n == values.size(0) && there->at.k == values.size(1)) {
      return against_->get(*there);
    }
    throw Error(
        Status(Code::invalid_argument,
               fmt::format(
                   "report: '{}' must hold a float layer '{}' {}; got {}",
                   printable(arguments_.against), printable(layer), shape_string(values),
                   there == nullptr ? "none" : fmt::format("[{}, {}]", there->at.n, there->at.k))));
  }

  const ReportArguments& arguments_;
  FloatWeights weights_;
  std::optional<FloatWeights> against_;
  std::optional<CalibratedInputs> inputs_;
  std::vector<Scheme> schemes_;
  std::vector<Layer> layers_;
  std::set<Shape> shapes_;
  std::map<Shape, ShapeSpeed> speeds_;
  std::int64_t done_ = 0;
  Progress progress_;
};

}  // namespace

CommandBody add_report(CLI::App& command) {
  const auto arguments = std::make_shared<ReportArguments>();
  add_model(command, "PATH", arguments->path)->required();
  const auto add = [&](const char* name, auto& value, const char* type, const char* what) {
    return command.add_option(name, value, what)->type_name(type)->group(heading::kWork);
  };
  add_model(command, "--against", arguments->against,
            "The float model that a quantised model was made of")
      ->group(heading::kWork);
  add("--calibration", arguments->calibration, "FILE",
      "What octavo.torch.calibrate saved: what inputs look like, and with Hessians the error of "
      "outputs");
  add("--scheme", arguments->schemes, "NAME", "A scheme to look at; may be given again")
      ->take_all()
      ->expected(1)
      ->default_str("all")
      ->check([](const std::string& name) {
        return scheme_from_name(name) ? std::string() : fmt::format("no scheme is named {}", name);
      });
  add("--least-sqnr", arguments->least_db, "DB",
      "The SQNR that a recommended scheme has at least, in dB")
      ->check(between(-1000.0, 1000.0));
  command.add_flag("--no-speed", arguments->no_speed, "Measure no times")->group(heading::kWork);
  command
      .add_option("--html", arguments->html,
                  "Write a page there instead of printing, by python3's package octavo[report]")
      ->type_name("FILE")
      ->group(heading::kOutput);
  add_json(command, arguments->json, "Print one JSON object");
  add_overwrite(command, arguments->overwrite, "Replace the file that --html names");
  add_threads(command, arguments->threads);
  add_progress(command, arguments->progress);
  command.footer(
      "Prints tables on a terminal. Of --json's object `python -m octavo.report REPORT.json "
      "OUT.html`\nmakes a page, too. Until 1.0 JSON is what is printed elsewhere, with a notice.\n"
      "Example: octavo report Llama-3-8B --json > report.json\n"
      "         octavo report Llama-3-8B --html report.html");
  return [arguments] {
    use_threads(arguments->threads);
    return Reporter(*arguments).run();
  };
}

}  // namespace octavo::cli
