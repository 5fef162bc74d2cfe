// SPDX-License-Identifier: Apache-2.0
// Interleaved rounds of a problem and the machine's peaks.
#include "kit/timing/measure.hpp"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "kit/operands/rotation.hpp"
#include "kit/operands/work.hpp"
#include "kit/oracle/oracle.hpp"
#include "kit/peers/peer.hpp"
#include "kit/peers/peers.hpp"
#include "kit/workers.hpp"
#include "octavo/matmul.hpp"

namespace octavo::kit {
namespace {

// Threads of some libraries spin for up to 30 ms after a call. Whoever is next must not pay for it.
void settle(int threads) {
  if (threads > 1) std::this_thread::sleep_for(std::chrono::milliseconds(30));
}

// Seconds per call over at least `seconds`, after a few calls that nobody counts.
template <class Call>
double sample(const Call& call, int threads, double seconds) {
  settle(threads);
  Clock::time_point start = Clock::now();
  do call();
  while (seconds_since(start) < 0.04 * seconds);
  std::int64_t calls = 0;
  start = Clock::now();
  double elapsed = 0.0;
  for (std::int64_t batch = 1; elapsed < seconds; batch *= 2) {
    for (std::int64_t i = 0; i < batch; ++i) call();
    calls += batch;
    elapsed = seconds_since(start);
  }
  return elapsed / static_cast<double>(calls);
}

// How much of an output is compared with the oracle.
struct OracleShare {
  std::int64_t rows = 0, columns = 0;
};
OracleShare oracle_share(const MatmulProblem& p) {
  constexpr double kDequantized = 3e7;  // elements of B
  constexpr double kWork = 2e8;         // multiplications
  double k = 1.0;
  double groups = 0.0;
  for (std::int64_t g = 0; g < group_count(p); ++g) {
    const Member m = member(p, g);
    if (m.out.shape[0] == 0) continue;
    groups += 1.0;
    k = std::max(k, static_cast<double>(m.a.data.shape[1]));
  }
  groups = std::max(groups, 1.0);
  const double columns = std::max(32.0, kDequantized / k / groups);
  const double rows = std::max(1.0, kWork / k / columns / groups);
  return {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns)};
}

// One of our own problems, ready to be timed, once judged.
class Ours {
 public:
  Ours(const ProblemLine& line, const MeasureOptions& o, bool cold)
      : backend_(o.backend.empty() ? nullptr : o.backend.c_str()),
        context_{.executor = o.executor},
        rotation_(line, cold, backend_) {
    run(rotation_.first(), context_, backend_);
    share_ = oracle_share(rotation_.first());
    error_ratio_ = compare_exact(rotation_.first(), share_.rows, share_.columns).max_ratio;
    for (Candidate& c : explain(rotation_.first(), context_, backend_).candidates) {
      if (c.chosen) chosen_ = std::move(c);
    }
  }
  void call() { run(rotation_.next(), context_, backend_); }
  void call_alone() { run(rotation_.next(), {.executor = &serial_executor()}, backend_); }

  const MatmulProblem& problem() const { return rotation_.first(); }
  const OracleShare& share() const { return share_; }
  double error_ratio() const { return error_ratio_; }
  const Candidate& chosen() const { return chosen_; }

 private:
  const char* backend_;
  ExecContext context_;
  Rotation rotation_;
  OracleShare share_;
  double error_ratio_ = 0.0;
  Candidate chosen_;
};

// The other problem's rounds.
struct AgainstRounds {
  AgainstRounds(const ProblemLine& line, const MeasureOptions& o, bool cold) : ours(line, o, cold) {
    figure = {to_string(line), ours.chosen().backend, 0.0, {}, ours.error_ratio()};
  }
  AgainstFigure figure;
  Ours ours;
  std::vector<double> times, ratios;
};

// One peer's rounds.
struct PeerRounds {
  explicit PeerRounds(PeerRun prepared) : run(std::move(prepared)) {}
  PeerFigure figure;
  PeerRun run;
  std::vector<double> times, ratios, fractions;
};

std::vector<PeerRounds> prepare_peers(PeerProblem& problem, const OracleShare& share,
                                      const MeasureOptions& o) {
  std::vector<PeerRounds> all;
  if (!o.peers) return all;
  for (const PeerEntry& entry : installed_peers()) {
    if (!o.float32_peers && entry.peer != nullptr && entry.peer->wants_float32) continue;
    PeerRounds& p = all.emplace_back(PeerRun(entry, problem));
    p.figure.name = entry.name;
    p.figure.version = entry.version;
    p.figure.as = p.run.as();
    p.figure.not_run = p.run.not_run();
    if (!p.figure.not_run.empty()) continue;
    p.figure.note = p.run.note();
    p.run.call();
    p.figure.max_error_ratio = p.run.error_ratio(share.rows, share.columns);
  }
  return all;
}

}  // namespace

PeakKind peak_kind(const ProblemLine& line) {
  return peak_kind(line.quantize != DType::undefined ? line.quantize : line.a, line.b);
}

Figure measure(const ProblemLine& line, const MeasureOptions& o) {
  Figure f;
  f.cold = o.cold || line.m == 1 || (o.against && o.against->m == 1);
  Ours ours(line, o, f.cold);
  f.max_error_ratio = ours.error_ratio();
  f.backend = ours.chosen().backend;
  f.how = ours.chosen().reason;
  std::optional<AgainstRounds> against;
  if (o.against) against.emplace(*o.against, o, f.cold);
  PeerProblem peer_problem(line, ours.problem(), o.threads, f.cold);
  std::vector<PeerRounds> peers = prepare_peers(peer_problem, ours.share(), o);

  const auto time = [&](const auto& call) { return sample(call, o.threads, o.sample_seconds); };
  Rounds rounds(work_of(ours.problem()), peak_kind(line), o);
  const Clock::time_point start = Clock::now();
  for (int round = 0; round < o.rounds; ++round) {
    if (o.budget_seconds > 0.0 && round >= 3 && seconds_since(start) > o.budget_seconds) break;
    const double seconds = time([&] { ours.call(); });
    if (against) {
      against->times.push_back(time([&] { against->ours.call(); }));
      against->ratios.push_back(against->times.back() / seconds);
    }
    for (PeerRounds& p : peers) {
      if (!p.figure.not_run.empty()) continue;
      p.times.push_back(time([&] { p.run.call(); }));
      p.ratios.push_back(p.times.back() / seconds);
    }
    const double again = time([&] { ours.call(); });
    std::optional<double> alone;
    if (o.threads > 1) alone = sample([&] { ours.call_alone(); }, 1, o.sample_seconds);
    const Floor floor = rounds.end(seconds, again, alone);
    for (PeerRounds& p : peers) {
      if (p.figure.not_run.empty()) p.fractions.push_back(floor.seconds / p.times.back());
    }
  }
  static_cast<Timing&>(f) = rounds.timing();
  if (against) {
    f.against = std::move(against->figure);
    f.against->median_us = median_of(against->times).value * 1e6;
    f.against->ratio = median_of(against->ratios);
  }
  for (PeerRounds& p : peers) {
    p.figure.median_us = median_of(p.times).value * 1e6;
    p.figure.ratio = median_of(p.ratios);
    p.figure.roofline = median_of(p.fractions);
    f.peers.push_back(std::move(p.figure));
  }
  return f;
}

}  // namespace octavo::kit
