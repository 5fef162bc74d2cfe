// SPDX-License-Identifier: Apache-2.0
// Chunks of K as kernels walk along them, beside those that the host cuts.
#include <gtest/gtest.h>

#include <string>

#include "backends/cuda/kernels/common/chunk_at_hand.hpp"
#include "core/scales/grid.hpp"

namespace octavo::test::chunk_at_hand_test {
namespace {

using cuda::ChunkAtHand;
using cuda::ChunkSteps;

std::int64_t chunk_of(const KChunks& chunks, std::int64_t k) {
  std::int64_t c = 0;
  while (chunks[c].end <= k) ++c;
  return c;
}

// At every `stride`-th element, so that whole chunks are passed over, too.
void expect_same_chunks(const KChunks& chunks, std::int64_t stride) {
  const ChunkSteps steps(chunks);
  ChunkAtHand at_hand(steps);
  std::int64_t before = chunk_of(chunks, 0);
  ASSERT_EQ(at_hand.end(), chunks[before].end);
  for (std::int64_t k = 0; k < chunks.inner; k += stride) {
    const std::int64_t now = chunk_of(chunks, k);
    ASSERT_EQ(at_hand.pass(k), now != before) << k;
    ASSERT_EQ(at_hand.end(), chunks[now].end) << k;
    before = now;
  }
  EXPECT_FALSE(at_hand.pass(chunks.inner));
}

TEST(ChunkAtHand, EndsWhereTheHostCuts) {
  for (const std::int64_t inner : {1, 3, 5, 96, 129, 300, 1000, 4100}) {
    for (const std::int64_t count : {1, 2, 5, 7, 24, 1000}) {
      for (const std::int64_t cell : {1, 3, 32, 128, 700}) {
        SCOPED_TRACE(std::to_string(inner) + " in " + std::to_string(count) + ", cells of " +
                     std::to_string(cell));
        for (const std::int64_t stride : {1, 4, 37, 500})
          expect_same_chunks({inner, count, cell}, stride);
      }
    }
  }
}

TEST(ChunkAtHand, EndsWhereTheHostCutsALongK) {
  constexpr std::int64_t kLong = (std::int64_t{1} << 62) - 5;
  for (const std::int64_t count : {2, 24, 1000})
    expect_same_chunks({kLong, count, 1}, kLong / 5000);
}

TEST(ChunkAtHand, AnEmptyKHasOne) {
  const ChunkSteps steps(KChunks{0, 24, 1});
  ChunkAtHand at_hand(steps);
  EXPECT_EQ(at_hand.end(), 0);
  EXPECT_FALSE(at_hand.pass(0));
}

}  // namespace
}  // namespace octavo::test::chunk_at_hand_test
