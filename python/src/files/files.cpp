// SPDX-License-Identifier: Apache-2.0
// Operations from files or folders to files or folders, and what they report.
#include "files.hpp"

#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "interpreter_lock.hpp"
#include "tensors/dtypes.hpp"

namespace octavo::python {

Scheme parse_scheme(const char* operation, const std::string& text) {
  if (const std::optional<Scheme> scheme = scheme_from_name(text)) return *scheme;
  std::string names;
  for (const Scheme scheme : kAllSchemes) {
    if (!names.empty()) names += scheme == kAllSchemes.back() ? " or " : ", ";
    names += scheme_name(scheme);
  }
  raise(Code::invalid_argument,
        std::string(operation) + ": scheme must be " + names + "; got '" + text + "'");
}

namespace {

using OutlierLists = std::map<std::string, std::vector<std::int64_t>>;

Format parse_format(const std::string& text) {
  if (const std::optional<Format> format = format_from_name(text)) return *format;
  raise(Code::invalid_argument,
        "convert_file: format must be compressed-tensors, fp8, fp8-block or bitsandbytes; got '" +
            text + "'");
}

int parse_threads(const char* operation, int threads) {
  if (threads >= 0) return threads;
  raise(Code::invalid_argument, std::string(operation) +
                                    ": threads must be positive, or 0 for all; got " +
                                    std::to_string(threads));
}

// `progress` in Python, and Ctrl-C: what raises ends the operation before its target is touched.
// Called in the thread that called the operation.
std::function<void(std::int64_t, std::int64_t)> progress_of(const nb::object& progress) {
  return [&progress](std::int64_t done, std::int64_t total) {
    const Locked lock;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (!progress.is_none()) unless_exiting([&] { progress(done, total); });
  };
}

/// calibration, smoothquant, alpha, gptq, damp, static_scales of octavo.quantize_file.
using CalibrationArguments =
    std::tuple<std::string, bool, std::optional<double>, bool, std::optional<double>, bool>;

/// layout, guess, experts, head, rotation of octavo.quantize_file.
using ModelArguments = std::tuple<std::string, bool, std::string, bool, std::int32_t>;

Experts parse_experts(const char* operation, const std::string& text) {
  if (text == "as-loaded") return Experts::as_loaded;
  if (text == "float") return Experts::in_float;
  if (text == "separate") return Experts::separate;
  raise(Code::invalid_argument, std::string(operation) +
                                    ": experts must be as-loaded, float or separate; got '" + text +
                                    "'");
}

struct QuantizeArguments {
  const std::string& scheme;
  std::vector<std::string> ignore;
  OutlierLists outlier_columns;
  std::optional<float> threshold;
  bool whole_columns;
  bool requantize;
  int threads;
  CalibrationArguments calibration;
  ModelArguments model;
};

QuantizeFileOptions options_of(const char* operation, QuantizeArguments a) {
  QuantizeFileOptions o;
  o.scheme = parse_scheme(operation, a.scheme);
  o.ignore = std::move(a.ignore);
  o.outlier_columns = std::move(a.outlier_columns);
  o.outlier_threshold = a.threshold;
  o.whole_columns = a.whole_columns;
  o.requantize = a.requantize;
  o.threads = parse_threads(operation, a.threads);
  std::tie(o.calibration, o.smoothquant, o.smooth_alpha, o.gptq, o.damp, o.static_scales) =
      std::move(a.calibration);
  o.layout = std::get<0>(a.model);
  o.guess = std::get<1>(a.model);
  o.experts = parse_experts(operation, std::get<2>(a.model));
  o.head = std::get<3>(a.model);
  o.rotation = std::get<4>(a.model);
  return o;
}

QuantizeReport quantize_file_with(const std::string& in, const std::string& out,
                                  const std::string& scheme, std::vector<std::string> ignore,
                                  const nb::object& progress, OutlierLists outlier_columns,
                                  std::optional<float> threshold, bool whole_columns, int threads,
                                  bool requantize, const CalibrationArguments& calibration,
                                  const ModelArguments& model) {
  QuantizeFileOptions o =
      options_of("quantize_file", {scheme, std::move(ignore), std::move(outlier_columns), threshold,
                                   whole_columns, requantize, threads, calibration, model});
  o.progress = progress_of(progress);
  return with_file([&] { return quantize_file(in, out, o); });
}

QuantizeEstimate estimate_with(const std::string& in, const std::string& scheme,
                               std::vector<std::string> ignore, OutlierLists outlier_columns,
                               std::optional<float> threshold, bool whole_columns, int threads,
                               bool requantize, const CalibrationArguments& calibration,
                               const ModelArguments& model) {
  const QuantizeFileOptions o = options_of(
      "estimate_quantization", {scheme, std::move(ignore), std::move(outlier_columns), threshold,
                                whole_columns, requantize, threads, calibration, model});
  return with_file([&] { return estimate_quantization(in, o); });
}

QuantizeReport convert_file_with(const std::string& in, const std::string& out,
                                 const std::string& format, const nb::object& progress, int threads,
                                 const std::string& layout) {
  ConvertFileOptions o;
  o.layout = layout;
  o.format = parse_format(format);
  o.threads = parse_threads("convert_file", threads);
  o.progress = progress_of(progress);
  return with_file([&] { return convert_file(in, out, o); });
}

QuantizeReport dequantize_file_with(const std::string& in, const std::string& out, nb::handle dtype,
                                    const nb::object& progress, int threads,
                                    const std::string& layout) {
  DequantizeFileOptions o;
  o.layout = layout;
  o.dtype = dtype_argument(dtype, "dequantize_file", "dtype");
  o.threads = parse_threads("dequantize_file", threads);
  o.progress = progress_of(progress);
  return with_file([&] { return dequantize_file(in, out, o); });
}

std::string number(double value, const char* format) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string shown(const LayerReport& l) {
  return "LayerReport('" + l.name + "' [" + std::to_string(l.n) + ", " + std::to_string(l.k) +
         "], " + number(l.sqnr_db, "%.2f") + " dB, max error " + number(l.max_error, "%.3g") +
         ", " + std::to_string(l.saturated) + " saturated)";
}

// A line for each layer, worst first.
std::string shown(const QuantizeReport& report) {
  std::string text = "QuantizeReport: " + std::to_string(report.layers.size()) + " layers, " +
                     std::to_string(report.tensors_copied) + " tensors copied, " +
                     std::to_string(report.file_bytes_before) + " bytes before, " +
                     std::to_string(report.file_bytes_after) + " after";
  std::vector<const LayerReport*> rows;
  for (const LayerReport& layer : report.layers) rows.push_back(&layer);
  std::ranges::stable_sort(rows, {}, &LayerReport::sqnr_db);
  for (const LayerReport* layer : rows) text += "\n  " + shown(*layer);
  return text;
}

std::string shown(const QuantizeEstimate& e) {
  return "QuantizeEstimate(" + std::to_string(e.layers) + " layers, " +
         std::to_string(e.bytes_before) + " bytes before, " + std::to_string(e.bytes_after) +
         " after, " + std::to_string(e.memory_bytes) + " in memory, " + number(e.seconds, "%.3g") +
         " s)";
}

void bind_reports(nb::module_& m) {
  nb::class_<LayerReport>(m, "LayerReport", "What became of one weight.")
      .def_ro("name", &LayerReport::name, "The layer's name, without \".weight\".")
      .def_ro("n", &LayerReport::n, "Rows of the weight: output features.")
      .def_ro("k", &LayerReport::k, "Columns of the weight: input features.")
      .def_ro("bytes_before", &LayerReport::bytes_before, "Of the weight.")
      .def_ro("bytes_after", &LayerReport::bytes_after, "Of codes and scales.")
      .def("__repr__", [](const LayerReport& l) { return shown(l); })
      .def_ro("sqnr_db", &LayerReport::sqnr_db, "10 log10(sum w^2 / sum (w - w')^2).")
      .def_ro("max_error", &LayerReport::max_error, "Largest |w - w'|.")
      .def_ro("saturated", &LayerReport::saturated, "Codes at the type's largest magnitude.")
      .def_ro("nearest_output_error", &LayerReport::nearest_output_error,
              "GPTQ: mean |(w - w') x|^2 over the calibration's inputs x, of codes rounded to "
              "nearest; None: not GPTQ.")
      .def_ro("output_error", &LayerReport::output_error,
              "The same of the codes that are written.");
  nb::class_<QuantizeReport>(m, "QuantizeReport",
                             "What quantize_file, convert_file or dequantize_file did.")
      .def("__repr__", [](const QuantizeReport& r) { return shown(r); })
      .def_ro("layers", &QuantizeReport::layers)
      .def_ro("file_bytes_before", &QuantizeReport::file_bytes_before)
      .def_ro("file_bytes_after", &QuantizeReport::file_bytes_after)
      .def_ro("tensors_copied", &QuantizeReport::tensors_copied)
      .def_ro("warnings", &QuantizeReport::warnings,
              "What other programs will not understand, what is lost, what stayed in float.")
      .def_ro("smoothed_norms", &QuantizeReport::smoothed_norms,
              "Norms that took SmoothQuant's factors.")
      .def_ro("unsmoothed_layers", &QuantizeReport::unsmoothed_layers,
              "With SmoothQuant: quantised layers behind no such norm.");
  nb::class_<QuantizeEstimate>(m, "QuantizeEstimate", "What quantize_file would do.")
      .def("__repr__", [](const QuantizeEstimate& e) { return shown(e); })
      .def_ro("layers", &QuantizeEstimate::layers, "How many it would quantise.")
      .def_ro("bytes_before", &QuantizeEstimate::bytes_before, "Of all files with tensors.")
      .def_ro("bytes_after", &QuantizeEstimate::bytes_after, "Of all files with tensors.")
      .def_ro("memory_bytes", &QuantizeEstimate::memory_bytes,
              "Held at once, beyond what the process holds.")
      .def_ro("seconds", &QuantizeEstimate::seconds,
              "Reading and computing, by a piece of the largest layer; writing left out.")
      .def_ro("warnings", &QuantizeEstimate::warnings);
}

}  // namespace

void bind_files(nb::module_& m) {
  bind_reports(m);
  m.def("quantize_file", quantize_file_with, nb::arg("input"), nb::arg("output"),
        nb::arg("scheme") = "int8-dynamic", nb::arg("ignore") = std::vector<std::string>{},
        nb::arg("progress").none() = nb::none(), nb::kw_only(),
        nb::arg("outlier_columns") = OutlierLists{}, nb::arg("threshold").none() = nb::none(),
        nb::arg("whole_columns") = false, nb::arg("threads") = 0, nb::arg("requantize") = false,
        nb::arg("calibration") = CalibrationArguments{},
        nb::arg("model") = ModelArguments{"", false, "as-loaded", false, 0},
        "See octavo.quantize_file.");
  m.def("estimate_quantization", estimate_with, nb::arg("input"),
        nb::arg("scheme") = "int8-dynamic", nb::arg("ignore") = std::vector<std::string>{},
        nb::kw_only(), nb::arg("outlier_columns") = OutlierLists{},
        nb::arg("threshold").none() = nb::none(), nb::arg("whole_columns") = false,
        nb::arg("threads") = 0, nb::arg("requantize") = false,
        nb::arg("calibration") = CalibrationArguments{},
        nb::arg("model") = ModelArguments{"", false, "as-loaded", false, 0},
        "See octavo.checkpoints.estimate_quantization.");
  m.def("convert_file", convert_file_with, nb::arg("input"), nb::arg("output"), nb::arg("format"),
        nb::arg("progress").none() = nb::none(), nb::kw_only(), nb::arg("threads") = 0,
        nb::arg("layout") = "", "See octavo.checkpoints.convert_file.");
  m.def("dequantize_file", dequantize_file_with, nb::arg("input"), nb::arg("output"),
        nb::arg("dtype").none() = nb::none(), nb::arg("progress").none() = nb::none(),
        nb::kw_only(), nb::arg("threads") = 0, nb::arg("layout") = "",
        "See octavo.checkpoints.dequantize_file.");
}

}  // namespace octavo::python
