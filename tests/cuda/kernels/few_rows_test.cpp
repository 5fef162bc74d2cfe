// SPDX-License-Identifier: Apache-2.0
// The kernel of few rows through the simulator: bit for bit section 3 on the tensor cores' sums,
// and the bits of the kernel of many rows.
#include "backends/cuda/kernels/sm90/few_rows.hpp"

#include <vector>

#include "dense_kit.hpp"

namespace octavo::test::few_rows_test {
namespace {

using cuda::FewRows;

TEST(FewRows, Int8OfEveryKindOfShape) {
  using Int8 = DenseProblem<FewRows<MmaType::s8_s8, Summing::plain, 2, 16>>;
  expect_exact(Int8(16, 128, 256), 1);
  expect_exact(Int8(5, 200, 400), 2);  // ragged: two tiles each
  expect_exact(Int8(1, 8, 16), 1);     // one row, one step
  expect_exact(Int8(7, 72, 100), 3);   // a CTA without a tile
  expect_exact(DenseProblem<FewRows<MmaType::u8_s8, Summing::plain, 4, 64>>(50, 72, 300), 1, 1,
               DenseOut::sums);
}

// Three tiles of seventeen steps through as many stages as there are, or fewer.
TEST(FewRows, RingsGoRound) {
  using Int8 = DenseProblem<FewRows<MmaType::s8_s8, Summing::plain, 2, 64>>;
  static_assert(Int8::Kernel::kStages < 2 * 17);
  expect_exact(Int8(33, 192, 17 * 128), 1);
  expect_exact(DenseProblem<FewRows<MmaType::s8_s8, Summing::plain, 4, 32, 2>>(20, 192, 41 * 128),
               1);
}

TEST(FewRows, FloatsByTheirSumming) {
  using Promoted = DenseProblem<FewRows<MmaType::e4m3_e4m3, Summing::promoted, 2, 16>>;
  Promoted problem(9, 72, 1100);
  problem.chunks_of_k = 2;
  expect_exact(problem, 1);
  expect_exact(DenseProblem<FewRows<MmaType::e5m2_e4m3, Summing::plain, 4, 32>>(20, 72, 400), 1);
  expect_exact(DenseProblem<FewRows<MmaType::f16_f16, Summing::plain, 2, 16>>(3, 72, 200), 1, 1,
               DenseOut::f16);
}

// What a kernel stores of a problem's first rows.
template <class Kernel>
std::vector<std::uint32_t> stored(int m, std::uint32_t clusters) {
  DenseProblem<Kernel> problem(64, 136, 1100);  // the same operands, whatever the kernel
  problem.chunks_of_k = 2;
  problem.m = m;
  auto params = problem.params();
  params.a.extent[1] = params.out.extent[1] = m;
  EXPECT_EQ("", fault_of(problem.launch(clusters), Options{},
                         [&](Machine machine) { Kernel::run(machine, params); }));
  std::vector<std::uint32_t> bits;
  for (int r = 0; r < m; ++r)
    for (int c = 0; c < problem.n; ++c) bits.push_back(problem.got(r, c));
  return bits;
}

// A row's bits depend on neither the batch nor the kernel that it chooses, nor on who has which
// chunk of K.
template <MmaType type, Summing summing>
void expect_bits_of_many_rows() {
  using Many = cuda::Dense<type, summing, 4>;
  std::vector<std::uint32_t> all = stored<Many>(64, 1);
  EXPECT_EQ(all, (stored<FewRows<type, summing, 4, 64>>(64, 2)));
  if constexpr (cuda::is_integer(type) || summing == Summing::promoted) {
    EXPECT_EQ(all, (stored<FewRows<type, summing, 4, 64, 2>>(64, 2)));
  }
  const auto first = [&](std::ptrdiff_t rows) {
    return std::vector<std::uint32_t>(all.begin(), all.begin() + rows * 136);
  };
  EXPECT_EQ(first(30), (stored<FewRows<type, summing, 4, 32>>(30, 1)));
  EXPECT_EQ(first(1), (stored<FewRows<type, summing, 4, 16>>(1, 3)));
}

TEST(FewRows, HaveTheBitsOfManyRows) {
  expect_bits_of_many_rows<MmaType::u8_s8, Summing::plain>();
  expect_bits_of_many_rows<MmaType::s8_u8, Summing::plain>();
  expect_bits_of_many_rows<MmaType::e4m3_e5m2, Summing::promoted>();
  expect_bits_of_many_rows<MmaType::e4m3_e5m2, Summing::plain>();
  expect_bits_of_many_rows<MmaType::bf16_bf16, Summing::plain>();
}

}  // namespace
}  // namespace octavo::test::few_rows_test
