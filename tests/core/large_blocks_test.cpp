// SPDX-License-Identifier: Apache-2.0
// Large blocks come back to whoever asks for their length, and belong to one at a time.
#include "core/devices/large_blocks.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "octavo/tensor.hpp"

namespace octavo::test::large_blocks_test {
namespace {

constexpr std::int64_t kMegabyte = std::int64_t{1} << 20;

Tensor bytes_of(std::int64_t bytes) { return Tensor::empty(DType::uint8, {bytes}); }

TEST(LargeBlocks, ATensorOfTheSameLengthFindsThemAgain) {
  for (const std::int64_t bytes : {2 * kMegabyte, 3 * kMegabyte, 40 * kMegabyte + 7}) {
    Tensor first = bytes_of(bytes);
    void* const data = first.data();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % kLargePage, 0U);
    first = {};
    const Tensor again = bytes_of(bytes);
    EXPECT_EQ(again.data(), data) << bytes;
    const Tensor beside = bytes_of(bytes);
    EXPECT_NE(beside.data(), data) << bytes;
  }
}

TEST(LargeBlocks, AreAsLongAsIsAskedAndNoLongerThanAllowed) {
  LargeBlock kept = take_large_block(32 << 20, 32 << 20);
  ASSERT_NE(kept.data, nullptr);
  EXPECT_EQ(kept.bytes, std::size_t{32} << 20);
  char* const data = kept.data.get();
  keep_large_block(std::move(kept));
  const LargeBlock shorter = take_large_block(30 << 20, 30 << 20);
  EXPECT_NE(shorter.data.get(), data);
  const LargeBlock any = take_large_block(30 << 20, static_cast<std::size_t>(-1));
  EXPECT_GE(any.bytes, std::size_t{30} << 20);
  std::memset(any.data.get(), 1, any.bytes);
}

// More of them than are kept, of more bytes than are kept, on several threads.
TEST(LargeBlocks, BelongToOneAtATime) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 40; ++i) {
        std::vector<Tensor> tensors;
        for (int t = 0; t < 6; ++t) {
          tensors.push_back(bytes_of((2 + (i + t) % 5) * kMegabyte));
          std::memset(tensors.back().data(), 16 * thread + t, 4096);
        }
        for (int t = 0; t < 6; ++t) {
          const auto* data =
              static_cast<const unsigned char*>(tensors[static_cast<std::size_t>(t)].data());
          wrong += static_cast<int>(data[0] != 16 * thread + t || data[4095] != data[0]);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(LargeBlocks, ThatAreTooLongAreNotKept) {
  const std::int64_t bytes = 300 * kMegabyte;
  { const Tensor large = bytes_of(bytes); }
  const LargeBlock other = take_large_block(257 << 20, static_cast<std::size_t>(-1));
  EXPECT_LT(other.bytes, static_cast<std::size_t>(bytes));
}

}  // namespace
}  // namespace octavo::test::large_blocks_test
