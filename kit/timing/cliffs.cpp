// SPDX-License-Identifier: Apache-2.0
// Scans over M, and neighbours of multiples of 64.
#include "kit/timing/cliffs.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kit/operands/operands.hpp"
#include "kit/timing/measure.hpp"
#include "kit/workers.hpp"
#include "octavo/matmul.hpp"
#include "octavo/status.hpp"

namespace octavo::kit {
namespace {

constexpr int kRepeats = 3;

// The problem of a line, of which any number of first rows can be run.
class FirstRows {
 public:
  FirstRows(const ProblemLine& line, const char* backend)
      : backend_(backend),
        operands_(line, Content::gaussian),
        problem_(make_problem(line, operands_, backend)) {}

  // Seconds per call, the best of samples that take `seconds` together.
  double time(std::int64_t m, double seconds) const {
    MatmulProblem p = problem_.problem();
    for (MatrixView* view : {&p.single.a.data, &p.single.a.azp, &p.single.out}) {
      if (view->defined()) view->shape[0] = m;
    }
    run(p, {}, backend_);
    // The least of several batches: whoever takes the processor away makes a step of his own.
    constexpr int kBatches = 5;
    double least = 0.0;
    for (int batch = 0; batch < kBatches; ++batch) {
      const Clock::time_point start = Clock::now();
      std::int64_t calls = 0;
      double elapsed = 0.0;
      do {
        run(p, {}, backend_);
        ++calls;
        elapsed = seconds_since(start);
      } while (elapsed < seconds / kBatches);
      const double each = elapsed / static_cast<double>(calls);
      least = batch == 0 ? each : std::min(least, each);
    }
    return least;
  }

 private:
  const char* backend_;
  Operands operands_;
  LineProblem problem_;
};

// One scan: the better of two times of each M (index m - 1), and how far the two are apart.
struct Scan {
  std::vector<double> times;
  double noise = 0;
};

Scan scan(const FirstRows& rows, std::int64_t count, double seconds) {
  Scan s;
  std::vector<double> apart;
  for (std::int64_t m = 1; m <= count; ++m) {
    const double a = rows.time(m, seconds);
    const double b = rows.time(m, seconds);
    s.times.push_back(std::min(a, b));
    apart.push_back(std::max(a, b) / std::min(a, b) - 1.0);
  }
  std::sort(apart.begin(), apart.end());
  s.noise = apart[(apart.size() - 1) * 95 / 100];
  return s;
}

// The smallest of three values if all are beyond their scan's noise, else none.
template <class Value>
double agreed(const std::vector<Scan>& scans, const Value& value) {
  double least = 0.0;
  for (std::size_t i = 0; i < scans.size(); ++i) {
    const double v = value(scans[i]);
    if (v <= scans[i].noise) return 0.0;
    least = i == 0 ? v : std::min(least, v);
  }
  return least;
}

void scan_rows(const ProblemLine& line, const CliffOptions& o, const char* backend,
               Cliffs& cliffs) {
  const FirstRows rows(line, backend);
  std::vector<Scan> scans;
  for (int i = 0; i < kRepeats; ++i) {
    scans.push_back(scan(rows, line.m, o.sample_seconds));
    cliffs.noise = std::max(cliffs.noise, scans.back().noise);
  }
  for (std::int64_t m = 1; m < line.m; ++m) {
    const auto ratio = [&](const Scan& s) {  // time(m) / time(m + 1)
      return s.times[static_cast<std::size_t>(m - 1)] / s.times[static_cast<std::size_t>(m)];
    };
    const double more = static_cast<double>(m + 1) / static_cast<double>(m);
    const double drop = agreed(scans, [&](const Scan& s) { return 1.0 - more * ratio(s); });
    const double slower = agreed(scans, [&](const Scan& s) { return ratio(s) - 1.0; });
    if (drop > 0.0) ++cliffs.steps;
    if (drop > cliffs.drop.size) cliffs.drop = {m, drop};
    if (slower > 0.0 && 1.0 + slower > cliffs.slower_fewer.size) {
      cliffs.slower_fewer = {m, 1.0 + slower};
    }
  }
}

// Least efficiency of a neighbour over that of the multiple, in the best of three repeats.
void scan_neighbours(const ProblemLine& line, const CliffOptions& o, const char* backend,
                     Cliffs& cliffs) {
  struct Neighbour {
    std::int64_t n, k;
    double Cliffs::*result;
  };
  constexpr std::array<Neighbour, 3> kNeighbours{
      {{1, 0, &Cliffs::n_plus_one}, {0, 1, &Cliffs::k_plus_one}, {1, 1, &Cliffs::both_plus_one}}};
  ProblemLine base = line;
  base.n = std::max<std::int64_t>(line.n / 64 * 64, 64);
  base.k = std::max<std::int64_t>(line.k / 64 * 64, 64);
  const FirstRows multiple(base, backend);
  for (const Neighbour& neighbour : kNeighbours) {
    ProblemLine other = base;
    other.n += neighbour.n;
    other.k += neighbour.k;
    const FirstRows odd(other, backend);
    const double more =
        static_cast<double>(other.n * other.k) / static_cast<double>(base.n * base.k);
    double& result = cliffs.*neighbour.result;
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
      double least = 1e9;
      for (const std::int64_t m : {std::min<std::int64_t>(16, line.m), line.m}) {
        std::vector<double> ratios;
        for (int i = 0; i < 9; ++i) {
          const double even = multiple.time(m, o.sample_seconds);
          ratios.push_back(more * even / odd.time(m, o.sample_seconds));
        }
        least = std::min(least, median_of(ratios).value);
      }
      result = std::max(result, least);
    }
  }
}

}  // namespace

Cliffs find_cliffs(const ProblemLine& line, const CliffOptions& options) {
  if (line.operation != "scaled_mm" || !line.groups.empty() || line.split != Split::none) {
    throw Error(Status(Code::unsupported,
                       "bench: the line of --cliffs must be a scaled_mm; got " + line.operation));
  }
  if (line.m < 1 || line.n < 1 || line.k < 1) {
    throw Error(Status(
        Code::invalid_argument,
        "bench: the line of --cliffs must have M, N and K of at least 1; got " + to_string(line)));
  }
  const char* backend = options.backend.empty() ? nullptr : options.backend.c_str();
  Cliffs cliffs;
  scan_rows(line, options, backend, cliffs);
  scan_neighbours(line, options, backend, cliffs);
  return cliffs;
}

}  // namespace octavo::kit
