// SPDX-License-Identifier: Apache-2.0
// Clusters of CTAs whose threads are fibers, and the order in which they run.
//
// A thread runs until it has to wait or offers to (yield); then the seed says which goes on, or,
// with the clock, the one that is earliest. Asynchronous work is a list of events: each happens
// when the landing mode, or its time, says so. When nothing can go on, threads wait for each other
// for ever: a fault that lists who waits where.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "simulator/fault.hpp"
#include "simulator/fiber.hpp"
#include "simulator/knowledge.hpp"
#include "simulator/options.hpp"
#include "simulator/shared_memory.hpp"

namespace octavo::cuda::simulator {

constexpr std::uint32_t kWarpThreads = 32;
constexpr std::uint32_t kQuarters = 4;  // of a multiprocessor: warp w is of quarter w % 4

struct Thread;
struct Cta;

/// Threads that wait for something, by what it is.
struct WaitingList {
  std::vector<Thread*> threads;
};

/// Threads that meet in one instruction: the last one does the work.
struct Meeting {
  const char* what = nullptr;
  std::uint64_t key = 0;
  std::uint32_t arrived = 0;
  std::array<void*, kWarpThreads> arguments{};  // by lane
  WaitingList waiting;
  Knowledge shared;
};

/// A warp: an agent that knows things, and where its lanes meet.
struct Warp {
  Agent agent = 0;
  std::uint32_t clock = 1;
  std::uint32_t registers = 0;  // of a thread, as setmaxnreg left them
  Knowledge knows;
  Meeting meeting;

  /// What it does from now on is later than what it has told.
  void advance() {
    ++clock;
    know_itself();
  }
  void know_itself() {
    knows.writes.raise({agent, clock});
    knows.reads.raise({agent, clock});
  }
};

struct MBarrier {
  Agent agent = 0;
  std::uint32_t count = 0, pending = 0;
  std::int64_t expected_bytes = 0;  // that have not landed
  std::uint64_t phases = 0;         // that are complete
  // What arrivals told in the phase that is under way, and in the last complete one; what needs a
  // wait with .acquire.cluster is kept by itself.
  Knowledge gathering, published;
  Knowledge cluster_gathering, cluster_published;
  Epoch made;
  std::uint32_t made_by = 0;        // thread
  bool visible_to_cluster = false;  // fence.mbarrier_init
  double time = 0;
  WaitingList waiting;
};

struct TensorCores;  // wgmma of a CTA's warps (tensor_cores.hpp)

struct Cta {
  Cta(std::uint32_t block, std::uint32_t rank, const Launch& launch, ReadSets& sets);
  ~Cta();

  std::uint32_t block, rank;  // in the grid, in its cluster
  struct Cluster* cluster = nullptr;
  SharedMemory shared;
  std::vector<Warp> warps;
  std::unordered_map<std::uint32_t, MBarrier> barriers;  // by address
  std::map<std::uint32_t, Meeting> named;                // bar.sync, by number
  std::unique_ptr<TensorCores> tensor_cores;
  std::uint32_t running;  // threads
  std::uint32_t free_registers;
  WaitingList waiting_for_registers;
  std::array<double, kQuarters> issue_free{}, tensor_free{}, tensor_busy{};
  double l2_free = 0;
};

struct Cluster {
  std::vector<std::unique_ptr<Cta>> ctas;
  Meeting meeting;
};

struct CopyGroup {
  std::vector<std::function<void()>> copies;  // cp.async: each lands one
};

/// A TMA store: whoever waits for its source to be read.
struct StoreInFlight {
  std::uint32_t source = 0, bytes = 0;
  bool read = false;
  WaitingList waiting;
};

struct Thread {
  enum class State : std::uint8_t { ready, waiting, done };

  std::uint32_t id = 0;  // in the simulation
  std::uint32_t tid = 0, lane = 0;
  Cta* cta = nullptr;
  Warp* warp = nullptr;
  std::unique_ptr<Fiber> fiber;
  State state = State::ready;
  std::string waits_for;  // while waiting
  Where waits_at;
  double time = 0;

  std::vector<std::shared_ptr<StoreInFlight>> open_stores;
  std::vector<std::vector<std::shared_ptr<StoreInFlight>>> store_groups;
  CopyGroup open_copies;
  std::vector<CopyGroup> copy_groups;
  std::unordered_map<const void*, std::uint32_t> polled;  // values that load_acquire returned last
  std::map<std::string, std::uint64_t> accesses;          // of shared memory, by line

  std::uint32_t warp_index() const { return tid / kWarpThreads; }
};

class Simulation {
 public:
  Simulation(const Launch& launch, const Options& options);
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  /// Runs every thread's program; throws a Fault, whose sentence ends in seed and landing.
  void run(const std::function<void(Thread&)>& program);

  const Launch launch;
  const Options options;
  Counters counters;

  // What primitives use, from inside a thread.

  Actor actor(const Thread& thread) const;
  Epoch now(const Thread& thread) const { return {thread.warp->agent, thread.warp->clock}; }
  /// Offers others to go on.
  void yield(Thread& thread);
  /// Waits until `wake` is called with this list.
  void wait(Thread& thread, WaitingList& list, std::string what, const Where& where);
  void wake(WaitingList& list, double time);
  /// Something that happens later by itself: at once, some time, or last, as the landing says.
  void later(double time, std::function<void()> happens);
  /// The time of the event that happens.
  double event_time() const { return event_time_; }

  /// All `needed` threads meet; the last runs `work`. Those that come with another instruction
  /// (`what`, `key`) are a fault. `argument` is the thread's, at its lane.
  void meet(Thread& thread, Meeting& meeting, std::uint32_t needed, const char* what,
            std::uint64_t key, void* argument, const Where& where,
            const std::function<void()>& work = {});
  /// The warp's lanes meet in one instruction of one place.
  void meet_warp(Thread& thread, const char* what, std::uint64_t key, void* argument,
                 const Where& where, const std::function<void()>& work = {});
  /// What a warp has done is told through `object`; then its clock goes on.
  void release(Warp& warp, Knowledge& object);
  void release_finished_reads(Warp& warp, Knowledge& object);

  Agent add_agent() { return agents_++; }

  /// Counters in global memory that order what CTAs do (add_release, load_acquire).
  struct GlobalFlag {
    Knowledge released;
    WaitingList waiting;
  };
  GlobalFlag& global_flag(const void* address) { return flags_[address]; }

  /// Global memory at an address of the kernel's; a fault where it is in no allocation.
  void* global(const void* address, std::size_t bytes, const Where& where) const;

  /// When a box that comes from memory the first time has arrived in L2; `begin` for others.
  double from_memory(const void* base, std::uint64_t box, double bytes, double begin);

  void count_access(Thread& thread, std::uint32_t address, std::uint32_t bytes, const Where& where);
  /// Of the lanes of one instruction: addresses of `bytes` each.
  void count_wavefronts(const Where& where, const std::vector<std::uint32_t>& addresses,
                        std::uint32_t bytes);

 private:
  struct Event {
    double time;
    std::uint64_t order;
    std::function<void()> happens;
  };
  struct Stopped {};  // unwinds threads once there is a fault

  void start(std::uint32_t first_cluster, std::uint32_t clusters,
             const std::function<void(Thread&)>& program);
  void run_threads();
  void step(Thread& thread);
  void happen(std::size_t index);
  std::size_t next_event() const;
  bool goes_first(const Event& event);
  Thread* next_thread();
  void push_ready(Thread& thread);
  void exit(Thread& thread);
  void end_cta(Cta& cta);
  [[noreturn]] void deadlock() const;
  void stop_all();

  std::vector<std::unique_ptr<Cluster>> clusters_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Thread*> ready_;  // timed: a heap, the earliest first
  std::vector<Event> events_;
  std::uint64_t events_made_ = 0;
  double event_time_ = 0;
  std::optional<std::string> failure_;
  bool stopping_ = false;
  std::mt19937_64 random_;
  Agent agents_ = 0;
  ReadSets sets_;
  std::unordered_map<const void*, GlobalFlag> flags_;
  std::set<std::pair<const void*, std::uint64_t>> in_l2_;
  double memory_free_ = 0;
  struct WarpAccess {
    std::vector<std::uint32_t> addresses = std::vector<std::uint32_t>(kWarpThreads);  // by lane
    std::uint32_t lanes = 0;  // that have come
  };
  std::map<std::pair<std::string, std::uint64_t>, WarpAccess> gathered_accesses_;
};

}  // namespace octavo::cuda::simulator
