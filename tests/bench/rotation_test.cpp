// SPDX-License-Identifier: Apache-2.0
// Cold weights: what a call reads does not come again before kColdBytes were read.
#include "kit/operands/rotation.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "kit/operands/work.hpp"
#include "octavo/packed.hpp"

namespace octavo {
namespace {

// Two of four experts have rows; 8 MB of weights each.
ProblemLine experts(const char* words) {
  return parse_problem_line(std::string("grouped_mm int8:int8:fp32 split=list groups=1+0+0+2 ") +
                            words + " scale=token:channel 3x2048x4096");
}

// Where a member's weight lies.
const void* place(const Member& m) {
  return m.b.packed != nullptr ? static_cast<const void*>(m.b.packed->content()) : m.b.data.data;
}

class ColdList : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Packed, ColdList, testing::Values("", "prepacked"));

TEST_P(ColdList, TakesTurnsOnAllExperts) {
  kit::Rotation rotation(experts(GetParam()), true, nullptr);
  std::vector<const void*> read;
  double bytes = 0.0;
  while (bytes < kit::kColdBytes) {
    const MatmulProblem& p = rotation.next();
    for (const std::int64_t g : {0, 3}) {
      read.push_back(place(member(p, g)));
      bytes += kit::weight_bytes(member(p, g).b);
    }
  }
  EXPECT_EQ(std::set<const void*>(read.begin(), read.end()).size(), read.size());
  EXPECT_EQ(place(member(rotation.next(), 0)), read.front());
  EXPECT_EQ(member(rotation.first(), 3).out.data, member(rotation.next(), 3).out.data);
}

// Of groups that offsets cut a call reads the weights that have rows, and others do not count.
TEST(ColdGroups, TakeTurnsOnWhatACallReads) {
  kit::Rotation rotation(parse_problem_line("grouped_mm int8:int8:fp32 groups=1+1+1+0 "
                                            "scale=token:channel 3x2048x4096"),
                         true, nullptr);
  std::set<const void*> read;
  double bytes = 0.0;
  while (bytes < kit::kColdBytes) {
    const MatmulProblem& p = rotation.next();
    for (const std::int64_t g : {0, 1, 2}) {
      EXPECT_TRUE(read.insert(place(member(p, g))).second) << bytes;
      bytes += kit::weight_bytes(member(p, g).b);
    }
  }
}

TEST(WarmList, KeepsItsOwnWeights) {
  kit::Rotation rotation(experts("prepacked"), false, nullptr);
  for (int i = 0; i < 3; ++i) {
    for (const std::int64_t g : {0, 3}) {
      EXPECT_EQ(place(member(rotation.next(), g)), place(member(rotation.first(), g)));
    }
  }
}

// 256 MB of them would be gigabytes of what describes them.
TEST(ColdProduct, OfASmallWeightHasABoundedNumberOfSets) {
  for (const char* line : {"scaled_mm int8:int8:fp32 1x1x1",
                           "grouped_mm bf16:bf16:bf16 split=list groups=1+0+1 2x3x5"}) {
    kit::Rotation rotation(parse_problem_line(line), true, nullptr);
    std::set<const void*> places;
    for (std::size_t i = 0; i < 4 * kit::kMostSets; ++i) {
      const MatmulProblem& p = rotation.next();
      places.insert(place(member(p, 0)));
    }
    EXPECT_GE(places.size(), kit::kMostSets) << line;
    EXPECT_LE(places.size(), 3 * kit::kMostSets) << line;
  }
}

TEST(ColdProduct, TakesTurnsOnCopies) {
  kit::Rotation rotation(parse_problem_line("scaled_mm int8:int8:fp32 2x16384x4096"), true,
                         nullptr);
  const void* first = place(member(rotation.next(), 0));
  std::set<const void*> places{first};
  for (int i = 0; i < 3; ++i) places.insert(place(member(rotation.next(), 0)));
  EXPECT_EQ(places.size(), 4U);
  EXPECT_EQ(place(member(rotation.next(), 0)), first);
}

}  // namespace
}  // namespace octavo
