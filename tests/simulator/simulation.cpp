// SPDX-License-Identifier: Apache-2.0
#include "simulator/simulation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "simulator/tensor_cores.hpp"

namespace octavo::cuda::simulator {
namespace {

constexpr std::uint32_t kRegisters = 65536;  // of a multiprocessor
constexpr std::uint64_t kEventOdds = 4;      // landing at random: one step in so many is an event's

const char* name_of(Landing landing) {
  constexpr std::array<const char*, 3> kNames = {"eager", "random", "late"};
  return kNames[static_cast<std::size_t>(landing)];
}

bool later_than(const Thread* a, const Thread* b) {
  return a->time != b->time ? a->time > b->time : a->id > b->id;
}

}  // namespace

Cta::Cta(std::uint32_t block_, std::uint32_t rank_, const Launch& launch, ReadSets& sets)
    : block(block_),
      rank(rank_),
      shared(launch.shared_bytes, rank_, sets),
      warps(launch.threads / kWarpThreads),
      tensor_cores(std::make_unique<TensorCores>(launch.threads / kWarpThreads)),
      running(launch.threads),
      free_registers(kRegisters - launch.threads * launch.registers) {}
Cta::~Cta() = default;

Simulation::Simulation(const Launch& l, const Options& o)
    : launch(l), options(o), random_(o.seed) {}
Simulation::~Simulation() = default;

void Simulation::run(const std::function<void(Thread&)>& program) {
  const Where here = Where::current();
  if (launch.cluster == 0 || launch.blocks % launch.cluster != 0)
    fault(here, "blocks must be a multiple of the cluster's {}; got {}", launch.cluster,
          launch.blocks);
  if (launch.threads == 0 || launch.threads % kWarpThreads != 0 || launch.threads > 1024)
    fault(here, "threads must be a multiple of 32 up to 1024; got {}", launch.threads);
  if (launch.threads * launch.registers > kRegisters)
    fault(here, "{} threads of {} registers do not fit a multiprocessor", launch.threads,
          launch.registers);
  const std::uint32_t all = launch.blocks / launch.cluster;
  const std::uint32_t first = std::min(launch.first_cluster, all);
  const std::uint32_t end = first + std::min(launch.clusters, all - first);
  for (std::uint32_t c = first; c < end; c += std::max(1U, launch.resident)) {
    start(c, std::min(std::max(1U, launch.resident), end - c), program);
    run_threads();
  }
}

void Simulation::start(std::uint32_t first_cluster, std::uint32_t clusters,
                       const std::function<void(Thread&)>& program) {
  threads_.clear();
  ready_.clear();
  events_.clear();
  clusters_.clear();
  flags_.clear();
  gathered_accesses_.clear();
  sets_ = ReadSets();
  agents_ = 0;
  memory_free_ = 0;
  for (std::uint32_t c = 0; c < clusters; ++c) {
    clusters_.push_back(std::make_unique<Cluster>());
    Cluster& cluster = *clusters_.back();
    for (std::uint32_t r = 0; r < launch.cluster; ++r) {
      const std::uint32_t block = (first_cluster + c) * launch.cluster + r;
      cluster.ctas.push_back(std::make_unique<Cta>(block, r, launch, sets_));
      Cta& cta = *cluster.ctas.back();
      cta.cluster = &cluster;
      for (Warp& warp : cta.warps) {
        warp.agent = add_agent();
        warp.registers = launch.registers;
        warp.know_itself();
      }
      for (std::uint32_t tid = 0; tid < launch.threads; ++tid) {
        threads_.push_back(std::make_unique<Thread>());
        Thread& thread = *threads_.back();
        thread.id = static_cast<std::uint32_t>(threads_.size() - 1);
        thread.tid = tid;
        thread.lane = tid % kWarpThreads;
        thread.cta = &cta;
        thread.warp = &cta.warps[tid / kWarpThreads];
        thread.fiber = std::make_unique<Fiber>([this, &thread, &program] {
          try {
            if (stopping_) return;
            program(thread);
            exit(thread);
          } catch (const Stopped&) {
          } catch (const std::exception& error) {
            if (!failure_) failure_ = error.what();
          }
        });
        push_ready(thread);
      }
    }
  }
}

void Simulation::run_threads() {
  try {
    for (;;) {
      const std::size_t event = next_event();
      const bool has_event = event < events_.size();
      if (ready_.empty() && !has_event) break;
      if (has_event && (ready_.empty() || goes_first(events_[event]))) {
        happen(event);
      } else {
        step(*next_thread());
      }
      if (failure_) break;
    }
    const bool all_done = std::all_of(threads_.begin(), threads_.end(), [](const auto& thread) {
      return thread->state == Thread::State::done;
    });
    if (!failure_ && !all_done) deadlock();
  } catch (const Fault& error) {
    if (!failure_) failure_ = error.what();
  }
  if (failure_) {
    stop_all();
    throw Fault(
        fmt::format("{} [seed {}, landing {}]", *failure_, options.seed, name_of(options.landing)));
  }
  for (const auto& thread : threads_) counters.cycles = std::max(counters.cycles, thread->time);
  for (const auto& cluster : clusters_) {
    for (const auto& cta : cluster->ctas) {
      for (const double busy : cta->tensor_busy)
        counters.tensor_cycles = std::max(counters.tensor_cycles, busy);
    }
  }
}

// While there are threads that could go on.
bool Simulation::goes_first(const Event& event) {
  if (options.timed) return event.time <= ready_.front()->time;
  return options.landing == Landing::random && random_() % kEventOdds == 0;
}

void Simulation::step(Thread& thread) {
  ++counters.switches;
  thread.fiber->resume();
  if (thread.fiber->done()) thread.state = Thread::State::done;
}

Thread* Simulation::next_thread() {
  if (options.timed) {
    std::pop_heap(ready_.begin(), ready_.end(), later_than);
  } else {
    std::swap(ready_[random_() % ready_.size()], ready_.back());
  }
  Thread* const thread = ready_.back();
  ready_.pop_back();
  return thread;
}

void Simulation::push_ready(Thread& thread) {
  thread.state = Thread::State::ready;
  ready_.push_back(&thread);
  if (options.timed) std::push_heap(ready_.begin(), ready_.end(), later_than);
}

std::size_t Simulation::next_event() const {
  if (events_.empty()) return 0;
  if (!options.timed) {
    // By a number that the seed gives: nothing orders what is asynchronous.
    std::minstd_rand pick(static_cast<std::uint32_t>(options.seed * 7919 + counters.switches));
    return pick() % events_.size();
  }
  return static_cast<std::size_t>(std::min_element(events_.begin(), events_.end(),
                                                   [](const Event& a, const Event& b) {
                                                     return a.time != b.time ? a.time < b.time
                                                                             : a.order < b.order;
                                                   }) -
                                  events_.begin());
}

void Simulation::happen(std::size_t index) {
  Event event = std::move(events_[index]);
  events_.erase(events_.begin() + static_cast<std::ptrdiff_t>(index));
  event_time_ = event.time;
  event.happens();
}

void Simulation::later(double time, std::function<void()> happens) {
  if (!options.timed && options.landing == Landing::eager) {
    event_time_ = time;
    happens();
    return;
  }
  events_.push_back({time, events_made_++, std::move(happens)});
}

Actor Simulation::actor(const Thread& thread) const {
  return {&thread.warp->knows, now(thread), thread.id, thread.warp_index(), thread.cta->rank};
}

void Simulation::yield(Thread& thread) {
  push_ready(thread);
  Fiber::suspend();
  if (stopping_) throw Stopped();
}

void Simulation::wait(Thread& thread, WaitingList& list, std::string what, const Where& where) {
  thread.state = Thread::State::waiting;
  thread.waits_for = std::move(what);
  thread.waits_at = where;
  list.threads.push_back(&thread);
  Fiber::suspend();
  if (stopping_) throw Stopped();
}

void Simulation::wake(WaitingList& list, double time) {
  for (Thread* thread : list.threads) {
    thread->time = std::max(thread->time, time);
    push_ready(*thread);
  }
  list.threads.clear();
}

void Simulation::release(Warp& warp, Knowledge& object) {
  object.join(warp.knows);
  warp.advance();
}

void Simulation::release_finished_reads(Warp& warp, Knowledge& object) {
  const auto warps =
      static_cast<Agent>(launch.cluster * launch.threads / kWarpThreads * clusters_.size());
  object.join_finished_reads(warp.knows, warps);
  warp.advance();
}

void Simulation::meet(Thread& thread, Meeting& meeting, std::uint32_t needed, const char* what,
                      std::uint64_t key, void* argument, const Where& where,
                      const std::function<void()>& work) {
  if (meeting.arrived == 0) {
    meeting.what = what;
    meeting.key = key;
  } else if (meeting.what != what || meeting.key != key) {
    fault(where, "warp {} of CTA {} is in {} while others that it meets are in {}{}",
          thread.warp_index(), thread.cta->rank, what, meeting.what,
          meeting.what == what ? " with other operands or elsewhere" : "");
  }
  const bool own_warp = &meeting == &thread.warp->meeting;
  if (!own_warp) release(*thread.warp, meeting.shared);
  meeting.arguments[thread.lane] = argument;
  if (++meeting.arrived < needed) {
    wait(thread, meeting.waiting, what, where);
    return;
  }
  meeting.arrived = 0;
  for (const Thread* other : meeting.waiting.threads)
    thread.time = std::max(thread.time, other->time);
  if (!own_warp) {
    thread.warp->knows.join(meeting.shared);
    const Warp* last = thread.warp;
    for (const Thread* other : meeting.waiting.threads) {
      if (other->warp != last) other->warp->knows.join(meeting.shared);
      last = other->warp;
    }
    meeting.shared = Knowledge();
  }
  if (work) work();
  thread.time += options.clock.meeting;
  wake(meeting.waiting, thread.time);
}

void Simulation::meet_warp(Thread& thread, const char* what, std::uint64_t key, void* argument,
                           const Where& where, const std::function<void()>& work) {
  meet(thread, thread.warp->meeting, kWarpThreads, what, key << 20 ^ where.line, argument, where,
       work);
}

void Simulation::exit(Thread& thread) {
  const Where here = Where::current();
  if (!thread.open_stores.empty())
    fault(here, "thread {} of CTA {} ends with TMA stores that it has not committed", thread.tid,
          thread.cta->rank);
  if (!thread.open_copies.copies.empty() || !thread.copy_groups.empty())
    fault(here, "thread {} of CTA {} ends with copies (cp.async) that it has not waited for",
          thread.tid, thread.cta->rank);
  if (--thread.cta->running == 0) end_cta(*thread.cta);
}

void Simulation::end_cta(Cta& cta) {
  const Where here = Where::current();
  if (cta.tensor_cores->in_flight())
    fault(here, "CTA {} ends while wgmmas are in flight", cta.rank);
  if (cta.shared.in_flight() != 0)
    fault(here,
          "CTA {} ends while {} asynchronous copies to or from its shared memory are in "
          "flight",
          cta.rank, cta.shared.in_flight());
}

void Simulation::deadlock() const {
  std::map<std::string, std::set<std::string>> waiting;  // for what, at which place: who
  for (const auto& thread : threads_) {
    if (thread->state != Thread::State::waiting) continue;
    waiting[fmt::format("{} at {}", thread->waits_for, spelled(thread->waits_at))].insert(
        fmt::format("{}.{}", thread->cta->block, thread->warp_index()));
  }
  std::string list;
  for (const auto& [what, who] : waiting) {
    std::string warps;
    for (const std::string& warp : who) warps += (warps.empty() ? "" : ", ") + warp;
    list += fmt::format("{}in {}: warps (block.warp) {}", list.empty() ? "" : "; ", what, warps);
  }
  throw Fault("deadlock: " + list);
}

void Simulation::stop_all() {
  stopping_ = true;
  for (const auto& thread : threads_)
    while (!thread->fiber->done()) thread->fiber->resume();
  stopping_ = false;
}

void* Simulation::global(const void* address, std::size_t bytes, const Where& where) const {
  if (options.memory == nullptr) return const_cast<void*>(address);
  void* found = options.memory->find(address, bytes);
  if (found == nullptr)
    fault(where, "{} bytes of global memory at {} are in no allocation", bytes, fmt::ptr(address));
  return found;
}

double Simulation::from_memory(const void* base, std::uint64_t box, double bytes, double begin) {
  if (!options.timed || !in_l2_.insert({base, box}).second) return begin;
  const auto multiprocessors = static_cast<double>(clusters_.size() * launch.cluster);
  memory_free_ =
      std::max(memory_free_, begin) + bytes / (options.clock.hbm_bytes * multiprocessors);
  return memory_free_;
}

void Simulation::count_wavefronts(const Where& where, const std::vector<std::uint32_t>& addresses,
                                  std::uint32_t bytes) {
  // A wavefront serves 128 bytes, one word of each of 32 banks; lanes are served in groups that
  // could fill one.
  const std::size_t group = std::max<std::size_t>(1, 128 / std::max(bytes, 4U));
  BankUse& use = counters.banks[spelled(where)];
  for (std::size_t first = 0; first < addresses.size(); first += group) {
    std::array<std::set<std::uint32_t>, 32> words;
    for (std::size_t i = first; i < std::min(first + group, addresses.size()); ++i) {
      for (std::uint32_t w = addresses[i] / 4; w < (addresses[i] + bytes + 3) / 4; ++w)
        words[w % 32].insert(w);
    }
    std::size_t most = 1;
    for (const auto& bank : words) most = std::max(most, bank.size());
    use.wavefronts += most;
    use.ideal += 1;
  }
}

void Simulation::count_access(Thread& thread, std::uint32_t address, std::uint32_t bytes,
                              const Where& where) {
  if (!options.count_banks) return;
  const std::string line = spelled(where);
  const std::uint64_t time = thread.accesses[line]++;
  WarpAccess& access = gathered_accesses_[{
      fmt::format("{}.{}.{}", line, thread.cta->block, thread.warp_index()), time}];
  access.addresses[thread.lane] = address;
  if (++access.lanes < kWarpThreads) return;
  count_wavefronts(where, access.addresses, bytes);
  access.lanes = 0;
}

}  // namespace octavo::cuda::simulator
