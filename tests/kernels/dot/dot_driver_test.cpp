// SPDX-License-Identifier: Apache-2.0
// The loops around the dot-product tiles, on every table of kernels: how work is
// shared out, blocks of rows, chunks of K, and a workspace of exactly the announced size.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "kernels/rows/block.hpp"
#include "dot_runs.hpp"
#include "kernels/machines/machines.hpp"
#include "octavo/octavo.hpp"

namespace octavo::test::dot_driver_test {
namespace {

constexpr std::int64_t kBytes = 4 << 20;

template <class T>
const Block<T>& random_bytes(std::uint64_t seed) {
  static const Block<T> bytes = [seed] {
    const Block<T> made(kBytes);
    const kit::Random random(seed);
    for (std::int64_t i = 0; i < kBytes; ++i) made[i] = static_cast<T>(byte_of(random, i));
    return made;
  }();
  return bytes;
}

// The last bytes of the block: nothing may be read past them. Tall ones overlap: rows follow each
// other at a distance that is not their length, so that 4 MB are enough.
template <class T>
TensorView matrix(DType dtype, std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  const Block<T>& bytes = random_bytes<T>(seed);
  const std::int64_t room = kBytes - cols;
  const std::int64_t step = rows * cols <= kBytes ? cols : room / rows;
  TensorView v(bytes.data() + kBytes - ((rows - 1) * step + cols), dtype, {rows, cols});
  v.strides[0] = step;
  return v;
}

struct Shape {
  std::int64_t m, n, k;
};

// Every number of threads, packed and not, gives generic's int32 sums and float rows.
void expect_generic(const Shape& s, DType a_type, const std::vector<int>& threads) {
  const TensorView a = a_type == int8 ? matrix<std::int8_t>(int8, s.m, s.k, 1)
                                      : matrix<std::uint8_t>(uint8, s.m, s.k, 2);
  const TensorView b = matrix<std::int8_t>(int8, s.n, s.k, 1).transposed();
  PackedWeight packed;
  if (dot_packer() != nullptr) packed = pack(b, {.activation = {}, .backend = dot_packer()});
  const ScaledMmOptions exact{.out_dtype = int32, .backend = "generic"};
  const Tensor want = scaled_mm(a, b, exact);
  const auto bytes = static_cast<std::size_t>(s.m * s.n) * sizeof(std::int32_t);
  const Block<std::int32_t> memory(s.m * s.n);
  const TensorView out(memory.data(), int32, {s.m, s.n});
  for (const cpu::IntegerKernels* kernels : integer_kernels()) {
    for (const bool is_packed : {false, true}) {
      if (is_packed && !packed.defined()) continue;
      const MatmulProblem problem = scaled_mm_problem(a, is_packed ? Operand(packed) : Operand(b),
                                                      {.out_dtype = int32, .out = out});
      for (const int count : threads) {
        Pretender executor(count);
        std::memset(memory.data(), 0xA5, bytes);
        run_alone({.integers = kernels}, problem, {.executor = &executor});
        ASSERT_EQ(executor.most_tasks(), count) << "too little work to be shared out";
        ASSERT_EQ(std::memcmp(memory.data(), want.data(), bytes), 0)
            << kernels->dot.how << ", " << s.m << 'x' << s.n << 'x' << s.k << ", " << count
            << " threads" << (is_packed ? ", packed" : "");
      }
    }
  }
}

// The K that makes a product worth more than one thread.
std::int64_t enough(std::int64_t m, std::int64_t n) { return (7 << 19) / ((m + 6) * n) + 1; }

TEST(DotDriver, SharesOutEveryRowAndPanelOnce) {
  // Every number of rows is shared out to every number of threads, among odd or even columns.
  const std::vector<int> threads[] = {{1, 3, 5}, {2, 4, 16}};
  for (const std::int64_t n : {64, 65, 129, 256, 257, 513}) {
    for (std::int64_t m = 1; m <= 30; ++m) {
      expect_generic({m, n, enough(m, n)}, m % 2 != 0 ? int8 : uint8, threads[(m + n) % 2]);
    }
  }
  for (const std::int64_t m : {31, 48, 49, 200, 512, 513, 1025, 1100}) {
    for (const std::int64_t n : {2, 15, 17, 64, 65, 130}) {
      expect_generic({m, n, enough(m, n)}, int8, {1, 2, 3, 4, 5});
    }
  }
}

TEST(DotDriver, TakesOneByOneAndEveryNarrowPanel) {
  for (std::int64_t n = 1; n <= 70; ++n) expect_generic({1 + n % 27, n, 1 + n % 9}, int8, {1});
}

TEST(DotDriver, AddsUpChunksOfK) {
  for (const std::int64_t k : {4095, 4096, 4097, 4100, 8192, 8193, 12290, 65536}) {
    for (const std::int64_t m : {1, 6, 7, 24, 25}) expect_generic({m, 70, k}, int8, {1});
  }
  expect_generic({1030, 33, 4097}, int8, {1, 3});
  // More rows of A than its share of the last-level cache.
  expect_generic({700, 65, 30000}, int8, {1, 4});
}

// Runs one of the tasks only.
class OneTask final : public Executor {
 public:
  OneTask(int threads, std::int64_t which) noexcept : threads_(threads), which_(which) {}
  int concurrency() const noexcept override { return threads_; }
  void parallel(std::int64_t tasks, Task task, void* context) noexcept override {
    if (which_ < tasks) task(context, which_);
  }

 private:
  int threads_;
  std::int64_t which_;
};

// Every share of `count` products of one shape is as large as the others, but for what a cut is
// rounded to: the rows of a tile, or a whole panel of few rows.
void expect_even_shares(const Shape& s, std::size_t count, int threads) {
  const TensorView a = matrix<std::uint8_t>(uint8, s.m, s.k, 2);
  const TensorView b = matrix<std::int8_t>(int8, s.n, s.k, 1).transposed();
  std::vector<Tensor> outs;
  std::vector<Member> members;
  for (std::size_t i = 0; i < count; ++i) {
    outs.push_back(Tensor::empty(int32, {s.m, s.n}));
    members.push_back(scaled_mm_problem(a, b, {.out_dtype = int32, .out = outs.back()}).single);
  }
  MatmulProblem problem;
  problem.operation = "grouped_mm";
  problem.groups.split = Split::list;
  problem.groups.list = members;
  constexpr int kPoison = 0xA5;
  const std::int64_t rounded = (s.m > 24 ? 6 : s.m) * 64;
  const std::int64_t most = s.m * s.n * static_cast<std::int64_t>(count) / threads + rounded;
  for (int which = 0; which < threads; ++which) {
    for (const Tensor& out : outs) {
      std::memset(out.data(), kPoison, static_cast<std::size_t>(out.numel() * 4));
    }
    OneTask executor(threads, which);
    run_alone({.name = "one", .integers = integer_kernels().front()}, problem,
              {.executor = &executor});
    std::int64_t written = 0;
    for (const Tensor& out : outs) {
      for (std::int64_t i = 0; i < out.numel(); ++i) {
        written += out.data_as<std::uint32_t>()[i] != 0xA5A5A5A5U ? 1 : 0;
      }
    }
    EXPECT_LE(written, most) << s.m << 'x' << s.n << 'x' << s.k << ", " << count << " products, "
                             << which << " of " << threads << " threads";
  }
}

TEST(DotDriver, SharesAreEven) {
  for (const int threads : {2, 3, 4, 5, 16}) {
    expect_even_shares({100, 80, 501}, 1, threads);
    expect_even_shares({26, 144, 901}, 1, threads);
    expect_even_shares({100, 80, 301}, 3, threads);
    expect_even_shares({12, 208, 701}, 7, threads);
  }
}

}  // namespace
}  // namespace octavo::test::dot_driver_test
