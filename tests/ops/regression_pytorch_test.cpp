// SPDX-License-Identifier: Apache-2.0
// Silent wrong results that users of PyTorch reported; each test carries the number of its issue.
#include <sys/mman.h>

#include "octavo/functional.hpp"
#include "ops/helpers.hpp"
#include "support/guard.hpp"

namespace octavo::test::regression_pytorch_test {
namespace {

using functional::RecipeScale;
using functional::ScalingType;

Tensor small_codes(const Shape& shape, unsigned seed) {
  return integers(float8_e4m3fn, shape, seed, -8, 8);
}

// Also 190452, 190979, 192211, 154807, 119135: validated, then dropped.
TEST(Regression, Pytorch190449ScaleResultIsAppliedWhateverTheOutput) {
  const Tensor a = small_codes({8, 16}, 1);
  const Tensor b = small_codes({16, 8}, 2);
  for (const char* backend : usable_backends()) {
    for (const DType out : {float32, bfloat16, float16, float8_e4m3fn, float8_e5m2, int8}) {
      const Tensor got =
          scaled_mm(a, b, {.scale_result = 0x1p-6, .out_dtype = out, .backend = backend});
      expect_near(got, 0, [&](std::int64_t i, std::int64_t j) {
        Sum sum = dot(a, b, i, j);
        sum.times(0x1p-6);
        return sum;
      });
      EXPECT_FALSE(bytes_of(got) == bytes_of(scaled_mm(a, b, {.out_dtype = out})));
    }
  }
}

// 128 x 128 scales whose K blocks are not a multiple of 4, in PyTorch's padded layout.
TEST(Regression, Pytorch166752PaddedBlockScalesOfEveryNumberOfBlocks) {
  for (const std::int64_t blocks : {1, 2, 3, 5, 10}) {
    const std::int64_t k = 128 * blocks;
    const std::int64_t l4 = (blocks + 3) / 4 * 4;
    const Tensor a = small_codes({130, k}, 1);
    const Tensor b = small_codes({k, 5}, 2);
    const Tensor natural = uniforms(float32, {2, blocks}, 3);
    const Tensor memory = tensor_of(float32, {2, l4}, [&](std::int64_t i) {
      return i % l4 < blocks ? at(natural, i / l4, i % l4) : 1e30;
    });
    const TensorView padded(memory.data(), float32, {l4, 2}, {1, l4});
    const Tensor one = values(float32, {1}, {1});
    const RecipeScale sa{padded, ScalingType::BlockWise128x128};
    const RecipeScale sb{one};
    functional::Options o;
    o.output_dtype = float32;
    const Tensor got = functional::scaled_mm(a, b, {&sa, 1}, {&sb, 1}, o);
    for (const std::int64_t i : {0, 127, 128, 129}) {
      for (std::int64_t j = 0; j < 5; ++j) {
        Sum sum;
        for (std::int64_t p = 0; p < k; ++p) {
          sum.add(at(a, i, p) * at(natural, i / 128, p / 128) * at(b, p, j));
        }
        expect_near(got, i, j, sum, k, blocks);
      }
    }
  }
}

// Also 197028. 1 x 128 scales read in the wrong place.
TEST(Regression, Pytorch193802GroupScalesAreIndexedByTheirStrides) {
  const Tensor a = small_codes({7, 300}, 1);
  const Tensor b = small_codes({300, 5}, 2);
  const Tensor sa = uniforms(float32, {7, 3}, 3);
  const Tensor sb = uniforms(float32, {5, 3}, 4);
  functional::Options o;
  o.output_dtype = float32;
  // PyTorch's strides [1, M]; row-major; with gaps.
  for (const Shape& strides : {Shape{1, 8}, Shape{3, 1}, Shape{40, 11}}) {
    const Strided given_a = strided(sa, strides);
    const Strided given_b = strided(sb, strides);
    const RecipeScale ra{given_a.view, ScalingType::BlockWise1x128};
    const RecipeScale rb{given_b.view, ScalingType::BlockWise1x128};
    expect_near(
        functional::scaled_mm(a, b, {&ra, 1}, {&rb, 1}, o), 300,
        [&](std::int64_t i, std::int64_t j) {
          Sum sum;
          for (std::int64_t k = 0; k < 300; ++k) {
            sum.add(at(a, i, k) * at(sa, i, k / 128) * at(b, k, j) * at(sb, j, k / 128));
          }
          return sum;
        },
        3);
  }
}

// Memory that ends where the values end, before a page that cannot be read.
struct Fenced {
  Fenced(const Tensor& t, GuardedSide side) : view(t.view()) {
    const auto bytes = static_cast<std::size_t>(t.numel() * element_bytes(t.dtype()));
    memory = guarded(side)(bytes);
    std::memcpy(memory.get(), t.data(), bytes);
    view.data = memory.get();
  }
  std::shared_ptr<void> memory;
  TensorView view;
};

// PR 160450. One scale was read as if it were an array.
TEST(Regression, Pytorch159940OneScaleIsReadOnce) {
  const Tensor a = small_codes({70, 33}, 1);
  const Tensor b = small_codes({33, 70}, 2);
  const Fenced scale(values(float32, {1}, {0.125}), GuardedSide::right);
  const Tensor want = scaled_mm(a, b, {.scale_a = 0.125, .scale_b = 0.125});
  for (const char* backend : usable_backends()) {
    for (const Granularity& g : {Granularity{}, per_tensor()}) {
      expect_same_bits(
          scaled_mm(a, b,
                    {.scale_a = {scale.view, g}, .scale_b = {scale.view, g}, .backend = backend}),
          want);
    }
  }
}

// Row scales were read beyond their end where M is no multiple of 256.
TEST(Regression, Pytorch133334RowScalesAreReadWithinTheirBounds) {
  for (const std::int64_t m : {1, 3, 5, 255, 257}) {
    const Tensor a = small_codes({m, 20}, 1);
    const Tensor b = small_codes({20, 13}, 2);
    const Tensor sa = uniforms(float32, {m, 1}, 3);
    const Tensor sb = uniforms(float32, {1, 13}, 4);
    const Tensor want = scaled_mm(a, b, {.scale_a = sa, .scale_b = sb});
    for (const GuardedSide side : {GuardedSide::left, GuardedSide::right}) {
      const Fenced fenced_a(sa, side);
      const Fenced fenced_b(sb, side);
      for (const char* backend : usable_backends()) {
        expect_same_bits(
            scaled_mm(a, b,
                      {.scale_a = fenced_a.view, .scale_b = fenced_b.view, .backend = backend}),
            want);
      }
    }
  }
}

// Also 174314. Empty K groups left the weight gradient uninitialised.
TEST(Regression, Pytorch172439EmptyGroupsOfKGiveZeros) {
  const Tensor a = small_codes({6, 24}, 1);
  const Tensor b = small_codes({24, 5}, 2);
  const Tensor offs = values(int32, {4}, {0, 10, 10, 24});
  for (const char* backend : usable_backends()) {
    const Tensor out = Tensor::empty(bfloat16, {4, 6, 5});
    fill_with_poison(out);
    grouped_mm(a, b, {.offs = offs, .out = out, .backend = backend});
    for (const std::int64_t g : {0, 2}) {
      for (const std::uint8_t byte : bytes_of(out.view()[g])) ASSERT_EQ(byte, 0);
    }
    EXPECT_NE(at(out.view()[1], 0, 0), 0.0);
  }
}

// Also 154557, pytorch/torchtitan 1237: the rows past the last offset were uninitialised.
TEST(Regression, Pytorch193633RowsPastTheLastOffsetAreZero) {
  const Tensor a = tensor_of(float32, {9, 4}, [](std::int64_t) { return std::nan(""); });
  const Tensor b = gaussians(float32, {2, 4, 5}, 1);
  const Tensor offs = values(int32, {2}, {2, 6});
  const Tensor bias = gaussians(float32, {5}, 2);
  for (const char* backend : usable_backends()) {
    const Tensor out = Tensor::empty(float32, {9, 5});
    fill_with_poison(out);
    grouped_mm(a, b, {.offs = offs, .bias = bias, .out = out, .backend = backend});
    for (std::int64_t i = 0; i < 45; ++i) {
      if (i < 30) {
        EXPECT_TRUE(std::isnan(at(out, i)));
      } else {
        EXPECT_EQ(at(out, i), 0.0);
      }
    }
  }
}

// Strides that are no multiple of 16 bytes.
TEST(Regression, Pytorch150374StridesOfAnyNumberOfBytes) {
  const Tensor a = gaussians(bfloat16, {5, 7}, 1);
  const Tensor b = gaussians(bfloat16, {2, 7, 3}, 2);
  const Tensor offs = values(int32, {2}, {2, 5});
  const Tensor want = grouped_mm(a, b, {.offs = offs});
  for (std::int64_t pad = 0; pad < 9; ++pad) {
    const Strided x = strided(a, {7 + pad, 1});
    const Strided w = strided(b, {50 + pad, 1, 7 + pad});
    expect_same_bits(grouped_mm(x.view, w.view, {.offs = offs}), want);
  }
}

// Pairs of products summed in 16 bits saturate: 255 * -128 * 2 is out of range.
TEST(Regression, Pytorch136746PairsOfExtremeProductsDoNotSaturate) {
  for (const std::int64_t k : {2, 3, 64, 1000}) {
    const auto all = [&](DType dtype, double value) {
      return tensor_of(dtype, {16, k}, [=](std::int64_t) { return value; });
    };
    const struct {
      Tensor a, b;
      std::int64_t product;
    } rows[] = {
        {all(int8, -128), all(int8, -128), 16384},
        {all(int8, 127), all(int8, -128), -16256},
        {all(uint8, 255), all(int8, -128), -32640},
        {all(uint8, 255), all(int8, 127), 32385},
    };
    for (const auto& row : rows) {
      for (const char* backend : usable_backends()) {
        const Tensor out =
            scaled_mm(row.a, row.b, {.out_dtype = int32, .trans_b = true, .backend = backend});
        for (std::int64_t i = 0; i < 256; ++i) {
          ASSERT_EQ(out.data_as<std::int32_t>()[i], row.product * k);
        }
      }
    }
  }
}

// Offsets beyond 2^31 elements, in address space that takes no memory.
TEST(Regression, Torchtitan1932OffsetsBeyondTwoToThe31Elements) {
  constexpr std::size_t kBytes = std::size_t{40} << 30;
  void* map = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) GTEST_SKIP() << "40 GB of address space cannot be reserved here";
  const std::shared_ptr<void> release(map, [](void* p) { ::munmap(p, kBytes); });
  constexpr std::int64_t kStep = (std::int64_t{1} << 31) + 11;
  char* base = static_cast<char*>(map);
  const TensorView a(base, int8, {3, 5}, {kStep, 1});
  const TensorView b(base + 64, int8, {5, 2}, {3, kStep});
  const TensorView out(base + (std::size_t{8} << 30), float32, {3, 2}, {kStep, 1});
  const Tensor small_a = integers(int8, {3, 5}, 1);
  const Tensor small_b = integers(int8, {5, 2}, 2);
  for (std::int64_t i = 0; i < 15; ++i) {
    std::memcpy(a.at(i / 5 * kStep + i % 5), small_a.view().at(i), 1);
  }
  for (std::int64_t i = 0; i < 10; ++i) {
    std::memcpy(b.at(i / 2 * 3 + i % 2 * kStep), small_b.view().at(i), 1);
  }
  const Tensor want = scaled_mm(small_a, small_b);
  for (const char* backend : usable_backends()) {
    fill_with_poison(out);
    scaled_mm(a, b, {.out = out, .backend = backend});
    expect_same_bits(out, want);
  }
  // A reversed view, a list entry and a packed weight of the same memory.
  const TensorView last_first(a.at(2 * kStep), int8, {3, 5}, {-kStep, 1});
  const Tensor reversed = scaled_mm(last_first, pack(b));
  for (std::int64_t i = 0; i < 3; ++i) expect_same_bits(reversed.view()[i], want.view()[2 - i]);
}

// llvm/torch-mlir PR 4616: converted to float16 before the scale brought it back into range.
TEST(Regression, TorchMlir4616ScalesAreAppliedBeforeTheNarrowConversion) {
  const Tensor a = tensor_of(float8_e4m3fn, {2, 64}, [](std::int64_t) { return 448.0; });
  const Tensor scale = values(float32, {1}, {0x1p-10});
  for (const char* backend : usable_backends()) {
    const Tensor out = scaled_mm(a, a,
                                 {.scale_a = scale,
                                  .scale_b = scale,
                                  .out_dtype = float16,
                                  .trans_b = true,
                                  .backend = backend});
    for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(at(out, i), 64.0 * 448 * 448 * 0x1p-20);
  }
}

}  // namespace
}  // namespace octavo::test::regression_pytorch_test
