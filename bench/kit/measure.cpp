// SPDX-License-Identifier: Apache-2.0
// Interleaved rounds of a problem and the machine's peaks.
#include "kit/measure.hpp"

#include <algorithm>
#include <cmath>
#include <deque>

#include "kit/operands.hpp"
#include "kit/oracle.hpp"
#include "kit/peak.hpp"
#include "kit/workers.hpp"
#include "octavo/matmul.hpp"
#include "octavo/packed.hpp"

namespace octavo::kit {
namespace {

constexpr double kColdBytes = 256.0 * 1024 * 1024;
constexpr double kOracleWork = 2e8;  // multiplications that checking may cost

double view_bytes(const TensorView& v) {
  if (!v.defined()) return 0.0;
  double bytes = static_cast<double>(element_bytes(v.dtype));
  for (std::size_t d = 0; d < static_cast<std::size_t>(v.rank); ++d) {
    bytes *= v.strides[d] == 0 ? 1.0 : static_cast<double>(v.shape[d]);
  }
  return bytes;
}

double weight_bytes(const Operand& b) {
  if (b.packed == nullptr) return view_bytes(b.data);
  return static_cast<double>(b.packed->k() * b.packed->n() * element_bytes(b.packed->dtype()));
}

PeakKind peak_kind(const ProblemLine& line) {
  const DType a = line.quantise != DType::undefined ? line.quantise : line.a;
  if (is_integer8(a) && is_integer8(line.b)) return PeakKind::int8;
  return a == DType::float32 || a == DType::float16 ? PeakKind::fp32 : PeakKind::bf16;
}

// Instances of one problem with weights of their own, so that none is served from a cache.
class Rotation {
 public:
  Rotation(const ProblemLine& line, bool cold, const char* backend) {
    const std::size_t wanted = cold ? 4096 : 1;
    double bytes = 0.0;
    while (problems_.size() < wanted && (problems_.empty() || bytes < kColdBytes)) {
      ProblemLine own = line;
      own.seed += problems_.size();
      operands_.emplace_back(own, Content::gaussian);
      problems_.push_back(make_problem(own, operands_.back(), backend));
      bytes += weights(problems_.back().problem());
      if (weights(problems_.back().problem()) == 0.0) break;
    }
  }
  const MatmulProblem& next() { return problems_[turn_++ % problems_.size()].problem(); }
  const MatmulProblem& first() const { return problems_.front().problem(); }

 private:
  static double weights(const MatmulProblem& p) {
    double bytes = 0.0;
    for (std::int64_t g = 0; g < group_count(p); ++g) bytes += weight_bytes(member(p, g).b);
    return bytes;
  }
  std::deque<Operands> operands_;
  std::vector<LineProblem> problems_;
  std::size_t turn_ = 0;
};

// Seconds per call over at least `seconds`.
double sample(Rotation& rotation, const char* backend, double seconds) {
  std::int64_t calls = 0;
  const Clock::time_point start = Clock::now();
  double elapsed = 0.0;
  for (std::int64_t batch = 1; elapsed < seconds; batch *= 2) {
    for (std::int64_t i = 0; i < batch; ++i) run(rotation.next(), {}, backend);
    calls += batch;
    elapsed = seconds_since(start);
  }
  return elapsed / static_cast<double>(calls);
}

std::int64_t oracle_rows(const MatmulProblem& p) {
  const double work = work_of(p).ops / 2;
  if (work <= kOracleWork) return 0;
  const double rows = static_cast<double>(member(p, 0).out.shape[0]);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(rows * kOracleWork / work));
}

}  // namespace

Work work_of(const MatmulProblem& p) {
  Work work;
  for (std::int64_t g = 0; g < group_count(p); ++g) {
    const Member m = member(p, g);
    const double rows = static_cast<double>(m.a.data.shape[0]);
    const double inner = static_cast<double>(m.a.data.shape[1]);
    const double cols = static_cast<double>(m.out.shape[1]);
    work.ops += 2.0 * rows * inner * cols;
    if (rows == 0.0) continue;  // an empty group's weight is not touched
    work.bytes += weight_bytes(m.b) + view_bytes(m.a.data) + view_bytes(m.out) +
                  view_bytes(m.epilogue.bias) + view_bytes(m.epilogue.c);
    for (const ScaleView& s : m.a.scale) work.bytes += view_bytes(s.data);
    for (const ScaleView& s : m.b.scale) work.bytes += view_bytes(s.data);
  }
  return work;
}

Median median_of(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::sort(samples.begin(), samples.end());
  const std::size_t n = samples.size();
  const double middle = n % 2 == 1 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2.0;
  // Ranks n/2 -+ 0.98 sqrt(n): the normal approximation of the sign test.
  const auto count = static_cast<double>(n);
  const double reach = 0.98 * std::sqrt(count);
  const auto low = static_cast<std::size_t>(std::max(0.0, std::floor(count / 2.0 - reach)));
  const auto high = std::min(n - 1, static_cast<std::size_t>(std::ceil(count / 2.0 + reach - 1.0)));
  return {middle, samples[low], samples[high]};
}

Figure measure(const ProblemLine& line, const MeasureOptions& o) {
  Figure f;
  f.cold = o.cold || line.m == 1;
  const char* backend = o.backend.empty() ? nullptr : o.backend.c_str();
  Rotation rotation(line, f.cold, backend);
  run(rotation.first(), {}, backend);
  f.max_error_ratio = compare_exact(rotation.first(), oracle_rows(rotation.first())).max_ratio;
  for (const Candidate& c : explain(rotation.first(), {}, backend).candidates) {
    if (c.chosen) f.backend = c.backend;
  }

  const Work work = work_of(rotation.first());
  std::vector<double> times;
  std::vector<double> peaks;
  std::vector<double> reads;
  std::vector<double> fractions;
  for (int round = 0; round < o.rounds; ++round) {
    const double seconds = sample(rotation, backend, o.sample_seconds);
    const Peak peak = measure_peak(peak_kind(line), o.threads, o.sample_seconds);
    const double read = measure_read_bandwidth(o.threads, o.sample_seconds);
    const double floor = std::max(work.ops * 1e-9 / peak.gops, work.bytes * 1e-9 / read);
    times.push_back(seconds);
    peaks.push_back(peak.gops);
    reads.push_back(read);
    fractions.push_back(floor / seconds);
    f.peak_instruction = peak.instruction;
    f.peak_per_cycle = std::max(f.peak_per_cycle, peak.per_cycle);
  }
  const double median = median_of(times).value;
  f.median_us = median * 1e6;
  f.best_us = *std::min_element(times.begin(), times.end()) * 1e6;
  f.gops = work.ops / median * 1e-9;
  f.gbps = work.bytes / median * 1e-9;
  f.peak_gops = median_of(peaks).value;
  f.read_gbps = median_of(reads).value;
  const Median fraction = median_of(fractions);
  f.roofline_fraction = fraction.value;
  f.roofline_low = fraction.low;
  f.roofline_high = fraction.high;
  return f;
}

}  // namespace octavo::kit
