// SPDX-License-Identifier: Apache-2.0
// Peers on this machine: the modules beside the program, and a problem prepared for one of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "octavo/problem_line.hpp"

namespace octavo::peers {
struct Peer;
}

namespace octavo::kit {

/// A peer, or the reason why there is none.
struct PeerEntry {
  std::string name;     ///< "oneDNN"
  std::string version;  ///< and build; empty where there is none
  std::string missing;  ///< one sentence; empty where it is there
  const peers::Peer* peer = nullptr;
};

/// The peers in the folder `peers` beside the program (or in OCTAVO_PEER_FOLDER), opened once; and
/// an entry with its reason for each that the bench knows and that is not there.
const std::vector<PeerEntry>& installed_peers();

/// How a problem is given to peers. Its memory lives as long as any run that was made from it.
class PeerProblem {
 public:
  /// `problem` belongs to `line` and outlives this.
  PeerProblem(const ProblemLine& line, const MatmulProblem& problem, int threads, bool cold);
  ~PeerProblem();
  PeerProblem(const PeerProblem&) = delete;
  PeerProblem& operator=(const PeerProblem&) = delete;

 private:
  friend class PeerRun;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// One peer on one problem, with sets of weights in rotation as Octavo has.
class PeerRun {
 public:
  PeerRun(const PeerEntry& entry, PeerProblem& problem);
  ~PeerRun();
  PeerRun(PeerRun&&) noexcept;
  PeerRun& operator=(PeerRun&&) = delete;

  /// Why it does not run this problem; empty where it does.
  const std::string& not_run() const;
  /// "bf16" where it lacks the line's types and multiplies the codes as bfloat16; else empty.
  const char* as() const;
  /// What runs, in the peer's words.
  std::string note() const;
  /// One call on the next set of weights.
  void call();
  /// The largest error over the bound of the last call's outputs; negative where the peer left out
  /// a part of the product.
  double error_ratio(std::int64_t rows, std::int64_t columns) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octavo::kit
