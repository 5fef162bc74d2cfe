// SPDX-License-Identifier: Apache-2.0
// Members to threads:
//
//   activations are quantised, members described
//   for each region: rows of members one after the other, as many as the last-level cache holds
//     rows of A that the kernels cannot read are converted, in parallel
//     every worker: its share of members x panels x rows, statically assigned
//
// Grouped problems of few rows are one region.
#include "backends/cpu/dot/driver.hpp"

#include <algorithm>
#include <type_traits>

#include "backends/arena.hpp"
#include "backends/cpu/dot/float_layout.hpp"
#include "backends/cpu/dot/int8_layout.hpp"
#include "backends/cpu/dot/member.hpp"
#include "backends/cpu/dot/tuning.hpp"
#include "backends/cpu/dot/worker.hpp"
#include "backends/cpu/streams.hpp"
#include "backends/host/zero.hpp"
#include "core/error.hpp"
#include "core/problem/members.hpp"
#include "core/problem/operand.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

// Work below which waking other threads costs more than it saves, about 6 us: in products of bytes,
// with a byte of B for six of them.
constexpr double kSerialWork = 3 << 20;
constexpr double kByteWork = 6;
constexpr std::int64_t kSerialConversion = 1 << 18;  // elements
double work_of(const DotMember& d) noexcept {
  const auto product = static_cast<double>(element_bytes(d.path.rows));
  return (static_cast<double>(d.m) * product + kByteWork) * static_cast<double>(d.n) *
         static_cast<double>(std::max<std::int64_t>(d.k, 1));
}

Panels panels_of(const DotMember& d) noexcept { return {nullptr, d.path.kernels().form, d.k, d.n}; }

// Cuts the rows of all members into regions whose rows of A a cache holds.
class Cutter {
 public:
  // Adds rows; true: they begin a new region.
  bool add(std::int64_t bytes) noexcept {
    const bool begins = count_ > 0 && bytes_ + bytes > cache_tuning().region_bytes;
    if (begins) count_ = bytes_ = 0;
    bytes_ += bytes;
    ++count_;
    return begins;
  }

 private:
  std::int64_t count_ = 0, bytes_ = 0;
};

bool quantizes(const MatmulProblem& problem) noexcept {
  const auto does = [](const Member& p) { return p.a.quantize != nullptr; };
  return problem.groups.split == Split::list ? std::ranges::any_of(problem.groups.list, does)
                                             : does(problem.single);
}

enum class Blocks : std::uint8_t {
  all,
  distinct,  ///< where several in a row are alike, as to a Cutter, one of them
};

// Calls visit(begin, end, bytes) for blocks of a member's rows. Two whole ones never share a
// region, so those between the second and the last are alike.
template <class Visit>
void for_each_block(const DotMember& d, Blocks which, const Visit& visit) noexcept {
  if (d.empty()) return;
  const std::int64_t row_bytes = std::max<std::int64_t>(d.k * element_bytes(d.path.rows), 1);
  const std::int64_t cached =
      std::max(cache_tuning().region_bytes / row_bytes, cache_tuning().region_rows);
  const std::int64_t last = (d.m - 1) / cached * cached;
  for (std::int64_t begin = 0; begin < d.m; begin += cached) {
    const std::int64_t end = std::min(d.m, begin + cached);
    visit(begin, end, (end - begin) * row_bytes);
    if (which == Blocks::distinct && begin == cached && begin < last) begin = last - cached;
  }
}

// Rows of a member in a region. What it costs is measured in `unit`s for a row and a vector.
struct Stretch {
  DotMember* member;
  std::int64_t begin, end;
  std::int64_t before, unit, cost;  // all stretches before it; of this one

  std::int64_t rows() const noexcept { return end - begin; }
};

// They lie in the workspace.
static_assert(std::is_trivially_copyable_v<DotMember> && std::is_trivially_copyable_v<Stretch>);

// A share of a region begins at a row of a panel of a stretch.
struct ShareStart {
  std::int64_t stretch, panel, row;
};

// The members of a problem, one region after the other.
class DotRun {
 public:
  // `path`: of all members, undefined where each may have its own.
  DotRun(const Backend& backend, const MatmulProblem& problem, const DotMachine& machine,
         const DotPath& path, const ExecContext& context) noexcept
      : backend_(backend),
        problem_(problem),
        machine_(machine),
        path_(path),
        context_(context),
        count_(group_count(problem)) {}

  Status measure_or_run(Arena& arena) noexcept;

 private:
  Status describe_one(const Member& given, Arena& arena, Member& own, DotMember& d) noexcept;
  Status describe_all(Arena& arena) noexcept;
  Status reserve_for_any(Arena& arena) noexcept;
  void reserve_scratch(const DotMember& d) noexcept;
  void add(DotMember& d, std::int64_t begin, std::int64_t end) noexcept;
  void run_region() noexcept;
  void convert_rows() noexcept;
  ShareStart begin_of(std::int64_t worker) const noexcept;
  void run_share(std::int64_t worker) const noexcept;

  const Backend& backend_;
  const MatmulProblem& problem_;
  const DotMachine& machine_;
  const DotPath& path_;
  const ExecContext& context_;
  std::int64_t count_;
  std::int64_t workers_ = 1;
  DotMember* members_ = nullptr;
  Member* own_ = nullptr;  // members that this call cuts, or quantises the activations of
  // Of a worker, and of the hungriest region.
  std::int64_t scratch_bytes_ = 0, converted_bytes_ = 0;
  std::int64_t written_bytes_ = 0;  // of all outputs
  char* scratch_ = nullptr;
  char* converted_ = nullptr;
  // The region at hand.
  Stretch* stretches_ = nullptr;
  std::int64_t stretch_count_ = 0, cost_ = 0, region_panels_ = 0, region_rows_ = 0, elements_ = 0;
  char* free_ = nullptr;  // of converted_
};

// Is packing a weight [N, K] in the call less work than turning the sums of transposed rows back?
// Four lines of a column take about as long as its sums of 16 rows.
bool packs_sooner(const Member& p, const DotPath& path) noexcept {
  const std::int64_t k = p.a.data.shape[1];
  const std::int64_t lines = (k * element_bytes(path.rows) + 63) / 64;
  return 4 * lines <= p.a.data.shape[0] / kTransposedRows;
}

// The path of a member. Where offsets cut members, neither rows nor K are known when memory is
// reserved for them: they are transposed whatever they are.
const char* path_of(const Member& p, const MatmulProblem& problem, const DotMachine& machine,
                    DotPath& path) noexcept {
  const char* why = find_path(p, problem.options, machine, path);
  if (why == nullptr && !has_offsets(problem) && packs_sooner(p, path)) path.transposed = nullptr;
  return why;
}

// What is at hand for this call alone is copied to `own`.
Status DotRun::describe_one(const Member& given, Arena& arena, Member& own, DotMember& d) noexcept {
  new (&d) DotMember{.p = &given, .path = path_};
  d.m = given.a.data.shape[0];
  d.n = weight_columns(given.b);
  if (d.empty()) return {};
  if (path_.on_the_fly == nullptr) (void)path_of(given, problem_, machine_, d.path);
  if (is_tensor_form(problem_) || given.a.quantize != nullptr) {
    d.p = new (&own) Member(given);
    OCTAVO_TRY(backend_.passes.quantize_activations(own, problem_.options, arena, context_));
  }
  describe(problem_.options, context_, arena, d);
  return {};
}

void DotRun::reserve_scratch(const DotMember& d) noexcept {
  Arena counter(nullptr);
  (void)take_scratch(d, counter);
  scratch_bytes_ = std::max(scratch_bytes_, static_cast<std::int64_t>(counter.used()));
}

Status DotRun::describe_all(Arena& arena) noexcept {
  double work = 0.0;
  std::int64_t converted = 0;
  Cutter cutter;
  Member cut, unkept_own;
  DotMember unkept;
  for (std::int64_t g = 0; g < count_; ++g) {
    DotMember& d = arena.counting() ? unkept : members_[g];
    Member& own = own_ == nullptr ? unkept_own : own_[g];
    OCTAVO_TRY(describe_one(member_in(problem_, g, cut), arena, own, d));
    if (d.empty()) continue;
    work += work_of(d);
    const MatrixView& out = d.p->out;
    written_bytes_ = saturating_sum(written_bytes_, out.numel() * element_bytes(out.dtype));
    reserve_scratch(d);
    const auto count = [&](std::int64_t begin, std::int64_t end, std::int64_t bytes) {
      if (cutter.add(bytes)) converted = 0;
      converted = saturating_sum(converted, converted_bytes(d, end - begin));
      converted_bytes_ = std::max(converted_bytes_, converted);
    };
    for_each_block(d, Blocks::distinct, count);
  }
  if (work >= kSerialWork) workers_ = std::max(1, executor_of(context_).concurrency());
  return {};
}

// What the members of a tensor form take, wherever they are cut: nothing grows faster than what is
// cut but by what a member of one row, column or element of K takes, three times for a beginning,
// an end and alignment.
Status DotRun::reserve_for_any(Arena& arena) noexcept {
  const bool cuts_rows = problem_.groups.split == Split::rows;
  const bool cuts_inner = problem_.groups.split == Split::inner;
  const std::int64_t all = cut_extent(problem_);
  Member own;
  DotMember whole, least;
  Arena of_whole(nullptr), of_least(nullptr);
  OCTAVO_TRY(describe_one(cut_to(problem_, std::min<std::int64_t>(all, 1)), of_least, own, least));
  OCTAVO_TRY(describe_one(cut_to(problem_, all), of_whole, own, whole));
  if (whole.empty()) return {};
  const auto bytes_of_least = static_cast<std::int64_t>(of_least.used());
  (void)arena.take<char>(static_cast<std::int64_t>(of_whole.used()));
  (void)arena.take<char>(saturating_product(3 * count_, bytes_of_least));
  // Of rows for which an unpacked weight may be read in place, that what is read side by side
  // takes most for one of these numbers is all that is known, and whether any of them are
  // converted.
  bool few_converted = false, few_transposed = false;
  for (const std::int64_t most :
       {all, kMostUnpackedRows, cache_tuning().few_rows, std::int64_t{16}, std::int64_t{8},
        std::int64_t{4}, std::int64_t{3}, std::int64_t{2}, std::int64_t{1}}) {
    const std::int64_t extent = std::min(all, most);
    DotMember d;
    Arena counter(nullptr);
    OCTAVO_TRY(describe_one(cut_to(problem_, extent), counter, own, d));
    lengthen(d);
    reserve_scratch(d);
    if (lengthen_shared(d)) reserve_scratch(d);
    few_converted = few_converted || d.converted;
    few_transposed = few_transposed || d.transposed != nullptr;
  }
  if (work_of(whole) + static_cast<double>(count_) * work_of(least) >= kSerialWork) {
    workers_ = std::max(1, executor_of(context_).concurrency());
  }
  if (!whole.converted && !few_converted) return {};
  const std::int64_t row = std::max<std::int64_t>(whole.k * element_bytes(whole.path.rows), 1);
  const std::int64_t all_rows = cuts_rows ? whole.m : saturating_product(whole.m, count_);
  const std::int64_t few_rows = saturating_product(kMostUnpackedRows, count_);
  const std::int64_t rows = whole.converted ? all_rows : std::min(all_rows, few_rows);
  const std::int64_t bytes = saturating_product(cuts_inner ? whole.m : rows, row);
  const std::int64_t most_bytes = std::min(
      bytes,
      std::max(cache_tuning().region_bytes, saturating_product(cache_tuning().region_rows, row)));
  const std::int64_t most_rows = cuts_inner ? rows : std::min(rows, most_bytes / row);
  converted_bytes_ = saturating_sum(saturating_sum(most_bytes, 64 * count_),
                                    saturating_product(most_rows, kRowPadding));
  if (!few_transposed) return {};
  // (row + 63) (rows + 32) of each member: steps to a multiple of 64 bytes, and rows to one of 16
  // and an odd number of lines.
  const std::int64_t beside = saturating_product(32, saturating_sum(row, 63));
  converted_bytes_ =
      saturating_sum(converted_bytes_, saturating_product(beside, cuts_inner ? 1 : count_));
  converted_bytes_ = saturating_sum(converted_bytes_, 32 * 64 * count_);
  return {};
}

Status DotRun::measure_or_run(Arena& arena) noexcept {
  members_ = arena.take<DotMember>(count_);
  stretches_ = arena.take<Stretch>(count_);
  if (is_tensor_form(problem_) || quantizes(problem_)) own_ = arena.take<Member>(count_);
  OCTAVO_TRY(arena.counting() && has_offsets(problem_) ? reserve_for_any(arena)
                                                       : describe_all(arena));
  if (workers_ > 1) scratch_bytes_ = saturating_sum(scratch_bytes_, cache_tuning().scratch_gap);
  scratch_ = arena.take<char>(saturating_product(scratch_bytes_, workers_));
  converted_ = arena.take<char>(converted_bytes_);
  if (arena.counting()) return {};
  free_ = converted_;
  Cutter cutter;
  for (std::int64_t g = 0; g < count_; ++g) {
    DotMember& d = members_[g];
    for_each_block(d, Blocks::all, [&](std::int64_t begin, std::int64_t end, std::int64_t bytes) {
      if (cutter.add(bytes)) run_region();
      add(d, begin, end);
    });
  }
  run_region();
  return {};
}

void DotRun::add(DotMember& d, std::int64_t begin, std::int64_t end) noexcept {
  const std::int64_t rows = end - begin;
  const Panels panels = panels_of(d);
  // What a vector costs for all rows, and for each of them.
  const std::int64_t vector =
      std::max<std::int64_t>(d.k, 1) * std::max(rows, cache_tuning().free_rows);
  // Costs are shares of 2^62, whatever they are made of.
  const std::int64_t most = (std::int64_t{1} << 62) / count_ / (panels.vectors() * rows);
  const std::int64_t unit =
      std::clamp<std::int64_t>(vector / rows, 1, std::max<std::int64_t>(most, 1));
  const std::int64_t cost = panels.vectors() * rows * unit;
  stretches_[stretch_count_++] = {&d, begin, end, cost_, unit, cost};
  cost_ += cost;
  region_panels_ += panels.count();
  if (!d.converted) return;
  d.rows = free_ - begin * d.row_bytes;
  free_ += converted_bytes(d, rows);
  region_rows_ += rows;
  elements_ += rows * d.k;
}

void DotRun::run_region() noexcept {
  if (stretch_count_ == 0) return;
  convert_rows();
  parallel_for(context_, workers_, [&](std::int64_t worker) { run_share(worker); });
  stretch_count_ = cost_ = region_panels_ = region_rows_ = elements_ = 0;
  free_ = converted_;
}

void DotRun::convert_rows() noexcept {
  if (region_rows_ == 0) return;
  const std::int64_t tasks = elements_ < kSerialConversion ? 1 : workers_;
  parallel_for(context_, tasks, [&](std::int64_t task) {
    const std::int64_t begin = region_rows_ * task / tasks;
    const std::int64_t end = region_rows_ * (task + 1) / tasks;
    std::int64_t before = 0;
    for (const Stretch* s = stretches_; s != stretches_ + stretch_count_; ++s) {
      const DotMember& d = *s->member;
      if (!d.converted) continue;
      const std::int64_t first = std::max<std::int64_t>(begin - before, 0);
      const std::int64_t last = std::min(end - before, s->rows());
      if (first < last) cpu::convert_rows(d, s->begin + first, s->begin + last);
      before += s->rows();
    }
  });
}

// A panel is cut between tiles, and only where whole panels would not balance.
ShareStart DotRun::begin_of(std::int64_t worker) const noexcept {
  if (worker == workers_) return {stretch_count_, 0, 0};
  const auto part = static_cast<double>(worker) / static_cast<double>(workers_);
  const auto position = static_cast<std::int64_t>(static_cast<double>(cost_) * part);
  const Stretch* first = stretches_;
  const Stretch* after =
      std::upper_bound(first, first + stretch_count_, position,
                       [](std::int64_t at, const Stretch& s) { return at < s.before; });
  const Stretch& s = after[-1];
  const std::int64_t index = after - 1 - first;
  const Panels panels = panels_of(*s.member);
  const std::int64_t rows = s.rows();
  const std::int64_t inside = (position - s.before) / s.unit;  // vectors x rows
  const std::int64_t panel = std::min(inside / (kPanelVectors * rows), panels.count() - 1);
  // Kernels that read a weight in place take all rows at once.
  const bool few = region_panels_ < 4 * workers_ && s.member->unpacked == nullptr;
  const std::int64_t grain = s.member->transposed != nullptr ? kTransposedRows
                             : rows > 24                     ? 6
                             : few                           ? 4
                                                             : rows;
  const std::int64_t exact = (inside - panel * kPanelVectors * rows) / panels.vectors(panel);
  const std::int64_t cut = (exact + grain / 2) / grain * grain;
  const std::int64_t row = exact >= rows ? rows : std::min(rows, cut);
  if (row < rows) return {index, panel, row};
  return panel + 1 < panels.count() ? ShareStart{index, panel + 1, 0} : ShareStart{index + 1, 0, 0};
}

void DotRun::run_share(std::int64_t index) const noexcept {
  const ShareStart begin = begin_of(index);
  const ShareStart end = begin_of(index + 1);
  for (std::int64_t i = begin.stretch; i <= end.stretch && i < stretch_count_; ++i) {
    const Stretch& s = stretches_[i];
    const std::int64_t panels = panels_of(*s.member).count();
    const ShareStart from = i == begin.stretch ? begin : ShareStart{i, 0, 0};
    const ShareStart to = i == end.stretch ? end : ShareStart{i, panels, 0};
    if (from.panel == to.panel && from.row >= to.row) continue;
    Arena own(scratch_ + index * scratch_bytes_);
    const DotScratch w = take_scratch(*s.member, own);
    DotWorker worker(*s.member, problem_.options, w, written_bytes_ >= kStreamedBytes);
    for (std::int64_t panel = from.panel, count = 1; panel <= to.panel; panel += count) {
      const std::int64_t r0 = panel == from.panel ? from.row : 0;
      const std::int64_t r1 = panel == to.panel ? to.row : s.rows();
      count = 1;
      if (r0 >= r1) continue;
      const std::int64_t a0 = s.begin + r0, a1 = s.begin + r1;
      if (r0 == 0 && panel < to.panel) count = std::min(s.member->strip, to.panel - panel);
      const std::int64_t after = panel + count;
      const std::int64_t next = after < to.panel || (after == to.panel && to.row > 0) ? after : -1;
      if (s.member->unpacked != nullptr) {
        // Of the stretch behind this one, if the share goes on there.
        const bool goes_on =
            i + 1 < end.stretch || (i + 1 == end.stretch && end.panel + end.row > 0);
        const bool more = next < 0 && goes_on;
        const Stretch& of = stretches_[more ? i + 1 : i];
        worker.run_unpacked(panel, count, a0, a1,
                            DotWorker::stream_of(*of.member, more ? 0 : next, of.rows()));
      } else if (s.member->strip > 1) {
        worker.run_strip(panel, count, a0, a1);
      } else {
        worker.run(panel, a0, a1, next);
      }
    }
  }
  if (machine_.integers != nullptr && machine_.integers->leave != nullptr) {
    machine_.integers->leave();
  }
}

// For explain.
void say_how(const Member& p, const MatmulOptions& options, const DotPath& path,
             Plan& plan) noexcept {
  const DotKernels& kernels = path.kernels();
  plan.how = kernels.how;
  if (path.direct != nullptr) return;
  if (p.b.packed != nullptr) {
    const WeightLayout* layout = p.b.packed->content()->layout;
    const bool own = layout == &kInt8Layout || layout == float_layout(weight_dtype(p.b));
    plan.weight = own ? "packed; every call widens it, a part of a panel at a time"
                      : "packed otherwise; every call turns it into the panels of these kernels";
  } else if (unpacked_kernel(p, options, path) != nullptr) {
    plan.how = path.unpacked->how_unpacked;
    plan.weight = "read in place, once; pack() makes one stream of it";
  } else if (transposed_unpacked(p, options, path) != nullptr) {
    plan.how = path.transposed->how;
    plan.weight = "read in place; pack() makes one stream of it";
  } else {
    plan.weight = "packed by every call; pack() does it once";
  }
}

}  // namespace

const char* plan_dot(const Backend& backend, const MatmulProblem& problem,
                     const DotMachine& machine, int threads, Plan& plan) noexcept {
  plan.how = "no groups, nothing to multiply";
  DotPath path;
  Member cut;
  for (std::int64_t g = 0; g < distinct_members(problem); ++g) {
    const Member& part = planned_member(problem, g, cut);
    const char* why = path_of(part, problem, machine, path);
    if (why != nullptr) return why;
    if (g == 0) say_how(part, problem.options, path, plan);
    plan.flushes = plan.flushes || flushes(part, machine, path);
  }
  // Cut along K all have as many rows, and the path of a start that is a multiple of least.
  const bool groups = problem.groups.split != Split::none && problem.groups.split != Split::inner;
  if (problem.groups.split == Split::list || (groups && path.of_rows)) path = {};
  plan.keep(path);
  PinnedExecutor executor(serial_executor(), threads);
  const ExecContext context{.executor = &executor};
  Arena arena(nullptr);
  (void)DotRun(backend, problem, machine, path, context).measure_or_run(arena).ok();
  plan.workspace_bytes = arena.used();
  return nullptr;
}

Status run_dot(const Backend& backend, const MatmulProblem& problem, const DotMachine& machine,
               const Plan& plan, const ExecContext& context, void* workspace,
               std::size_t& used) noexcept {
  const auto path = plan.kept<DotPath>();
  Arena arena(workspace);
  OCTAVO_TRY(DotRun(backend, problem, machine, path, context).measure_or_run(arena));
  used = arena.used();
  fill_zero(tail(problem));
  return {};
}

}  // namespace octavo::cpu
