// SPDX-License-Identifier: Apache-2.0
// Formats evaluations.
#include "report.hpp"

#include <array>
#include <cstdarg>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "model/float32_product.hpp"

namespace reverse_dictionary {
namespace {

/// The parts of the time spent on glosses, of 1.
struct Shares {
  explicit Shares(const TextTimes& times)
      : linear(times.model.linear / times.total()),
        other(times.model.other / times.total()),
        tokenizing(times.tokenizing / times.total()) {}
  double linear, other, tokenizing;
};

__attribute__((format(printf, 1, 2))) std::string format(const char* pattern, ...) {
  std::array<char, 256> line{};
  std::va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(line.data(), line.size(), pattern, arguments);
  va_end(arguments);
  return line.data();
}

}  // namespace

void print_table(const Evaluation& evaluation, std::ostream& out) {
  out << evaluation.glosses << " glosses, " << evaluation.queries
      << " queries; cosine, top-1 and top-10 are agreement with "
      << evaluation.models.front().scheme << "; float32 products by " << float32_library() << "\n\n"
      << format("%-13s %12s %12s %9s %9s %6s %6s %9s %9s  %6s %6s %6s\n", "scheme", "linear bytes",
                "file bytes", "mean cos", "min cos", "top-1", "top-10", "recall@10", "glosses/s",
                "linear", "other", "tokens");
  for (const ModelResult& row : evaluation.models) {
    const Shares shares(row.times);
    out << format(
        "%-13s %12lld %12lld %9.6f %9.6f %6.3f %6.3f %9.3f %9.0f  %5.1f%% %5.1f%% %5.1f%%\n",
        row.scheme.c_str(), static_cast<long long>(row.linear_bytes),
        static_cast<long long>(row.file_bytes), row.mean_cosine, row.min_cosine, row.top1,
        row.top10, row.recall10, row.glosses_per_second, 100 * shares.linear, 100 * shares.other,
        100 * shares.tokenizing);
  }
}

void print_answers(const Evaluation& evaluation, std::ostream& out) {
  for (std::size_t i = 0; i < evaluation.examples.size(); ++i) {
    out << "\n\"" << evaluation.examples[i] << "\"\n";
    for (const ModelResult& row : evaluation.models) {
      out << format("  %-13s", row.scheme.c_str());
      const char* separator = " ";
      for (const std::string& word : row.answers[i]) {
        out << separator << word;
        separator = ", ";
      }
      out << "\n";
    }
  }
}

std::string to_json(const Evaluation& evaluation) {
  nlohmann::ordered_json models = nlohmann::ordered_json::array();
  for (const ModelResult& row : evaluation.models) {
    const Shares shares(row.times);
    models.push_back(
        {{"scheme", row.scheme},
         {"linear_bytes", row.linear_bytes},
         {"file_bytes", row.file_bytes},
         {"mean_cosine", row.mean_cosine},
         {"min_cosine", row.min_cosine},
         {"top1", row.top1},
         {"top10", row.top10},
         {"recall10", row.recall10},
         {"glosses_per_second", row.glosses_per_second},
         {"embeddings", format("%016llx", static_cast<unsigned long long>(row.digest))},
         {"linear_share", shares.linear},
         {"other_share", shares.other},
         {"tokenizing_share", shares.tokenizing},
         {"answers", row.answers}});
  }
  const nlohmann::ordered_json all = {{"glosses", evaluation.glosses},
                                      {"queries", evaluation.queries},
                                      {"examples", evaluation.examples},
                                      {"float32_products", float32_library()},
                                      {"schemes", models}};
  return all.dump(2) + "\n";
}

}  // namespace reverse_dictionary
