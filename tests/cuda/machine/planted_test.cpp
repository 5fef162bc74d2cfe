// SPDX-License-Identifier: Apache-2.0
// Bugs planted in the dense kernel: on a machine that leaves a primitive out or changes it, every
// schedule must find a fault or a wrong output. The kernel's source stays as it is; it runs on a
// machine derived from the simulator's. OCTAVO_SHOW_BUGS=1 lists what was found.
#include <cstdio>
#include <cstdlib>

#include "cuda/kernels/dense_kit.hpp"

namespace octavo::test::planted_test {
namespace {

using u32 = std::uint32_t;
using Kernel = Dense<MmaType::s8_s8>;
using cuda::simulator::Where;

constexpr u32 kFull = Kernel::kBarriers, kEmpty = kFull + 8 * Kernel::kStages;
constexpr u32 kFactorsFull = kEmpty + 8 * Kernel::kStages, kFactorsEmpty = kFactorsFull + 8;

bool is_full(u32 barrier) { return barrier >= kFull && barrier < kEmpty; }
bool is_empty(u32 barrier) { return barrier >= kEmpty && barrier < kFactorsFull; }

enum class Bug {
  none,
  full_not_waited_for,
  empty_not_waited_for,
  stage_left_before_its_products,
  one_warp_leaves_a_stage,
  own_cta_alone_is_told,
  wrong_parity_of_full,
  wrong_parity_of_empty,
  too_few_bytes_expected,
  too_many_bytes_expected,
  nothing_expected,
  no_fence_before_a_store,
  no_barrier_before_a_store,
  no_barrier_after_a_store,
  store_not_waited_for,
  last_store_not_waited_for,
  store_not_committed,
  barriers_not_shown_to_the_cluster,
  no_first_meeting,
  no_wgmma_fence,
  products_not_committed,
  sums_touched_in_flight,
  sums_not_cleared,
  sums_read_before_the_wait,
  multicast_to_itself_alone,
  wrong_half_of_b,
  wrong_step_of_k,
  registers_not_given_up,
  factors_not_waited_for,
  factors_overwritten_early,
  no_drain,
  staging_not_swizzled,
  empty_counts_one_too_few,
  empty_counts_one_too_many,
  count,
};

const char* name_of(Bug bug) {
  static const char* const kNames[] = {
      "none",
      "full not waited for",
      "empty not waited for",
      "stage left before its products",
      "one warp leaves a stage",
      "own CTA alone is told",
      "wrong parity of full",
      "wrong parity of empty",
      "too few bytes expected",
      "too many bytes expected",
      "nothing expected",
      "no fence before a store",
      "no barrier before a store",
      "no barrier after a store",
      "store not waited for",
      "last store not waited for",
      "store not committed",
      "barriers not shown to the cluster",
      "no first meeting",
      "no wgmma fence",
      "products not committed",
      "sums touched in flight",
      "sums not cleared",
      "sums read before the wait",
      "multicast to itself alone",
      "wrong half of B",
      "wrong step of K",
      "registers not given up",
      "factors not waited for",
      "factors overwritten early",
      "no drain",
      "staging not swizzled",
      "empty counts one too few",
      "empty counts one too many",
  };
  static_assert(std::size(kNames) == static_cast<std::size_t>(Bug::count));
  return kNames[static_cast<std::size_t>(bug)];
}

class FaultyMachine : public Machine {
 public:
  FaultyMachine(Machine machine, Bug bug, int loads) : Machine(machine), bug_(bug), loads_(loads) {}

  void mbarrier_init(u32 address, u32 count, Where where = Where::current()) {
    if (is_empty(address)) {
      if (bug_ == Bug::empty_counts_one_too_few) --count;
      if (bug_ == Bug::empty_counts_one_too_many) ++count;
    }
    Machine::mbarrier_init(address, count, where);
  }
  void fence_mbarrier_init() {
    if (bug_ != Bug::barriers_not_shown_to_the_cluster) Machine::fence_mbarrier_init();
  }
  void cluster_sync(Where where = Where::current()) {
    if (bug_ != Bug::no_first_meeting) Machine::cluster_sync(where);
  }
  void mbarrier_wait(u32 address, u32 parity, Where where = Where::current()) {
    if (is_full(address)) {
      if (bug_ == Bug::full_not_waited_for) return;
      if (bug_ == Bug::wrong_parity_of_full) parity ^= 1;
    }
    if (is_empty(address)) {
      if (bug_ == Bug::empty_not_waited_for) return;
      if (bug_ == Bug::wrong_parity_of_empty) parity ^= 1;
      if (bug_ == Bug::no_drain && loads_done_ == loads_) return;
    }
    if (address == kFactorsFull && bug_ == Bug::factors_not_waited_for) return;
    if (address == kFactorsEmpty && bug_ == Bug::factors_overwritten_early) return;
    Machine::mbarrier_wait(address, parity, where);
  }
  void mbarrier_expect(u32 address, u32 bytes, Where where = Where::current()) {
    if (bug_ == Bug::nothing_expected) return Machine::mbarrier_arrive(address, where);
    if (bug_ == Bug::too_few_bytes_expected) bytes -= 1024;
    if (bug_ == Bug::too_many_bytes_expected) bytes += 1024;
    Machine::mbarrier_expect(address, bytes, where);
  }
  void mbarrier_arrive_cluster(u32 address, u32 rank, Where where = Where::current()) {
    if (bug_ == Bug::one_warp_leaves_a_stage && warp() % 4 != 0) return;
    if (bug_ == Bug::own_cta_alone_is_told && rank != cta_rank()) return;
    Machine::mbarrier_arrive_cluster(address, rank, where);
  }
  using Machine::tma_load;
  void tma_load(const TensorMap& map, u32 to, u32 barrier, int x, int y,
                Where where = Where::current()) {
    ++loads_done_;
    Machine::tma_load(map, to, barrier, x, y, where);
  }
  void tma_load(const TensorMap& map, u32 to, u32 barrier, int x, int y, u32 mask,
                Where where = Where::current()) {
    if (bug_ == Bug::multicast_to_itself_alone) mask = 1U << cta_rank();
    if (bug_ == Bug::wrong_half_of_b) y ^= 128;
    Machine::tma_load(map, to, barrier, x, y, mask, where);
  }
  void fence_async() {
    if (bug_ != Bug::no_fence_before_a_store) Machine::fence_async();
  }
  void sync_named(u32 id, u32 count, Where where = Where::current()) {
    ++syncs_;  // a panel has two: before its staging is written, before it is stored
    if (bug_ == Bug::no_barrier_after_a_store && syncs_ % 2 == 1) return;
    if (bug_ == Bug::no_barrier_before_a_store && syncs_ % 2 == 0) return;
    Machine::sync_named(id, count, where);
  }
  void tma_store_commit() {
    if (bug_ != Bug::store_not_committed) Machine::tma_store_commit();
  }
  template <u32 n>
  void tma_store_wait_read(Where where = Where::current()) {
    if (bug_ == Bug::store_not_waited_for && n > 0) return;
    if (bug_ == Bug::last_store_not_waited_for && n == 0) return;
    Machine::tma_store_wait_read<n>(where);
  }
  void wgmma_fence(Where where = Where::current()) {
    if (bug_ != Bug::no_wgmma_fence) Machine::wgmma_fence(where);
  }
  template <MmaType type, u32 n>
  void wgmma(cuda::Accumulator<type> (&sums)[n / 2], std::uint64_t a, std::uint64_t b,
             bool accumulate, Where where = Where::current()) {
    if (bug_ == Bug::sums_not_cleared) accumulate = true;
    if (bug_ == Bug::wrong_step_of_k) b ^= 2;
    Machine::wgmma<type, n>(sums, a, b, accumulate, where);
    if (bug_ == Bug::sums_touched_in_flight) sums[7] += 1;
  }
  void wgmma_commit(Where where = Where::current()) {
    if (bug_ != Bug::products_not_committed) Machine::wgmma_commit(where);
  }
  template <u32 n, class Sums>
  void wgmma_wait(Sums& sums, Where where = Where::current()) {
    if (bug_ == Bug::stage_left_before_its_products && n == 1) return;
    if (bug_ == Bug::sums_read_before_the_wait && n == 0) return;
    Machine::wgmma_wait<n>(sums, where);
  }
  template <u32 n>
  void registers_decrease(Where where = Where::current()) {
    if (bug_ != Bug::registers_not_given_up) Machine::registers_decrease<n>(where);
  }
  void stmatrix4(u32 address, u32 r0, u32 r1, u32 r2, u32 r3, Where where = Where::current()) {
    if (bug_ == Bug::staging_not_swizzled) address = cuda::swizzle_128(address);
    Machine::stmatrix4(address, r0, r1, r2, r3, where);
  }

 private:
  Bug bug_;
  int loads_;
  int loads_done_ = 0;
  int syncs_ = 0;
};

/// Empty where the output is right and nothing was reported.
std::string found(DenseProblem<Dense<MmaType::s8_s8>>& problem,
                  const std::vector<std::uint32_t>& want, const Options& options, Bug bug) {
  problem.poison();
  const auto params = problem.params();
  // Loads of A by a producer: two tiles of columns on one cluster, each of three steps.
  const int loads = (problem.n + 255) / 256 * ((problem.k + 127) / 128);
  const std::string fault = fault_of(problem.launch(1), options, [&](Machine machine) {
    Kernel::run(FaultyMachine(machine, bug, loads), params);
  });
  if (!fault.empty()) return fault;
  for (int r = 0; r < problem.m; ++r)
    for (int c = 0; c < problem.n; ++c)
      if (want[static_cast<std::size_t>(r * problem.n + c)] != problem.got(r, c)) return "wrong";
  return "";
}

TEST(Planted, EveryBugIsFound) {
  // Seven steps of K through four stages, two tiles: rings turn, factors and staging are used
  // again.
  DenseProblem<Dense<MmaType::s8_s8>> problem(200, 272, 880);
  std::vector<std::uint32_t> want;
  for (int r = 0; r < problem.m; ++r)
    for (int c = 0; c < problem.n; ++c) want.push_back(problem.expected(r, c));
  for (int b = 0; b < static_cast<int>(Bug::count); ++b) {
    const Bug bug = static_cast<Bug>(b);
    int times = 0, of = 0;
    std::string sentence;
    for (const Options& options : schedules(1)) {
      // A peer's arrival has to be late to find a CTA that has ended.
      if (bug == Bug::no_drain && options.landing != Landing::late) continue;
      const std::string fault = found(problem, want, options, bug);
      times += fault.empty() ? 0 : 1;
      ++of;
      if (!fault.empty()) sentence = fault;
    }
    EXPECT_EQ(bug == Bug::none ? 0 : of, times) << name_of(bug) << ": " << sentence;
    if (std::getenv("OCTAVO_SHOW_BUGS") != nullptr)
      std::printf("%-34s %d of %d  %s\n", name_of(bug), times, of, sentence.c_str());
  }
}

}  // namespace
}  // namespace octavo::test::planted_test
