// SPDX-License-Identifier: Apache-2.0
// octavo try: this machine's int8 products against its own peaks and the peers that are installed,
// in less than a minute.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "figures.hpp"
#include "kit/peers/peers.hpp"
#include "kit/timing/measure.hpp"
#include "octavo/backend.hpp"
#include "octavo/context.hpp"
#include "options.hpp"
#include "output.hpp"
#include "words.hpp"

namespace octavo::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array<int, 4> kTriedRows{1, 16, 256, 1024};
constexpr int kInner = 2048;

// What a scheme's layers take, beside bfloat16's: of a few rows, and of a prompt.
constexpr std::array<int, 2> kAdvisedRows{16, 256};
struct Advised {
  const char* name;
  const char* line;  ///< without its shape
};
constexpr std::array<Advised, 3> kAdvised{{
    {"bfloat16", "scaled_mm bf16:bf16:bf16 prepacked"},
    {"int8-dynamic", "scaled_mm bf16:int8:bf16 scale=token:channel quantize=int8 prepacked"},
    {"fp8-dynamic", "scaled_mm bf16:e4m3fn:bf16 scale=token:channel quantize=e4m3fn prepacked"},
}};
constexpr std::size_t kMeasurements = kAdvised.size() * kAdvisedRows.size();

struct TryArguments {
  double seconds = 40.0;
  bool json = false;
};

struct TriedRow {
  int m, threads;
  kit::Figure figure;
};

// "OpenBLAS f32": a name as a column takes it; with its version where another has the same name.
std::string column_name(const std::string& name, const std::string& version) {
  std::string text = name;
  if (const std::size_t at = text.find("float32"); at != std::string::npos) {
    text.replace(at, 7, "f32");
  }
  const auto namesakes = std::ranges::count(kit::installed_peers(), name, &kit::PeerEntry::name);
  return namesakes < 2 ? text : text + " " + version.substr(0, version.find(' '));
}

// Lines of a table that appear one by one, while the next is measured.
class Report {
 public:
  Report() {
    for (const kit::PeerEntry& entry : kit::installed_peers()) {
      const std::string name = column_name(entry.name, entry.version);
      if (entry.peer == nullptr) {
        absent_.push_back(fmt::format("{}: not run: {}", name, entry.missing));
      } else {
        present_.push_back(fmt::format("{}: {}", entry.name, entry.version));
        columns_.push_back(name);
      }
    }
    fmt::print("{}, {}\n", cpu_name(), count_text(default_executor().concurrency(), "thread"));
    fmt::print(
        "int8 @ int8 to bfloat16, scales per token and channel, weights [{0}, {0}] prepacked\n\n",
        kInner);
    std::string head = fmt::format("{:>5} {:>7} {:>9} {:>8} {:>14}", "rows", "threads", "us",
                                   "GOP/s", "of the bound");
    for (const std::string& column : columns_) {
      head += fmt::format(" {:>{}}", column, width(column));
    }
    fmt::print("{} {:>6}\n", head, "error");
    std::fflush(stdout);
  }

  void add(const TriedRow& row) {
    const kit::Figure& f = row.figure;
    std::string line =
        fmt::format("{:>5} {:>7} {:>9.1f} {:>8.1f} {:>6.3f} {:>7}", row.m, row.threads, f.median_us,
                    f.gops, f.roofline.value, f.memory_bound ? "memory" : "compute");
    std::size_t column = 0;
    const std::vector<kit::PeerEntry>& entries = kit::installed_peers();
    for (std::size_t i = 0; i < f.peers.size(); ++i) {
      const kit::PeerFigure& p = f.peers[i];
      if (entries[i].peer == nullptr) continue;
      const std::string& name = columns_[column++];
      const std::string cell =
          p.not_run.empty() ? fmt::format("{:.2f}x", p.ratio.value) : "not run";
      line += fmt::format(" {:>{}}", cell, width(name));
      if (!p.not_run.empty()) note(fmt::format("{}: not run: {}", name, p.not_run));
      if (p.max_error_ratio < 0.0) note(fmt::format("{}: {}", name, p.note));
      if (p.max_error_ratio > 1.0) {
        note(fmt::format("{}: its results are wrong ({:.1f} times the bound)", name,
                         p.max_error_ratio));
      }
    }
    fmt::print("{} {:>6.3f}\n", line, f.max_error_ratio);
    std::fflush(stdout);
    note(fmt::format("{}: {}", f.backend, f.how));
  }

  void note(std::string text) {
    if (std::ranges::find(notes_, text) == notes_.end()) notes_.push_back(std::move(text));
  }

  // times[i][j]: of kAdvised[i] at kAdvisedRows[j].
  void advise(const std::array<std::array<double, 2>, 3>& times) const {
    const auto ratio = [&](std::size_t scheme, std::size_t row) {
      return times[0][row] / times[scheme][row];
    };
    fmt::print("\nModels here, times as fast as bfloat16 by Octavo:\n");
    for (std::size_t i = 1; i < kAdvised.size(); ++i) {
      fmt::print("  {:<14}{:.2f} with {} rows, {:.2f} with {}\n", kAdvised[i].name, ratio(i, 0),
                 kAdvisedRows[0], ratio(i, 1), kAdvisedRows[1]);
    }
    const bool fp8 = ratio(2, 0) > ratio(1, 0) && ratio(2, 1) > ratio(1, 1);
    fmt::print(
        "Take {}{}. The output head in 8 bits, too (--head), saves time with few rows.\n"
        "Another program is the better choice for one user of a small model, and for fewer than 8 "
        "bits:\nllama.cpp (docs/compare.md).\n",
        kAdvised[fp8 ? 2 : 1].name,
        fp8 ? "" : ", and fp8-dynamic only for folders that are fp8 already");
  }

  void finish(const std::vector<TriedRow>& rows) const {
    fmt::print("\n");
    fmt::print(
        "of the bound: of the time that this machine's peak or read bandwidth allows, measured "
        "alongside\n");
    fmt::print(
        "peers: how many times as fast Octavo is; error: the largest, of the computed bound\n");
    for (const auto* list : {&present_, &absent_, &notes_}) {
      for (const std::string& text : *list) fmt::print("{}\n", text);
    }
    if (!rows.empty()) fmt::print("\n{}\n", conclusion(rows));
  }

 private:
  static std::size_t width(const std::string& column) {
    return std::max<std::size_t>(column.size(), 8);
  }

  std::string conclusion(const std::vector<TriedRow>& rows) const {
    const TriedRow& largest = *std::ranges::max_element(
        rows, {}, [](const TriedRow& row) { return std::pair(row.threads, row.m); });
    const kit::Figure& last = largest.figure;
    std::string text =
        fmt::format("With {} on {} int8 runs at {:.0f} % of what this machine can do",
                    count_text(largest.m, "row"), count_text(largest.threads, "thread"),
                    100.0 * last.roofline.value);
    const kit::PeerFigure* best = kit::fastest_peer(last);
    text += best == nullptr
                ? "; no peer is installed"
                : fmt::format(", {:.2f} times as fast as its fastest peer here, {}",
                              best->ratio.value, column_name(best->name, best->version));
    const bool good = std::ranges::all_of(
        rows, [](const TriedRow& row) { return row.figure.max_error_ratio <= 1.0; });
    return text + (good ? "; every result is within its error bound."
                        : "; BUT SOME RESULTS ARE BEYOND THEIR ERROR BOUND.");
  }

  std::vector<std::string> columns_, present_, absent_, notes_;
};

int run(const TryArguments& arguments) {
  const int all = default_executor().concurrency();
  std::vector<int> thread_counts{all};  // the more telling rows first, in case time runs out
  if (all > 1) thread_counts.push_back(1);
  std::unique_ptr<Report> report;
  if (!arguments.json) report = std::make_unique<Report>();
  const double share =
      arguments.seconds /
      static_cast<double>(kTriedRows.size() * thread_counts.size() + kMeasurements);
  const Clock::time_point start = Clock::now();
  std::vector<TriedRow> rows;
  int code = kGood;
  for (const int threads : thread_counts) {
    for (const int m : kTriedRows) {
      const double spent = std::chrono::duration<double>(Clock::now() - start).count();
      if (spent > arguments.seconds && !rows.empty()) {
        if (report != nullptr) report->note("time is up: the last rows were left out");
        break;
      }
      const ProblemLine line = parse_problem_line(fmt::format(
          "scaled_mm int8:int8:bf16 scale=token:channel prepacked {0}x{1}x{1}", m, kInner));
      TriedRow row{m, threads,
                   kit::measure(line, {.backend = {},
                                       .executor = threads == 1 ? &serial_executor() : nullptr,
                                       .threads = threads,
                                       .sample_seconds = std::clamp(share / 100.0, 0.001, 0.05),
                                       .budget_seconds = 0.5 * share})};
      if (row.figure.max_error_ratio > 1.0) code = kCheckFailed;
      if (report != nullptr) {
        report->add(row);
      } else {
        print_json(figure_json(line, threads, row.figure));
      }
      rows.push_back(std::move(row));
    }
  }
  if (report == nullptr) return code;
  report->finish(rows);
  std::array<std::array<double, 2>, 3> times{};
  for (std::size_t i = 0; i < kAdvised.size(); ++i) {
    for (std::size_t j = 0; j < kAdvisedRows.size(); ++j) {
      const ProblemLine line = parse_problem_line(
          fmt::format("{} {}x{}x{}", kAdvised[i].line, kAdvisedRows[j], kInner, kInner));
      times[i][j] = kit::measure(line, {.backend = {},
                                        .threads = all,
                                        .sample_seconds = std::clamp(share / 100.0, 0.001, 0.05),
                                        .budget_seconds = 0.5 * share})
                        .median_us;
    }
  }
  report->advise(times);
  return code;
}

}  // namespace

CommandBody add_try(CLI::App& command) {
  const auto arguments = std::make_shared<TryArguments>();
  command.add_option("--seconds", arguments->seconds, "About how long it may take")
      ->type_name("S")
      ->check(between(0.0, 3600.0))
      ->group(heading::kTiming);
  add_json(command, arguments->json, "Print one JSON object per row, as octavo bench does");
  return [arguments] { return run(*arguments); };
}

}  // namespace octavo::cli
