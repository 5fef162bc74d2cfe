// SPDX-License-Identifier: Apache-2.0
// Outputs that go past the caches have the bits of the same rows computed a few at a time, wherever
// they lie, and nothing beside them is touched.
#include "ops/helpers.hpp"

namespace octavo::test::streamed_outputs_test {
namespace {

constexpr std::int64_t kStreamedBytes = std::int64_t{8} << 20;  // streams.hpp has the same
constexpr std::int64_t kDepth = 24, kFewRows = 500;

struct Types {
  DType a, b, out;
};
const Types kTypes[] = {{int8, int8, bfloat16},
                        {int8, int8, int32},
                        {int8, int8, float16},
                        {float8_e4m3fn, float8_e4m3fn, float32},
                        {float8_e4m3fn, float8_e5m2, float8_e4m3fn},
                        {bfloat16, bfloat16, bfloat16}};

// Where columns [first, first + count) of a buffer's rows are the output.
struct Place {
  const char* what;
  std::int64_t width, first, count;
};
const Place kPlaces[] = {{"whole rows", 2048, 0, 2048},
                         {"rows of whole lines inside others", 2176, 64, 2048},
                         {"rows that begin inside a line", 2112, 5, 2048},
                         {"a last panel of half the width", 2080, 0, 2080},
                         {"rows at no multiple of a line", 2050, 0, 2050}};

std::int64_t rows_for(DType dtype, std::int64_t columns) {
  return kStreamedBytes / (columns * element_bytes(dtype)) + 77;
}

Tensor random(DType dtype, const Shape& shape, unsigned seed) {
  return dtype == int8 ? integers(int8, shape, seed) : gaussians(dtype, shape, seed);
}

const char* row_of(const TensorView& v, std::int64_t row) {
  return static_cast<const char*>(v.data) + row * v.strides[0] * element_bytes(v.dtype);
}

void expect_rows(const TensorView& got, const TensorView& want) {
  const auto bytes = static_cast<std::size_t>(want.shape[1] * element_bytes(want.dtype));
  for (std::int64_t r = 0; r < want.shape[0]; ++r) {
    ASSERT_EQ(std::memcmp(row_of(got, r), row_of(want, r), bytes), 0) << "row " << r;
  }
}

class StreamedOutputs : public testing::TestWithParam<Types> {};

TEST_P(StreamedOutputs, HaveTheBitsOfFewRowsAndKeepTheirPlace) {
  constexpr char kBeside = 0x5A;
  const Types& types = GetParam();
  const std::int64_t bytes = element_bytes(types.out);
  ThreadExecutor three(3);
  for (const Place& place : kPlaces) {
    SCOPED_TRACE(place.what);
    const std::int64_t rows = rows_for(types.out, place.count);
    const Tensor a = random(types.a, {rows, kDepth}, 1);
    const Tensor b = random(types.b, {kDepth, place.count}, 2);
    const Tensor sa = uniforms(float32, {rows, 1}, 3), sb = uniforms(float32, {1, place.count}, 4);
    const Tensor bias = gaussians(float32, {place.count}, 5);
    const bool scaled = types.out != int32;
    const auto product = [&](std::int64_t begin, std::int64_t end, TensorView out,
                             Executor* executor) {
      ScaledMmOptions options{.out_dtype = types.out, .out = out};
      if (scaled) {
        options.scale_a = sa.view().slice(0, begin, end);
        options.scale_b = sb.view();
        options.bias = bias.view();
      }
      return scaled_mm(a.view().slice(0, begin, end), b, options, {.executor = executor});
    };
    const Tensor want = Tensor::empty(types.out, {rows, place.count});
    for (std::int64_t begin = 0; begin < rows; begin += kFewRows) {
      const std::int64_t end = std::min(rows, begin + kFewRows);
      product(begin, end, want.view().slice(0, begin, end), &serial_executor());
    }
    for (Executor* executor :
         {static_cast<Executor*>(&serial_executor()), static_cast<Executor*>(&three)}) {
      const Tensor buffer = Tensor::empty(types.out, {rows, place.width});
      std::memset(buffer.data(), kBeside, static_cast<std::size_t>(buffer.numel() * bytes));
      const TensorView out = buffer.view().slice(1, place.first, place.first + place.count);
      product(0, rows, out, executor);
      ASSERT_NO_FATAL_FAILURE(expect_rows(out, want.view()));
      for (std::int64_t r = 0; r < rows; ++r) {
        const char* row = row_of(buffer.view(), r);
        for (std::int64_t i = 0; i < place.width * bytes; ++i) {
          const bool inside = i >= place.first * bytes && i < (place.first + place.count) * bytes;
          ASSERT_TRUE(inside || row[i] == kBeside) << "row " << r << ", byte " << i;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, StreamedOutputs, testing::ValuesIn(kTypes), [](const auto& test) {
  return std::string(name(test.param.a)) + "_" + std::string(name(test.param.b)) + "_to_" +
         std::string(name(test.param.out));
});

// A sum of members decides, none of which would alone.
TEST(StreamedBatches, HaveTheBitsOfTheirMembers) {
  constexpr std::int64_t kBatch = 9, kRows = 500, kColumns = 1024;
  static_assert(kBatch * kRows * kColumns * 2 >= kStreamedBytes &&
                kRows * kColumns * 2 < kStreamedBytes);
  const Tensor a = gaussians(bfloat16, {kBatch, kRows, kDepth}, 1);
  const Tensor b = gaussians(bfloat16, {kBatch, kDepth, kColumns}, 2);
  const Tensor whole = grouped_mm(a, b, {.out_dtype = bfloat16});
  for (std::int64_t g = 0; g < kBatch; ++g) {
    const Tensor member = scaled_mm(a.view()[g], b.view()[g], {.out_dtype = bfloat16});
    expect_rows(whole.view()[g], member.view());
  }
}

}  // namespace
}  // namespace octavo::test::streamed_outputs_test
