// SPDX-License-Identifier: Apache-2.0
// What a problem costs at least: rows that count, and members one after the other.
#include "kit/operands/work.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "kit/operands/operands.hpp"
#include "kit/timing/measure.hpp"
#include "octavo/problem_line.hpp"

namespace octavo {
namespace {

struct Made {
  explicit Made(const char* text)
      : operands(parse_problem_line(text), kit::Content::uniform),
        problem(make_problem(parse_problem_line(text), operands)) {}
  kit::Operands operands;
  LineProblem problem;
};

TEST(Work, OfAMemberWithoutRowsIsNothing) {
  const Made made("grouped_mm int8:int8:fp32 split=list groups=2+0+6 scale=token:channel 8x16x32");
  const kit::Work work = kit::work_of(made.problem.problem());
  ASSERT_EQ(work.members.size(), 2U);
  EXPECT_EQ(work.members[0].ops, 2.0 * 2 * 16 * 32);
  // Weights, activations, output, scales of tokens and of channels.
  EXPECT_EQ(work.members[0].bytes, 16.0 * 32 + 2 * 32 + 4 * 2 * 16 + 4 * 2 + 4 * 16);
  EXPECT_EQ(work.ops, 2.0 * 8 * 16 * 32);
  EXPECT_EQ(work.bytes, work.members[0].bytes + work.members[1].bytes);
}

TEST(Work, PackedWeightsCountAsTheirCodes) {
  const Made plain("scaled_mm int8:int8:fp32 scale=token:channel 3x65x33");
  const Made packed("scaled_mm int8:int8:fp32 scale=token:channel prepacked 3x65x33");
  EXPECT_EQ(kit::work_of(plain.problem.problem()).bytes,
            kit::work_of(packed.problem.problem()).bytes);
}

TEST(Work, ScalesOfCutCellsCount) {
  const Made made("scaled_mm e4m3fn:e4m3fn:fp32 scale=group32:block32x32 3x40x33");
  const double scales = 4.0 * (3 * 2 + 2 * 2);  // two cells along K, the last of one element
  EXPECT_EQ(kit::work_of(made.problem.problem()).bytes, 40.0 * 33 + 3 * 33 + 4 * 3 * 40 + scales);
}

TEST(Rounds, ScalingIsTheTimeOfOneThreadOverThatOfAll) {
  kit::MeasureOptions options;
  options.sample_seconds = 1e-4;
  kit::Rounds rounds({.ops = 0, .bytes = 8, .members = {{0, 8}}}, std::nullopt, options);
  rounds.end(1.0, 1.5, 4.0);
  EXPECT_EQ(rounds.timing().scaling.value, 4.0);
  EXPECT_EQ(rounds.timing().noise.value, 1.5);
}

TEST(Figure, FastestPeerIsRightAndRan) {
  kit::Figure figure;
  EXPECT_EQ(kit::fastest_peer(figure), nullptr);
  const auto add = [&](const char* name, double ratio, double error, const char* not_run) {
    kit::PeerFigure peer;
    peer.name = name;
    peer.ratio.value = ratio;
    peer.max_error_ratio = error;
    peer.not_run = not_run;
    figure.peers.push_back(peer);
  };
  add("slow", 5.0, 0.5, "");
  add("wrong", 1.0, 1.5, "");
  add("absent", 0.0, 0.0, "it was not found");
  add("fast", 2.0, 1.0, "");
  add("middling", 3.0, 0.0, "");
  ASSERT_NE(kit::fastest_peer(figure), nullptr);
  EXPECT_EQ(kit::fastest_peer(figure)->name, "fast");
}

TEST(Floor, IsTheSumOfTheMembersOwn) {
  const kit::Work work{.ops = 10e9, .bytes = 5e9, .members = {{1e9, 3e9}, {9e9, 2e9}}};
  // 3 s of reading, then 4.5 s of computing; one product of that size would take 5 s.
  const kit::Floor floor = work.floor(2.0, 1.0);
  EXPECT_DOUBLE_EQ(floor.seconds, 7.5);
  EXPECT_FALSE(floor.memory_bound);
  EXPECT_TRUE(work.floor(2000.0, 1.0).memory_bound);
}

}  // namespace
}  // namespace octavo
