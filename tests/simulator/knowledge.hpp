// SPDX-License-Identifier: Apache-2.0
// Who knows what has happened: vector clocks over warps and barriers.
//
// An agent is a warp, or an mbarrier as the one whose phases end asynchronous copies. An agent's
// clock is what it has done so far; a warp knows of another agent's deeds up to the clock that
// reached it through barriers. An access that conflicts with one that its warp does not know of is
// a race, in whatever order this run did the two.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace octavo::cuda::simulator {

using Agent = std::uint32_t;

/// A deed: its agent at that clock. Clock 0: never.
struct Epoch {
  Agent agent = 0;
  std::uint32_t clock = 0;
  friend bool operator==(const Epoch&, const Epoch&) = default;
};

class VectorClock {
 public:
  bool covers(Epoch deed) const { return deed.clock <= of(deed.agent); }
  void raise(Epoch deed) {
    if (deed.agent >= clocks_.size()) clocks_.resize(deed.agent + 1, 0);
    clocks_[deed.agent] = std::max(clocks_[deed.agent], deed.clock);
  }
  /// What `other` knows of agents from `first` on.
  void join(const VectorClock& other, Agent first = 0) {
    if (clocks_.size() < other.clocks_.size()) clocks_.resize(other.clocks_.size(), 0);
    for (std::size_t i = first; i < other.clocks_.size(); ++i)
      clocks_[i] = std::max(clocks_[i], other.clocks_[i]);
  }

 private:
  std::uint32_t of(Agent agent) const { return agent < clocks_.size() ? clocks_[agent] : 0; }
  std::vector<std::uint32_t> clocks_;
};

/// Writes that are visible, and reads that are over. They differ: an arrival without release at
/// another CTA says only that its warp has finished reading.
struct Knowledge {
  VectorClock writes, reads;

  void join(const Knowledge& other) {
    writes.join(other.writes);
    reads.join(other.reads);
  }
  /// All but the warps' writes; agents from `first_barrier` on are barriers.
  void join_finished_reads(const Knowledge& other, Agent first_barrier) {
    writes.join(other.writes, first_barrier);
    reads.join(other.reads);
  }
};

/// Sets of reads, named by a number: the words of a tile share one. Set 0 is empty. What was asked
/// for long ago may be made again, which costs memory and nothing else.
class ReadSets {
 public:
  using Id = std::uint32_t;

  const std::vector<Epoch>& of(Id id) const { return sets_[id]; }

  /// The set with one more read; an agent's later read takes its earlier one's place.
  Id with(Id id, Epoch read) {
    if (id == last_.from && read == last_.read) return last_.to;
    const std::vector<Step>& before = steps_from_[id];
    for (auto step = before.rbegin(); step != before.rend(); ++step)
      if (step->read == read) return (last_ = *step).to;
    std::vector<Epoch> set = sets_[id];
    const auto mine =
        std::find_if(set.begin(), set.end(), [&](const Epoch& e) { return e.agent == read.agent; });
    if (mine == set.end()) {
      set.push_back(read);
    } else if (mine->clock < read.clock) {
      mine->clock = read.clock;
    }
    const Step step{id, read, static_cast<Id>(sets_.size())};
    sets_.push_back(std::move(set));
    steps_from_.emplace_back();
    std::vector<Step>& steps = steps_from_[id];
    if (steps.size() == kRemembered) steps.erase(steps.begin());
    steps.push_back(step);
    return (last_ = step).to;
  }

 private:
  struct Step {
    Id from = 0;
    Epoch read;
    Id to = 0;
  };
  static constexpr std::size_t kRemembered = 32;  // warps that read a tile
  std::vector<std::vector<Epoch>> sets_{1};
  std::vector<std::vector<Step>> steps_from_{1};
  Step last_;
};

}  // namespace octavo::cuda::simulator
