// SPDX-License-Identifier: Apache-2.0
// Medians over rounds.
#include "kit/timing/measure.hpp"

#include <algorithm>
#include <cmath>

namespace octavo::kit {

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

Floor Rounds::end(double seconds, double again, std::optional<double> alone) {
  times_.push_back(seconds);
  again_.push_back(again / seconds);
  if (alone) scaling_.push_back(*alone / seconds);
  Peak peak{.gops = 1.0};
  if (kind_) {
    peak = measure_peak(*kind_, options_.threads, options_.sample_seconds);
    peaks_.push_back(peak.gops);
  }
  reads_.push_back(measure_read_bandwidth(options_.threads, options_.sample_seconds));
  const Floor floor = work_.floor(peak.gops, reads_.back());
  fractions_.push_back(floor.seconds / seconds);
  ++timing_.rounds;
  timing_.memory_bound = floor.memory_bound;
  timing_.peak_instruction = peak.instruction;
  timing_.peak_per_cycle = std::max(timing_.peak_per_cycle, peak.per_cycle);
  return floor;
}

Timing Rounds::timing() const {
  Timing t = timing_;
  const double median = median_of(times_).value;
  t.median_us = median * 1e6;
  t.best_us = *std::min_element(times_.begin(), times_.end()) * 1e6;
  t.gops = work_.ops / median * 1e-9;
  t.peak_gops = median_of(peaks_).value;
  t.bytes = work_.bytes;
  t.gbps = work_.bytes / median * 1e-9;
  t.read_gbps = median_of(reads_).value;
  t.roofline = median_of(fractions_);
  t.noise = median_of(again_);
  t.scaling = median_of(scaling_);
  return t;
}

const PeerFigure* fastest_peer(const Figure& figure) {
  const PeerFigure* best = nullptr;
  for (const PeerFigure& p : figure.peers) {
    if (!p.not_run.empty() || p.max_error_ratio > 1.0) continue;
    if (best == nullptr || p.ratio.value < best->ratio.value) best = &p;
  }
  return best;
}

}  // namespace octavo::kit
