// SPDX-License-Identifier: Apache-2.0
// Passes that move and look up elements, against the reference's.
#include <gtest/gtest.h>

#include <string>

#include "cuda/passes/two_places.hpp"

namespace octavo::test::element_passes_test {
namespace {

// Elements of any type, whatever their bytes mean.
Tensor any_bytes(DType dtype, const Shape& shape, unsigned seed) {
  const Tensor t = Tensor::empty(dtype, std::span(shape));
  std::mt19937 bits(seed);
  for (std::int64_t i = 0; i < t.numel() * element_bytes(dtype); ++i)
    t.data_as<std::uint8_t>()[i] = static_cast<std::uint8_t>(bits());
  return t;
}
Tensor indices(const std::vector<std::int64_t>& list) {
  const Tensor t = Tensor::empty(int64, {static_cast<std::int64_t>(list.size())});
  std::copy(list.begin(), list.end(), t.data_as<std::int64_t>());
  return t;
}

// All codes of 8 bits among them.
TEST(ElementPasses, ConvertEveryTypeToEveryOther) {
  for (const DTypeInfo& from : kDTypes) {
    if (!is_floating(from.dtype) && !is_integer8(from.dtype)) continue;
    const Tensor codes = Tensor::empty(from.dtype, {7, 40});
    for (std::int64_t i = 0; i < codes.numel() * element_bytes(from.dtype); ++i)
      codes.data_as<std::uint8_t>()[i] = static_cast<std::uint8_t>(i * 37);
    for (const DTypeInfo& to : kDTypes) {
      if (!is_floating(to.dtype) && !is_integer8(to.dtype)) continue;
      SCOPED_TRACE(std::string(from.name) + " to " + std::string(to.name));
      expect_same_pass(
          &Passes::convert,
          [&](TensorsOf& tensors) {
            return ConvertProblem{tensors(codes.transposed()),
                                  tensors.out(Tensor::empty(to.dtype, {40, 7}))};
          },
          &expect_same_bits);
    }
  }
}

TEST(ElementPasses, CopyWhatHasOneType) {
  for (const DType dtype : {int32, int64, float64, int16, bool_, float8_e8m0fnu}) {
    expect_same_pass(&Passes::convert, [&](TensorsOf& tensors) {
      return ConvertProblem{tensors(any_bytes(dtype, {9, 31}, 1).transposed()),
                            tensors.out(Tensor::empty(dtype, {31, 9}))};
    });
  }
}

// By way of tiles, at whose edges both matrices end.
TEST(ElementPasses, TurnMatrices) {
  for (const DType from : {int8, float8_e5m2, bfloat16, float32, int32}) {
    for (const DType to : {int8, float8_e4m3fn, float16, float32, int32, int64}) {
      if (is_floating(from) && to == int64) continue;  // nobody converts so
      for (const bool down : {false, true}) {
        SCOPED_TRACE(std::string(name(from)) + " to " + std::string(name(to)));
        expect_same_pass(&Passes::convert, [&](TensorsOf& tensors) {
          const Tensor x = is_floating(from) ? gaussians(from, {70, 133}, 1, 90.0)
                                             : integers(from, {70, 133}, 1);
          return down ? ConvertProblem{tensors(x),
                                       tensors.out(Tensor::empty(to, {133, 70}).transposed())}
                      : ConvertProblem{tensors(x.transposed()),
                                       tensors.out(Tensor::empty(to, {133, 70}))};
        });
      }
    }
  }
}

TEST(ElementPasses, ConvertWideTypes) {
  const Tensor doubles = Tensor::empty(float64, {4, 5});
  for (int i = 0; i < 20; ++i) doubles.data_as<double>()[i] = (i - 9) * 12345.678901234;
  const Tensor longs = indices({0, -1, 1LL << 24, (1LL << 24) + 1, -(1LL << 31), 2147483647});
  for (const DType to : {float32, bfloat16, float16, float8_e4m3fn, int8, int32}) {
    expect_same_pass(&Passes::convert, [&](TensorsOf& tensors) {
      return ConvertProblem{tensors(doubles), tensors.out(Tensor::empty(to, {4, 5}))};
    });
    if (to != int32) continue;
    expect_same_pass(&Passes::convert, [&](TensorsOf& tensors) {
      return ConvertProblem{tensors(longs), tensors.out(Tensor::empty(to, {6}))};
    });
  }
  for (const DType from : {int8, uint8, int32}) {
    expect_same_pass(&Passes::convert, [&](TensorsOf& tensors) {
      return ConvertProblem{tensors(integers(from, {3, 7}, 4, 0, 127)),
                            tensors.out(Tensor::empty(int64, {3, 7}))};
    });
  }
}

TEST(ElementPasses, FillEveryType) {
  for (const DType dtype : {float32, bfloat16, float16, float8_e5m2, float8_e8m0fnu, int8, uint8,
                            int32, int64, float64}) {
    for (const float value : {0.0F, 1.0F, 96.0F}) {
      expect_same_pass(&Passes::fill, [&](TensorsOf& tensors) {
        return FillProblem{tensors.out(Tensor::empty(dtype, {5, 33}).transposed()), value};
      });
    }
  }
}

TEST(ElementPasses, GatherRows) {
  const Tensor rows = indices({5, 0, 3, 3, 11, 8, 1, 10, 2});
  for (const DType dtype : {int8, bfloat16, float32, int64}) {
    for (const std::int64_t columns : {1, 3, 8, 48, 300}) {
      for (const std::int64_t divisor : {1, 2}) {
        for (const bool down : {false, true}) {
          expect_same_pass(&Passes::gather, [&](TensorsOf& tensors) {
            GatherProblem p;
            p.from = down ? tensors(any_bytes(dtype, {columns, 12}, 2).transposed())
                          : tensors(any_bytes(dtype, {12, columns}, 2));
            p.rows = static_cast<const std::int64_t*>(tensors(rows).data);
            p.divisor = divisor;
            p.to = tensors.out(Tensor::empty(dtype, {9, columns}));
            return p;
          });
        }
      }
    }
  }
  expect_same_pass(&Passes::gather, [&](TensorsOf& tensors) {
    GatherProblem p;
    p.from = tensors(any_bytes(int8, {12, 0}, 2));
    p.rows = static_cast<const std::int64_t*>(tensors(rows).data);
    p.to = tensors.out(Tensor::empty(int8, {9, 0}));
    return p;
  });
}

// Rows of 48 bytes, of which some begin at no multiple of 16.
TEST(ElementPasses, GatherRowsThatBeginAnywhere) {
  const Tensor rows = indices({3, 0, 1});
  for (const std::int64_t first : {0, 1, 2, 4, 8, 16}) {
    expect_same_pass(&Passes::gather, [&](TensorsOf& tensors) {
      GatherProblem p;
      const MatrixView all = tensors(any_bytes(int8, {4, 96}, 2));
      p.from = all.slice(1, first, first + 48);
      p.rows = static_cast<const std::int64_t*>(tensors(rows).data);
      p.to = tensors.out(Tensor::empty(int8, {3, 48}));
      return p;
    });
  }
}

TEST(ElementPasses, MapCodes) {
  for (const bool down : {false, true}) {
    expect_same_pass(&Passes::map_codes, [&](TensorsOf& tensors) {
      MapProblem p;
      const Tensor codes = any_bytes(float8_e4m3fn, {37, 41}, 3);
      p.codes = tensors.out(down ? codes.transposed() : codes);
      p.table = rescaled_codes(float8_e4m3fn, 0.5F, 0.7F);
      return p;
    });
  }
}

TEST(ElementPasses, Unswizzle) {
  for (const Shape& shape : {Shape{1, 1}, Shape{128, 4}, Shape{130, 9}, Shape{300, 3}}) {
    expect_same_pass(&Passes::unswizzle, [&](TensorsOf& tensors) {
      UnswizzleProblem p;
      const std::int64_t tiles = (shape[0] + 127) / 128 * ((shape[1] + 3) / 4);
      p.tiles = tensors(any_bytes(float8_e8m0fnu, {tiles * 512}, 5)).data;
      p.to = tensors.out(Tensor::empty(float8_e8m0fnu, std::span(shape)));
      return p;
    });
  }
}

}  // namespace
}  // namespace octavo::test::element_passes_test
