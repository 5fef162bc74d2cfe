// SPDX-License-Identifier: Apache-2.0
#include "text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

namespace octavo::cli {
namespace {

constexpr std::size_t kMostLayers = 48;

std::string text_of(const Json& value) { return printable(value.get<std::string>()); }

/// null is an infinite SQNR: exact.
std::string sqnr_text(const Json& db) {
  return db_text(db.is_null() ? INFINITY : db.get<double>());
}

double sqnr_of(const Json& layer) {
  double least = INFINITY;
  if (layer.at("schemes").is_null()) return least;
  for (const Json& scheme : layer.at("schemes")) {
    if (const Json& db = scheme.at("sqnr_db"); !db.is_null()) {
      least = std::min(least, db.get<double>());
    }
  }
  return least;
}

/// The layers that are shown: all, or those with the lowest SQNR.
std::vector<const Json*> shown_layers(const Json& layers) {
  std::vector<const Json*> shown;
  for (const Json& layer : layers) shown.push_back(&layer);
  if (shown.size() <= kMostLayers) return shown;
  std::ranges::stable_sort(shown, {}, [](const Json* layer) { return sqnr_of(*layer); });
  shown.resize(kMostLayers);
  return shown;
}

void print_layers(const Json& report) {
  std::vector<Table::Column> columns{{"layer"}, {"[N, K]"}, {"now"}};
  for (const Json& scheme : report.at("schemes")) columns.push_back({text_of(scheme), true});
  columns.push_back({"recommended"});
  Table table(columns);
  const Json& layers = report.at("layers");
  const std::vector<const Json*> shown = shown_layers(layers);
  for (const Json* layer : shown) {
    const std::string scheme = text_of(layer->at("scheme"));
    std::vector<std::string> row{text_of(layer->at("name")), layer->at("shape").dump(),
                                 scheme == "none" ? text_of(layer->at("dtype")) : scheme};
    const Json& schemes = layer->at("schemes");
    for (std::size_t i = 0; i < report.at("schemes").size(); ++i) {
      row.push_back(schemes.is_null() ? "-" : sqnr_text(schemes[i].at("sqnr_db")));
    }
    row.push_back(text_of(layer->at("recommendation").at("choice")));
    table.add(std::move(row));
  }
  fmt::print("\nSQNR of the weights in each scheme, in dB{}:\n",
             shown.size() < layers.size()
                 ? fmt::format("; the {} layers with the lowest of {}", shown.size(), layers.size())
                 : "");
  table.print();
}

/// Microseconds of each form by rows: {"1": {"bfloat16": 12.5}}; forms that did not run are not in
/// it.
using Times = std::map<std::int64_t, std::map<std::string, double>>;

void print_speed(const Json& report) {
  if (report.at("speed").is_null() || report.at("speed").empty()) return;
  std::vector<Table::Column> columns{{"[N, K]"}, {"rows", true}};
  for (const Json& scheme : report.at("schemes")) columns.push_back({text_of(scheme), true});
  Table table(columns);
  for (const Json& shape : report.at("speed")) {
    Times times;
    for (const Json& time : shape.at("times")) {
      if (time.at("median_us").is_null()) continue;
      times[time.at("m")][time.at("form")] = time.at("median_us");
    }
    for (auto& [m, by_form] : times) {
      std::vector<std::string> row{shape.at("shape").dump(), fmt::format("{}", m)};
      for (const Json& scheme : report.at("schemes")) {
        const auto ours = by_form.find(scheme.get<std::string>()), base = by_form.find("bfloat16");
        const bool ran = ours != by_form.end() && base != by_form.end();
        row.push_back(ran ? fmt::format("{:.2f}", base->second / ours->second) : "-");
      }
      table.add(std::move(row));
    }
  }
  fmt::print("\nTimes as fast as bfloat16 on this machine ({}, {}):\n", text_of(report.at("cpu")),
             count_text(report.at("threads").get<int>(), "thread"));
  table.print();
}

}  // namespace

void print_report(const Json& report) {
  const Json& layers = report.at("layers");
  fmt::print("{}: {}, {}\n", text_of(report.at("path")),
             size_text(report.at("file_bytes").get<std::int64_t>()),
             count_text(std::ssize(layers), "linear layer"));
  print_layers(report);
  print_speed(report);
  std::map<std::string, std::int64_t> choices;
  for (const Json& layer : layers) ++choices[text_of(layer.at("recommendation").at("choice"))];
  std::vector<std::string> counts;
  for (const auto& [choice, count] : choices) {
    counts.push_back(fmt::format("{}: {}", choice, count_text(count, "layer")));
  }
  fmt::print("\nRecommended for at least {:g} dB: {}. The first: {}.\n",
             report.at("least_sqnr_db").get<double>(), fmt::join(counts, ", "),
             text_of(layers[0].at("recommendation").at("reason")));
}

}  // namespace octavo::cli
