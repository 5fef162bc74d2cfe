// SPDX-License-Identifier: Apache-2.0
// Plans of tensor forms hold for any offsets: one workspace for all of them, between guard pages.
#include <algorithm>

#include "core/problem/members.hpp"
#include "kit/operands/operands.hpp"
#include "kit/operands/random.hpp"
#include "ops/helpers.hpp"
#include "support/guard.hpp"
#include "support/lines.hpp"

namespace octavo::test::any_offsets_test {
namespace {

// Cumulative ends of groups: multiples of a step, but for the last one.
Tensor random_offsets(const Groups& groups, std::int64_t extent, std::int64_t step,
                      std::uint64_t seed) {
  const kit::Random random(seed);
  const std::int64_t count = groups.offs.shape[0];
  Tensor offs = Tensor::empty(int64, {count});
  auto* ends = offs.data_as<std::int64_t>();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto draw = random.bits(static_cast<std::uint64_t>(i));
    // A third of them at either end: empty groups, and one that has everything.
    const std::int64_t end = static_cast<std::int64_t>(draw >> 8) % (extent + 1);
    ends[i] = (draw % 3 == 0 ? 0 : draw % 3 == 1 ? extent : end) / step * step;
  }
  std::sort(ends, ends + count);
  if (groups.prefix) ends[0] = 0;
  if (count > 0) ends[count - 1] += (extent - ends[count - 1]) / 2;
  return offs;
}

TEST(PlansOfGroups, HoldForAnyOffsets) {
  std::vector<std::string> all{
      "grouped_mm e4m3fn:e4m3fn:bf16 scale=token:channel groups=30+40+0+90 160x70x300",
      "grouped_mm uint8:int8:fp32 scale=token:channel azp groups=30+40+0+90 160x70x300",
      "grouped_mm bf16:bf16:fp32 layout=strided groups=1+2+3+4+5 600x33x50",
      "grouped_mm e4m3fn:e5m2:fp32 scale=group16:block16x16 groups=40+9 49x130x3000",
      "grouped_mm int8:int8:fp32 scale=group32:none split=inner groups=512+512 40x70x1024",
      "grouped_mm e4m3fn:e4m3fn:fp32 scale=group16:group32 split=inner groups=64+64+64+64+64 "
      "70x11x320",
      "grouped_mm e4m3fn:e4m3fn:fp32 layout=strided split=inner groups=3+3+3+3+3+3+3+3+3+3 "
      "700x11x30",
      "grouped_mm fp32:fp32:fp32 split=columns layout=strided groups=64+64 30x128x100",
      "grouped_mm bf16:int8:fp32 split=columns scale=none:channel groups=1+100+27 300x128x70",
      // Weights that few rows read in place: the fewer they are, the more panels at once.
      "grouped_mm int8:int8:fp32 scale=token:channel azp layout=row groups=1+3+0+6 10x1500x300",
      "grouped_mm e4m3fn:e4m3fn:fp32 scale=group16:block16x16 layout=row groups=1+2+5 8x2500x320",
      "grouped_mm bf16:bf16:fp32 layout=row groups=2+2 4x4500x50",
      "grouped_mm int8:int8:fp32 scale=token:channel layout=row groups=8+5+3 32x2500x300",
      "grouped_mm e4m3fn:e4m3fn:fp32 scale=token:channel layout=row groups=16+3+9 40x2500x300",
      "grouped_mm int8:int8:fp32 scale=group32:none split=inner layout=row groups=64+64+64 "
      "3x2000x192",
      "grouped_mm bf16:bf16:fp32 split=columns layout=row groups=64+1000 3x1064x100",
      // Few rows a power of two apart are copied, many are not.
      "grouped_mm int8:int8:fp32 scale=token:channel groups=2+3+9+5+20 39x70x4096",
      "grouped_mm bf16:bf16:fp32 groups=2+3+4+30 39x70x2048",
      "grouped_mm bf16:bf16:fp32 groups=100+100+100+100 400x10x4096",
      "grouped_mm bf16:bf16:fp32 groups=20+3+40+37 100x260x512",
      // Rows that are transposed where there is AMX: those of a few members whole, of more not at
      // all.
      "grouped_mm int8:int8:fp32 scale=token:channel groups=17+200+40+300 557x300x700",
      "grouped_mm bf16:bf16:fp32 split=inner groups=64+200+36 40x70x300",
      "grouped_mm e4m3fn:e5m2:fp32 scale=token:channel groups=17+200+40+300 557x300x700",
      "grouped_mm bf16:int8:fp32 scale=none:channel layout=broadcast groups=20+33+64 117x100x300",
      "grouped_mm e4m3fn:e4m3fn:fp32 scale=token:channel layout=row groups=2+3+4+30 39x70x4096"};
  for (const std::string& line : lines_of("grouped")) all.push_back(line);
  int runs = 0;
  for (const std::string& text : all) {
    const ProblemLine line = parse_problem_line(text);
    kit::Operands operands(line, kit::Content::gaussian);
    const LineProblem made = make_problem(line, operands);
    MatmulProblem problem = made.problem();
    if (!has_offsets(problem)) continue;
    for (const char* backend : usable_backends()) {
      for (const std::int64_t step : {1, 16}) {
        ThreadExecutor executor(3);
        ExecContext context{.executor = &executor};
        problem.groups.start_alignment = step;
        const std::size_t bytes = workspace_bytes(problem, context, backend);
        const std::shared_ptr<void> memory = guarded(GuardedSide::right)(bytes);
        const Workspace workspace{memory.get(), bytes};
        for (std::uint64_t seed = 0; seed < 3; ++seed) {
          const Groups& own = made.problem().groups;
          const Tensor offs = random_offsets(own, cut_extent(problem), step, seed);
          problem.groups.offs = step == 1 && seed == 0 ? own.offs : offs.view();
          kit::poison_outputs(operands);
          run(problem, {.executor = &executor, .workspace = &workspace}, backend);
          const std::vector<std::uint8_t> lent = bytes_of(output(problem));
          kit::poison_outputs(operands);
          run(problem, context, backend);
          EXPECT_EQ(lent, bytes_of(output(problem))) << text << " on " << backend;
          ++runs;
        }
      }
    }
  }
  EXPECT_GT(runs, 100);
}

}  // namespace
}  // namespace octavo::test::any_offsets_test
