// SPDX-License-Identifier: Apache-2.0
// Problem lines: canonical spellings, round trips, what the words mean.
#include "octavo/problem_line.hpp"

#include "ops/helpers.hpp"

namespace octavo::test::problem_line_test {
namespace {

TEST(ProblemLine, CanonicalLinesAreReadAndWrittenBack) {
  for (const char* line : {
           "scaled_mm int8:int8:fp32 1x2x3",
           "scaled_mm e4m3fn:e5m2fnuz:bf16 scale=token:channel bias 16x4096x14336",
           "scaled_mm int8:int8:fp32 scale=group128:block64x32 scale_dtype=bf16 bias=fp16 1x2x3",
           "scaled_mm e4m3fn:e4m3fn:bf16 scale=per_k:element 1x2x3",
           "scaled_mm int8:int8:fp32 scale=none:tensor azp alpha=0.5 beta=-2 1x2x3",
           "scaled_mm uint8:int8:int32 azp=tensor 1x2x3",
           "scaled_mm int8:int8:fp32 scale_result=0.1 layout=strided seed=7 1x2x3",
           "scaled_mm int8:int8:fp32 scale_result=vector prepacked layout=reversed 0x2x0",
           "scaled_mm bf16:int8:bf16 scale=token:channel quantize=int8 threshold=6.5 1x2x3",
           "scaled_mm bf16:int8:bf16 quantize=int8 threshold=6 outliers=elements 1x2x3",
           "scaled_mm bf16:int8:bf16 quantize=int8 outliers=whole outlier_columns=0+2 1x2x3",
           "scaled_mm bf16:int8:bf16 scale=tensor:channel azp quantize=uint8 static=0.25:-7 1x2x3",
           "scaled_mm bf16:e4m3fn:bf16 scale=tensor:none quantize=e4m3fn static=0.25 1x2x3",
           "grouped_mm int8:int8:bf16 groups=32+0+32+96 200x1536x2048",
           "grouped_mm int8:int8:fp32 groups=2+3 split=columns 1x9x3",
           "grouped_mm int8:int8:fp32 groups=1+0+2 split=inner 1x2x3",
           "grouped_mm int8:int8:fp32 groups=1+0+2 split=list prepacked 3x2x3",
           "scaled_grouped_mm fp32:fp32:fp32 alpha=0.125 batch=3 6x10x20",
           "scaled_grouped_mm fp32:fp32:fp32 batch=0 6x10x20",
       }) {
    EXPECT_EQ(to_string(parse_problem_line(line)), line);
  }
}

TEST(ProblemLine, OtherSpellingsHaveOneCanonicalForm) {
  const struct {
    const char *line, *canonical;
  } rows[] = {
      {"  scaled_mm\tint8:int8:fp32   bias=fp32  1x2x3 \n", "scaled_mm int8:int8:fp32 bias 1x2x3"},
      {"scaled_mm float8_e4m3fn:F8_E5M2:bfloat16 1x2x3", "scaled_mm e4m3fn:e5m2:bf16 1x2x3"},
      {"scaled_mm e4m3fn:e4m3fn:bf16 scale=mx:mx 1x2x3",
       "scaled_mm e4m3fn:e4m3fn:bf16 scale=group32:group32 1x2x3"},
      {"scaled_mm int8:int8:fp32 seed=1 alpha=1 beta=0 azp=token 1x2x3",
       "scaled_mm int8:int8:fp32 azp 1x2x3"},
      {"grouped_mm int8:int8:fp32 split=rows groups=1 1x2x3",
       "grouped_mm int8:int8:fp32 groups=1 1x2x3"},
  };
  for (const auto& row : rows) {
    const std::string canonical = to_string(parse_problem_line(row.line));
    EXPECT_EQ(canonical, row.canonical);
    EXPECT_EQ(to_string(parse_problem_line(canonical)), canonical);
  }
}

TEST(ProblemLine, NumbersKeepEveryBit) {
  ProblemLine line = parse_problem_line("scaled_mm int8:int8:fp32 1x2x3");
  for (const float alpha : {0.1F, 1.0F / 3.0F, 3.4e38F, 1e-40F, -0x1.234568p-7F}) {
    line.alpha = alpha;
    EXPECT_EQ(parse_problem_line(to_string(line)).alpha, alpha);
  }
}

// A source that remembers what it was asked for.
struct Recorder final : TensorSource {
  TensorView make(Role role, std::int64_t entry, DType dtype,
                  std::span<const std::int64_t> shape) override {
    const Tensor t = tensor_of(dtype, Shape(shape.begin(), shape.end()),
                               [](std::int64_t i) { return static_cast<double>(i % 3); });
    kept.push_back(t);
    asked += std::to_string(static_cast<int>(role)) + "/" + std::to_string(entry) + " " +
             std::string(name(dtype)) + " " + shape_string(t) + "; ";
    return t;
  }
  std::vector<Tensor> kept;
  std::string asked;
};

TEST(ProblemLine, TheProblemIsTheOneTheWordsName) {
  const ProblemLine line = parse_problem_line(
      "scaled_mm uint8:int8:bf16 scale=token:group16 scale_dtype=bf16 bias=fp16 azp alpha=0.5 "
      "beta=2 scale_result=vector 4x5x33");
  Recorder source;
  const LineProblem made = make_problem(line, source);
  EXPECT_EQ(source.asked,
            "0/0 uint8 [4, 33]; 1/0 int8 [33, 5]; 2/0 bfloat16 [4, 1]; 3/0 bfloat16 [3, 5]; "
            "6/0 float16 [5]; 4/0 int32 [4]; 5/0 bfloat16 [4, 5]; 7/0 float32 [5]; "
            "9/0 bfloat16 [4, 5]; ");
  const Member& p = made.problem().single;
  EXPECT_EQ(p.epilogue.alpha.number, 0.5F);
  EXPECT_EQ(p.epilogue.beta.number, 2.0F);
  EXPECT_EQ(p.b.scale[0].rows, 16);
  run(made.problem());
}

TEST(ProblemLine, ExplainNeedsNoOperands) {
  const Explanation e = explain(
      parse_problem_line("scaled_mm e4m3fn:e4m3fn:bf16 scale=token:channel 1000000x100000x100000"));
  EXPECT_EQ(e.candidates.size(), backends().size());
  EXPECT_GT(e.workspace_bytes, 0U);
}

TEST(ProblemLine, ErrorsOfTheProblemItselfAreTheOperations) {
  Recorder source;
  expect_error([&] { make_problem(parse_problem_line("scaled_mm fp32:fp32:int32 1x2x3"), source); },
               Code::invalid_argument, "scaled_mm: out_dtype must not be int32 for float operands");
}

}  // namespace
}  // namespace octavo::test::problem_line_test
